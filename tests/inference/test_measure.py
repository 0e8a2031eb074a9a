# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Operations against torch's counter, for every method; timing in turn; memory."""

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from helpers.tiny import TINY, TINY_VJEPA2, moving_clips
from hf_rlt import (
    RLTVideoMAEConfig,
    RLTVideoMAEForVideoClassification,
    RLTVJEPA2Config,
    RLTVJEPA2ForVideoClassification,
    find_runs,
)
from hf_rlt.baselines import (
    ByDifferenceVideoMAEForVideoClassification,
    ByDifferenceVJEPA2ForVideoClassification,
    RandomMaskingVideoMAEForVideoClassification,
    RandomMaskingVJEPA2ForVideoClassification,
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


VIT_L = {"hidden_size": 1024, "num_attention_heads": 16, "crop_size": 256, "num_labels": 174}
VJEPA2_METHODS = [
    (RLTVJEPA2ForVideoClassification, {"threshold": None}, 2048),
    (RLTVJEPA2ForVideoClassification, {"num_tokens": 0.3}, 614),
    (RandomMaskingVJEPA2ForVideoClassification, {"token_keep_ratio": 0.37}, 2048),
    (ByDifferenceVJEPA2ForVideoClassification, {"num_tokens": 0.4, "crop_size": 32, "hidden_size": 256}, 32),
]


@pytest.mark.parametrize(("kind", "settings", "tokens"), VJEPA2_METHODS)
def test_operations_of_vjepa2_are_exactly_what_the_counter_sees_with_its_pooler(kind, settings, tokens):
    config = kind.config_class(**{**VIT_L, "num_hidden_layers": 2, "frames_per_clip": 16, **settings})
    # Selection by difference switches autocast off, which the meta device does not know.
    with torch.device("cpu" if kind is ByDifferenceVJEPA2ForVideoClassification else "meta"):
        model, clip = kind(config).eval(), torch.empty(1, *config.clip_shape)
    for network, head in ((model, True), (model.base_model, False)):
        with FlopCounterMode(display=False, custom_mapping=FUSED) as counter, torch.no_grad():
            network(clip)
        assert analytic_flops(config, tokens, head) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("frames", "ratios"), [(16, (1.54, 2.29, 2.94, 4.04, 6.25)), (64, (1.72, 2.80, 3.80, 5.56, 9.21))]
)
def test_what_a_vit_l_of_vjepa2_gains(frames, ratios):
    """Against 24 n D^2 + 4 n^2 D of each block alone, of which embedding, pooler and head take 0.5 % at most."""
    config = RLTVJEPA2Config(**VIT_L, num_hidden_layers=24, frames_per_clip=frames)
    tokens = 128 * frames
    for share, ratio in zip((0.7, 0.5, 0.4, 0.3, 0.2), ratios, strict=True):
        less = share * tokens
        found = analytic_flops(config, tokens) / analytic_flops(config, round(less))
        blocks = (24 * 1024 + 4 * tokens) * tokens / ((24 * 1024 + 4 * less) * less)
        assert blocks == pytest.approx(ratio, abs=0.006)
        assert found == pytest.approx(ratio, rel=0.005)


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


def test_the_mlp_of_a_pooler_is_four_times_as_wide_whatever_that_of_a_block():
    config = RLTVJEPA2ForVideoClassification.config_class(**TINY_VJEPA2, mlp_ratio=2, threshold=None)
    model, clip = RLTVJEPA2ForVideoClassification(config).eval(), moving_clips(1)
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter, torch.no_grad():
        model(clip)
    assert analytic_flops(config, 64) == counter.get_total_flops()
