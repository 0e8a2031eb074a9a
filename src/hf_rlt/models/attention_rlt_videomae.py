# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""VideoMAE's attention over packed clips, with keys that may count several times, on every backend."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.videomae.modeling_videomae import VideoMAESelfAttention, eager_attention_forward

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


class RLTVideoMAESelfAttention(VideoMAESelfAttention):
    """VideoMAE's attention inside each clip of a pack. Same parameters."""

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor | None]:
        """Attend within each clip of `(B, n, D)` or a pack `(1, L, D)`; `kwargs` are those of `attend`."""
        return self.attend(*self.project(hidden_states), **kwargs)

    def project(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project tokens to queries, keys and values, each `(B, heads, n, head size)`."""
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        key = self.key(hidden_states).view(shape).transpose(1, 2)
        value = self.value(hidden_states).view(shape).transpose(1, 2)
        return self.query(hidden_states).view(shape).transpose(1, 2), key, value

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        sequence_lengths: tuple[int, ...] | None = None,
        key_bias: Tensor | None = None,
        **kwargs,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context `(B, n, D)`, and the probabilities if the backend gives them.

        With `sequence_lengths`, a pack is attended sequence by sequence. `key_bias` `(B, 1, 1, n)` is added to the logits
        of each key, with every backend. `kwargs` are flash attention's `cu_seq_lens_q/k` and `max_length_q/k`.
        """
        backend = self.config._attn_implementation
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(backend, eager_attention_forward)
        dropout = self.dropout_prob if self.training else 0.0
        options = {"is_causal": self.is_causal, "scaling": self.scaling, "dropout": dropout, **kwargs}
        if key_bias is not None and backend not in MASKED_BACKENDS:
            query, key, value = with_key_bias(query, key, value, key_bias, self.scaling)
        elif key_bias is not None:
            attention_mask = add_bias(attention_mask, key_bias.to(query.dtype))
        if backend == "flex_attention":
            query, key, value = with_power_of_two_heads(query, key, value)
        if sequence_lengths is None:
            context, probabilities = attend(self, query, key, value, attention_mask, **options)
        else:
            pieces = [states.split(sequence_lengths, dim=2) for states in (query, key, value)]
            masks = [None] * len(sequence_lengths)
            if attention_mask is not None:
                # Copies: fused kernels want a mask that begins at an aligned address.
                masks = [piece.clone() for piece in attention_mask.split(sequence_lengths, dim=3)]
            parts = zip(*pieces, masks, strict=True)
            context = torch.cat([attend(self, q, k, v, mask, **options)[0] for q, k, v, mask in parts], dim=1)
            probabilities = None
        return context[..., : self.attention_head_size].flatten(2), probabilities
