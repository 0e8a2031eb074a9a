# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which models attend with torch_varlen; on a GPU, that it computes what the loop does. Families test it with a stand-in."""

import os
import sys

import pytest
import torch

from helpers.tiny import TINY, TINY_VJEPA2, moving_clips, randomise
from hf_rlt import (
    RLTVideoMAEConfig,
    RLTVideoMAEForVideoClassification,
    RLTVJEPA2Config,
    RLTVJEPA2ForVideoClassification,
)
from hf_rlt.models import varlen_attention
from hf_rlt.models.varlen_attention import takes_varlen

FAMILIES = {
    "videomae": (RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, TINY),
    "vjepa2": (RLTVJEPA2Config, RLTVJEPA2ForVideoClassification, TINY_VJEPA2),
}


def make(family, backend=None, **changes):
    config, kind, settings = FAMILIES[family]
    config = config(**{**settings, **changes})
    if backend is not None:
        config._attn_implementation = backend
    torch.manual_seed(0)
    return randomise(kind(config))


def pretend(monkeypatch, capability):
    """Let torch say that there is a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(varlen_attention, "available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_default_on_gpus_that_have_it(family, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make(family).config._attn_implementation == "sdpa"
    for capability, expected in (((9, 0), "torch_varlen"), ((8, 0), "torch_varlen"), ((7, 5), "sdpa")):
        pretend(monkeypatch, capability)
        assert make(family).config._attn_implementation == expected
        assert make(family, "sdpa").config._attn_implementation == "sdpa"
        assert make(family, "eager").config._attn_implementation == "eager"
    assert make(family, "torch_varlen").config._attn_implementation == "torch_varlen"


def test_it_takes_half_precision_on_such_gpus(monkeypatch):
    pretend(monkeypatch, (8, 6))
    half, whole = (torch.empty(1, device="meta", dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    assert not takes_varlen(half)  # it is not on a GPU

    class OnGpu:
        device = torch.device("cuda", 0)

        def __init__(self, tensor):
            self.dtype = tensor.dtype

    assert takes_varlen(OnGpu(half))
    assert not takes_varlen(OnGpu(whole))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    assert takes_varlen(OnGpu(whole))  # autocast makes the queries half
    pretend(monkeypatch, (7, 5))
    assert not takes_varlen(OnGpu(half))


def test_a_pytorch_without_what_is_needed_keeps_sdpa(monkeypatch):
    varlen_attention.available.cache_clear()
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda query, key, value, ends: None)  # no scale
    assert not varlen_attention.available()
    varlen_attention.available.cache_clear()
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    assert not varlen_attention.available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    assert make("videomae").config._attn_implementation == "sdpa"
    varlen_attention.available.cache_clear()


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_gpu_it_is_sdpa_bit_for_bit(family):
    for changes in ({}, {"threshold": None}, {"proportional_attention": True}):
        found = [make(family, backend, **changes).eval()(moving_clips()).logits for backend in ("torch_varlen", "sdpa")]
        assert torch.equal(*found)


@pytest.mark.cuda
@pytest.mark.parametrize("proportional", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_gpu_it_computes_what_the_loop_does(family, dtype, proportional):
    if not torch.cuda.is_available():
        if os.environ.get("HF_RLT_REQUIRE_CUDA") == "1":
            pytest.fail("HF_RLT_REQUIRE_CUDA=1, and there is no CUDA device.")
        pytest.skip("needs a CUDA device")
    clips = moving_clips().cuda()
    outcomes = []
    for backend, kind in (("sdpa", torch.float32), ("sdpa", dtype), ("torch_varlen", dtype)):
        model = make(family, backend, proportional_attention=proportional).cuda().to(kind)
        logits = model(clips).logits.float()
        logits.square().sum().backward()
        gradients = torch.cat([each.grad.flatten().float() for each in model.parameters() if each.grad is not None])
        outcomes.append((logits, gradients))
    exact, loop, varlen = outcomes
    for which in (0, 1):  # as near to float32 as the loop in the same precision is, but for luck
        error, allowed = ((each[which] - exact[which]).norm() for each in (varlen, loop))
        assert error < 2 * allowed + 1e-3
