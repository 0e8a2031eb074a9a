# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Stand-ins for what needs a GPU: flash attention, and torch's attention for packs."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hf_rlt.models import rlt_model
from hf_rlt.models.varlen_attention import VARLEN


def attend_pieces(query, key, value, ends, scale):
    """Attend within each piece of states `(1, heads, n, head size)`; `ends` are the pieces' bounds of queries and keys."""
    pieces = []
    for (start, end), (first, last) in zip(*map(pairwise, ends), strict=True):
        q, k, v = query[:, :, start:end], key[:, :, first:last], value[:, :, first:last]
        pieces.append(F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2))
    return torch.cat(pieces, dim=1)


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
        return attend_pieces(query, key, value, bounds.values(), scaling), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flash_attention_2", flash)
    monkeypatch.setattr(model.config, "_attn_implementation", "flash_attention_2")
    return calls


def use_varlen(monkeypatch, model) -> list[tuple[int, ...]]:
    """Let a model call what `varlen_attn` computes, which wants what it says; return a list of the shapes of queries."""
    calls: list[tuple[int, ...]] = []

    def varlen(query, key, value, ends_q, ends_k, max_q, max_k, *, scale=None):
        calls.append(tuple(query.shape))
        assert query.dtype == key.dtype == value.dtype
        for states, ends, longest in ((query, ends_q, max_q), (key, ends_k, max_k), (value, ends_k, max_k)):
            assert states.is_contiguous()
            assert states.data_ptr() % 16 == 0
            assert states.shape[2] % 8 == 0
            assert (ends.dtype, int(ends[-1])) == (torch.int32, len(states))  # rows beyond it would get NaN gradients
            assert type(longest) is int
            assert longest == int(ends.diff().max())
        states = (each.transpose(0, 1)[None] for each in (query, key, value))
        return attend_pieces(*states, [ends_q.tolist(), ends_k.tolist()], scale)[0]

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen)
    monkeypatch.setattr(rlt_model, "takes_varlen", lambda tokens: True)
    monkeypatch.setattr(model.config, "_attn_implementation", VARLEN)
    return calls
