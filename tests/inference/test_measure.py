# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Operations against torch's counter, for every method; timing in turn; memory."""

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from helpers.tiny import TINY, moving_clips
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, find_runs
from hf_rlt.baselines import (
    ByDifferenceVideoMAEForVideoClassification,
    RandomMaskingVideoMAEForVideoClassification,
    STAVideoMAEForVideoClassification,
    ToMeVideoMAEForVideoClassification,
)
from hf_rlt.inference.measure import (
    analytic_flops,
    block_tokens,
    interleaved_times,
    peak_bytes,
    quartiles,
    tokens_by_block,
)

TOME = ToMeVideoMAEForVideoClassification
METHODS = [
    (RLTVideoMAEForVideoClassification, {"threshold": None}),
    (RLTVideoMAEForVideoClassification, {"threshold": 0.1}),
    (RandomMaskingVideoMAEForVideoClassification, {"token_keep_ratio": 0.37}),
    (RandomMaskingVideoMAEForVideoClassification, {"token_keep_ratio": 0.7, "threshold": 0.1}),
    (TOME, {"r": 11}),
    (TOME, {"r": 9, "inflection": -1.0, "proportional_attention": True}),
    (TOME, {"r": 5, "threshold": 0.1}),
    (STAVideoMAEForVideoClassification, {"r": 4}),
    (ByDifferenceVideoMAEForVideoClassification, {"num_tokens": 0.4}),
]
# Wide enough that what is not a matrix product does not matter, small enough to be quick.
SHAPE = {**TINY, "hidden_size": 96, "num_hidden_layers": 6, "intermediate_size": 192}


def fused_on_cpu(query, key, value, *arguments, out_shape=None, **options) -> int:
    return sdpa_flop_count(query, key, value)


# torch's counter does not know the fused attention of CPUs, only those of GPUs
FUSED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused_on_cpu}


@pytest.mark.parametrize(("kind", "settings"), METHODS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_operations_are_what_the_counter_sees(kind, settings):
    config = kind.config_class(**SHAPE, **settings)
    model = kind(config).eval()
    clip = moving_clips(3)[2:]
    tokens = int((find_runs(clip, config.threshold, 2, 8) > 0).sum())
    assert tokens == (64 if config.threshold is None else 40)
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter, torch.no_grad():
        model(clip)
    assert analytic_flops(config, tokens) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_tokens_by_block():
    sta = STAVideoMAEForVideoClassification.config_class(**SHAPE, r=4)
    assert tokens_by_block(sta, 64) == [64, 48, 48, 40, 40, 36, 36]
    assert [mlp for _, mlp in block_tokens(sta, 64)] == [64, 48, 48, 40, 40, 36]  # they leave after the MLP
    assert tokens_by_block(RLTVideoMAEConfig(**SHAPE), 40) == [40] * 7
    assert tokens_by_block(TOME.config_class(**SHAPE, r=10), 64) == [64, 54, 44, 34, 24, 14, 7]


def test_calls_take_turns():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = interleaved_times(calls, repeats=3, warmup=1)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]  # one round to warm up, then each begins with another
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert interleaved_times({"sleep": lambda: time.sleep(0.02)}, 1)["sleep"][0] >= 0.02
    with pytest.raises(ValueError, match="repeats >= 1"):
        interleaved_times(calls, 0)


def test_quartiles_are_those_of_the_values():
    assert quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_peak_is_what_tensors_take_at_most():
    def call():
        first = torch.ones(2**20)  # 4 MiB
        second = first + 1
        del first
        return torch.cat([second, second])  # 8 MiB beside the 4 of `second`

    for _ in range(2):  # what was freed before does not count
        assert 12 * 2**20 <= peak_bytes(call) < 12.1 * 2**20
