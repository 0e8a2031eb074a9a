# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Attention inside each clip of a pack, with keys that may count several times, on every backend."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .varlen_attention import VARLEN

MASKED_BACKENDS = ("sdpa", "eager")  # they take an additive mask; the others get the bias through their inputs
BIAS_CHANNELS = 8  # flash attention wants head sizes in steps of 8


def with_key_bias(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Widen the heads by 8 channels that add `bias[j]` to the logits of key j, for backends without an additive mask.

    Two of the channels carry the bias, rounded and the rest of it, so that half precision loses nothing that counts; the
    added channels of the value, and so of the output, are zero. States are `(B, heads, n, head size)`, `bias` is
    `(B, 1, 1, n)`, and the backend multiplies logits by `scaling`.
    """
    wanted = (bias.float() / scaling).transpose(2, 3)  # (B, 1, n, 1)
    coarse = wanted.to(key.dtype)
    fine = (wanted - coarse.float()).to(key.dtype)
    carried = F.pad(torch.cat([coarse, fine], dim=3), (0, BIAS_CHANNELS - 2)).expand(*key.shape[:3], -1)
    ones = F.pad(torch.ones_like(query[..., :2]), (0, BIAS_CHANNELS - 2))
    return torch.cat([query, ones], 3), torch.cat([key, carried], 3), F.pad(value, (0, BIAS_CHANNELS))


def with_power_of_two_heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """Pad heads with zeros to the next power of two: torch 2.6's flex_attention accepts no other size."""
    size = query.shape[-1]
    missing = (1 << (size - 1).bit_length()) - size
    return tuple(F.pad(states, (0, missing)) if missing else states for states in (query, key, value))


def add_bias(mask: Tensor | None, bias: Tensor) -> Tensor:
    """Join a bias `(B, 1, 1, n)` and a mask, bool or additive, into an additive mask."""
    if mask is None:
        return bias
    return torch.where(mask, bias, -torch.inf) if mask.dtype == torch.bool else mask + bias


def attend(
    module: Any,
    eager: Callable[..., Any],
    states: tuple[Tensor, Tensor, Tensor],
    attention_mask: Tensor | None = None,
    sequence_lengths: tuple[int, ...] | None = None,
    query_lengths: tuple[int, ...] | None = None,
    key_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend within each clip; return the context `(B, n, heads, head size)`, and the probabilities if the backend does.

    Args:
        module: an attention of transformers; its configuration names the backend.
        eager: its eager attention.
        states: query, key and value, each `(B, heads, n, head size)`, of clips or of one pack.
        attention_mask: `(B, 1, n, n)`, bool or additive, or flex attention's.
        sequence_lengths: computed tokens of each clip of a pack, which is then attended clip by clip.
        query_lengths: the same of queries, where they are others.
        key_bias: `(B, 1, 1, n)`, added to the logits of each key, with every backend.
        **options: `scaling` and `dropout`; flash attention's `cu_seq_lens_q/k` and `max_length_q/k`.
    """
    backend, (query, key, value) = module.config._attn_implementation, states
    size = value.shape[-1]
    if backend == VARLEN and "cu_seq_lens_q" not in options:
        backend = "sdpa"
    run = ALL_ATTENTION_FUNCTIONS.get_interface(backend, eager)
    options["is_causal"] = False
    if key_bias is not None and backend not in MASKED_BACKENDS:
        query, key, value = with_key_bias(query, key, value, key_bias, options["scaling"])
    elif key_bias is not None:
        attention_mask = add_bias(attention_mask, key_bias.to(query.dtype))
    if backend == "flex_attention":
        query, key, value = with_power_of_two_heads(query, key, value)
    if sequence_lengths is None:
        context, probabilities = run(module, query, key, value, attention_mask, **options)
        return context[..., :size], probabilities
    queries = query.split(query_lengths or sequence_lengths, dim=2)
    keys, values = (each.split(sequence_lengths, dim=2) for each in (key, value))
    masks = [None] * len(sequence_lengths)
    if attention_mask is not None:
        # Copies: fused kernels want a mask that begins at an aligned address.
        masks = [piece.clone() for piece in attention_mask.split(sequence_lengths, dim=3)]
    parts = zip(queries, keys, values, masks, strict=True)
    return torch.cat([run(module, q, k, v, mask, **options)[0] for q, k, v, mask in parts], dim=1)[..., :size], None
