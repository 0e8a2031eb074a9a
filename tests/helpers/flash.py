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
        packed = [f"{name}_{side}" for name in ("cu_seq_lens", "max_length") for side in "qk"]
        assert sum(name in kwargs for name in packed) in (0, 4)
        bounds = {}
        for side, states in (("q", query), ("k", key)):
            whole = torch.tensor([0, states.shape[2]])
            bounds[side] = kwargs.get(f"cu_seq_lens_{side}", whole).tolist()
            assert max(end - start for start, end in pairwise(bounds[side])) <= kwargs.get(
                f"max_length_{side}", whole[1]
            )
            assert bounds[side][-1] == whole[1]
        calls.append({"shape": tuple(query.shape), "bounds": bounds["q"], **kwargs})
        pieces = []
        for (start, end), (first, last) in zip(pairwise(bounds["q"]), pairwise(bounds["k"]), strict=True):
            q, k, v = query[:, :, start:end], key[:, :, first:last], value[:, :, first:last]
            pieces.append(F.scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2))
        return torch.cat(pieces, dim=1), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flash_attention_2", flash)
    monkeypatch.setattr(model.config, "_attn_implementation", "flash_attention_2")
    return calls
