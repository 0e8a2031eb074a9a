# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a forward costs beyond VideoMAE's own: host reads, copies, kernel calls."""

from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from helpers.op_counts import OpCounts
from helpers.tiny import FRAMES, SIDE, TINY, randomise
from hf_rlt import RLTVideoMAEForVideoClassification

TOKENS, LENGTHS = 64, (40, 10, 64)


def ragged(device: str = "cpu") -> torch.Tensor:
    """Make run lengths of clips that keep their first 40, 10 and 64 tokens."""
    kept = torch.tensor(LENGTHS, device=device)
    return (torch.arange(TOKENS, device=device) < kept[:, None]).long()


@pytest.fixture
def host_reads(monkeypatch) -> list[tuple[int, ...]]:
    """Answer what the model reads from an imagined GPU: computed tokens, least and greatest run length of each clip."""
    reads: list[tuple[int, ...]] = []

    def tolist(tensor):
        reads.append(tuple(tensor.shape))
        return [list(LENGTHS), [0, 0, 1], [1, 1, 1]]

    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    return reads


@pytest.mark.parametrize("given", [True, False], ids=["runs given", "runs found"])
@pytest.mark.parametrize(
    "options", [{}, {"length_embedding": True, "proportional_attention": True}, {"drop_path_rate": 0.1}]
)
def test_a_gpu_and_the_host_wait_for_each_other_once_in_a_forward(tiny_config, host_reads, given, options):
    with FakeTensorMode(), torch.device("cuda"):
        model = RLTVideoMAEForVideoClassification(tiny_config(**options)).train("drop_path_rate" in options)
        clips = torch.empty(3, FRAMES, 3, SIDE, SIDE)
        inputs = {"labels": torch.zeros(3, dtype=torch.long), "run_lengths": ragged("cuda") if given else None}
        with OpCounts() as first:
            model(clips, **inputs)
        assert first.waits == ["_to_copy ['cpu'] to cuda"]  # the position table, once and for all
        assert host_reads == [(3, 3)]
        with OpCounts() as later:
            logits = model(clips, **inputs).logits
        assert later.waits == []
        assert host_reads == [(3, 3), (3, 3)]
        assert later.counts["bmm"] == 2 * len(LENGTHS) * TINY["num_hidden_layers"]  # attention of each clip: it has run
        assert logits.device.type == "cuda"


def test_the_position_table_moves_with_the_model_and_stays_exact(tiny_config):
    model = RLTVideoMAEForVideoClassification(tiny_config())
    table = model.videomae.embeddings.position_embeddings.clone()
    half = model.to(torch.bfloat16).videomae.embeddings.position_embeddings
    assert half.dtype == torch.float32
    assert torch.equal(half, table)
    # Data-parallel training sends buffers around.
    assert not any("position_embeddings" in name for name, _ in model.named_buffers())
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved = model.videomae.embeddings
        moved._move_positions(torch.device("cuda"))
        assert moved.position_embeddings.device.type == "cuda"


def pair(tiny_config) -> tuple[VideoMAEForVideoClassification, RLTVideoMAEForVideoClassification]:
    config = VideoMAEConfig(**TINY)
    config._attn_implementation = "sdpa"
    dense = randomise(VideoMAEForVideoClassification(config))
    ours = RLTVideoMAEForVideoClassification(tiny_config()).eval()
    ours.load_state_dict(dense.state_dict())
    return dense, ours


@torch.no_grad()
def counted(model, **inputs) -> tuple[Counter, int]:
    clips = torch.randn(3, FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with OpCounts() as calls:
        model(clips, **inputs)
    with FlopCounterMode(display=False) as flops:
        model(clips, **inputs)
    return calls.counts, flops.get_total_flops()


def test_blocks_call_no_more_kernels_than_videomae_s_and_one_attention_for_each_clip(tiny_config):
    dense, ours = pair(tiny_config)
    layers = TINY["num_hidden_layers"]
    stock, work = counted(dense)
    full, same_work = counted(ours, run_lengths=torch.ones(3, TOKENS, dtype=torch.long))
    assert same_work == work
    packed, less_work = counted(ours, run_lengths=ragged())
    heavy = ("addmm", "mm", "bmm", "native_layer_norm", "gelu", "convolution")
    assert {name: full[name] for name in heavy} == {name: stock[name] for name in heavy}
    # Packed: the tubelets are cut out and multiplied, instead of a convolution; everything else as often as before.
    assert packed["addmm"] == stock["addmm"] + 1
    assert packed["convolution"] == 0
    assert {name: packed[name] for name in heavy[1:5]} == {name: stock[name] for name in heavy[1:5]}
    attention = next(name for name in stock if "attention" in name)
    assert full[attention] == stock[attention] == layers
    assert packed[attention] == len(LENGTHS) * layers
    copies = ("cat", "clone", "copy_", "_to_copy", "index", "stack")
    assert sum(full[name] for name in copies) <= sum(stock[name] for name in copies) + 1  # what the host reads
    # One cat of contexts in each block, besides layout, embedding and pooling.
    assert packed["cat"] <= layers + 1
    assert sum(packed[name] for name in copies) <= layers + 10
    head = 3 * 2 * TINY["hidden_size"] * TINY["num_labels"]  # of a clip, however many tokens it has
    assert (less_work - head) * 3 * TOKENS == (work - head) * sum(LENGTHS)


def test_dropped_tubelets_are_neither_read_nor_embedded(tiny_config):
    model = RLTVideoMAEForVideoClassification(tiny_config()).eval()
    clips = torch.zeros(3, FRAMES, 3, SIDE, SIDE)
    with torch.no_grad(), OpCounts() as calls:
        model(clips, run_lengths=ragged())
    tubelet, width = 3 * 2 * 8 * 8, TINY["hidden_size"]
    assert calls.written["index"] == 4 * sum(LENGTHS) * (tubelet + width)  # pixels of the tokens, and their positions
    assert calls.written["clone"] == 4 * sum(LENGTHS) * tubelet  # into the order of the weights
