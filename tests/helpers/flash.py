# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A stand-in for flash attention, which needs a GPU."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def use_flash(monkeypatch, model) -> list[dict[str, Any]]:
    """Let a model call what a variable-length flash kernel computes from its arguments; return a list of the calls."""
    calls: list[dict[str, Any]] = []

    def flash(module, query, key, value, attention_mask, scaling=None, **kwargs):
        assert attention_mask is None
        bounds = kwargs.get("cu_seq_lens_q", torch.tensor([0, query.shape[2]])).tolist()
        calls.append({"shape": tuple(query.shape), "bounds": bounds, **kwargs})
        pieces = []
        for start, end in pairwise(bounds):
            assert end - start <= kwargs.get("max_length_q", end)
            q, k, v = (each[:, :, start:end] for each in (query, key, value))
            pieces.append(F.scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2))
        return torch.cat(pieces, dim=1), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flash_attention_2", flash)
    monkeypatch.setattr(model.config, "_attn_implementation", "flash_attention_2")
    return calls
