# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2's attention over packed clips: rotary in the encoder, plain and with one query per clip in the pooler."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.vjepa2.modeling_vjepa2 import (
    VJEPA2PoolerCrossAttention,
    VJEPA2PoolerSelfAttention,
    VJEPA2RopeAttention,
)

from .packed_attention import attend
from .tubelets import unravel

Rotary = tuple[Tensor, Tensor]


def rotary_tables(
    places: Tensor,
    side: int,
    head_size: int,
    dtype: torch.dtype,
    interleave: bool = False,
    trained_side: int | None = None,
) -> Rotary:
    """Make the cosines and sines `(..., n, head size)` by which V-JEPA 2 rotates tokens at `places` `(..., n)` of the grid.

    The original computes them in each layer, for queries and keys; here once per forward, by the same operations in the same
    dtype and order, so that the encoder is the same bit for bit.

        head    | time | row | column | rest |      three equal parts, and what remains is not rotated
        part    | w0 w1 ... w0 w1 ... |             frequencies are tiled, though pairs of neighbours are rotated:
                                                    the original's way, which its weights have learnt

    Args:
        places: `(..., n)` int64, positions in `(t, h, w)` order.
        side: patches in a row of the grid.
        head_size: channels of a head.
        dtype: in which attention computes.
        interleave: V-JEPA 2.1's order, w0 w0 w1 w1 ..., which fits the pairs.
        trained_side: rows and columns are scaled to this side of the grid, as V-JEPA 2.1 does; None: as they are.
    """
    part = 2 * (head_size // 3 // 2)
    omega = torch.arange(part // 2, dtype=dtype, device=places.device)
    omega /= part / 2.0
    omega = 1.0 / 10000**omega
    time, row, column = unravel(places, side, side)
    if trained_side is not None:
        row, column = (each.to(dtype) * (trained_side - 1) / max(side - 1, 1) for each in (row, column))

    def spread(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, -1) if interleave else values.repeat(*[1] * places.ndim, 2)

    angles = [position.unsqueeze(-1) * omega for position in (time, row, column)]
    cosines, sines = ([spread(of(angle)) for angle in angles] for of in (torch.cos, torch.sin))
    rest = (*places.shape, head_size - 3 * part)
    return (
        torch.cat([*cosines, cosines[0].new_ones(rest)], dim=-1),
        torch.cat([*sines, sines[0].new_zeros(rest)], dim=-1),
    )


def rotate(states: Tensor, rotary: Rotary) -> Tensor:
    """Rotate pairs of neighbouring channels of states `(..., head size)`, to which the tables broadcast."""
    cosines, sines = rotary
    first, second = states.unflatten(-1, (-1, 2)).unbind(dim=-1)
    return (states * cosines).add_(torch.stack((-second, first), dim=-1).flatten(-2) * sines)


def masked_eager_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[Tensor, Tensor]:
    """Attend as V-JEPA 2's eager attention does, which ignores masks, with an additive mask."""
    logits = torch.matmul(query, key.transpose(-1, -2)) * scaling
    logits = logits if attention_mask is None else logits + attention_mask
    weights = F.dropout(logits.softmax(-1, dtype=torch.float32).to(query.dtype), dropout, module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class RLTVJEPA2Attention(VJEPA2RopeAttention):
    """V-JEPA 2's rotary attention inside each clip of a pack. Same parameters."""

    def forward(self, hidden_states: Tensor, rotary: Rotary, **kwargs) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Attend within each clip of `(B, n, D)` or a pack `(1, L, D)`; `kwargs` are those of `packed_attention.attend`."""
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        # Rotated before heads and tokens change places: in one piece of memory, which is faster than the original's order.
        query = rotate(self.query(hidden_states).view(shape), rotary)
        key = rotate(self.key(hidden_states).view(shape), rotary)
        value = self.value(hidden_states).view(shape)
        states = (query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        options = {"scaling": self.scaling, "dropout": self.dropout_prob if self.training else 0.0, **kwargs}
        context, probabilities = attend(self, masked_eager_attention, states, **options)
        return self.proj(context.flatten(2)), probabilities


class RLTVJEPA2PoolerSelfAttention(VJEPA2PoolerSelfAttention):
    """The pooler's self-attention inside each clip of a pack. Same parameters."""

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Attend within each clip of `(B, n, D)` or a pack `(1, L, D)`."""
        context, probabilities = _attend(self, hidden_states, hidden_states, kwargs)
        return self.out_proj(context), probabilities


class RLTVJEPA2PoolerCrossAttention(VJEPA2PoolerCrossAttention):
    """The pooler's cross-attention, one query per clip. Same parameters."""

    def forward(self, queries: Tensor, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Attend from `(B, 1, D)` to the tokens `(B, n, D)`, or from a pack `(1, B, D)` to a pack `(1, L, D)`."""
        return _attend(self, queries, hidden_states, kwargs)


def _attend(
    module: VJEPA2PoolerSelfAttention | VJEPA2PoolerCrossAttention, queries: Tensor, tokens: Tensor, options: dict
) -> tuple[Tensor, Tensor | None]:
    """Attend from queries to tokens; the projections come before the heads are split, in the original's order."""
    projected = (module.q_proj(queries), module.k_proj(tokens), module.v_proj(tokens))
    states = tuple(each.unflatten(-1, (module.num_heads, module.head_dim)).transpose(1, 2) for each in projected)
    options = {"scaling": module.scale, "dropout": module.dropout if module.training else 0.0, **options}
    context, probabilities = attend(module, masked_eager_attention, states, **options)  # type: ignore[arg-type]
    return context.flatten(2), probabilities
