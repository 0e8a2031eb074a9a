# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Proportional attention: a token that stands for k tubelets is k keys."""

import pytest
import torch
import torch.nn.functional as F
from transformers import VideoMAEConfig, VideoMAEForVideoClassification
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers.reference_baselines import embedded, proportional_rlt
from helpers.tiny import TINY, moving_clips, randomise
from hf_rlt import RLTVideoMAEForVideoClassification, find_runs


def make(backend="sdpa", kind=RLTVideoMAEForVideoClassification, **changes):
    settings = {**TINY, "threshold": 0.1, "proportional_attention": True, **changes}
    config = kind.config_class(**settings)
    config._attn_implementation = backend
    return randomise(kind(config))


@pytest.fixture(scope="module")
def batch():
    clips = moving_clips()
    return clips, find_runs(clips, 0.1, 2, 8)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_is_the_literal_one(batch, backend):
    clips, runs = batch
    stock = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY))).double()
    model = make(backend).double()
    model.load_state_dict(stock.state_dict())
    logits = model(clips.double(), run_lengths=runs).logits
    with torch.no_grad():
        for clip in range(len(clips)):
            kept = runs[clip] > 0
            tokens = embedded(stock, clips[clip].double())[kept]
            wanted = proportional_rlt(stock, tokens, runs[clip][kept].tolist())
            torch.testing.assert_close(logits[clip], wanted)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("heads", [2, 3, 4])
@torch.no_grad()
def test_flex_attention_gets_heads_of_a_power_of_two(monkeypatch, heads, biased):
    """As torch 2.6 wants them: here 24, 16 and 12 channels, and 8 more with a bias."""
    attention = make(num_attention_heads=heads).videomae.encoder.layer[0].attention.attention
    generator = torch.Generator().manual_seed(heads)
    states = torch.randn(2, 7, 48, generator=generator)
    options = {"key_bias": torch.randn(2, 1, 1, 7, generator=generator)} if biased else {}
    wanted, _ = attention(states, **options)

    def flex(module, query, key, value, attention_mask, scaling=None, **kwargs):
        assert {states.shape[-1] for states in (query, key, value)} <= {16, 32}
        return F.scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flex_attention", flex)
    attention.config._attn_implementation = "flex_attention"
    torch.testing.assert_close(attention(states, **options)[0], wanted, rtol=1e-4, atol=1e-5)
