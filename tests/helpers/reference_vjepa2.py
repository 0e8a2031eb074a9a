# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2's rotary positions, one channel at a time; and its own modules on some of the tokens. No hf_rlt here."""

import math

import torch
from torch import Tensor


def rotated(vector: Tensor, place: tuple[int, int, int]) -> Tensor:
    """Rotate a head's channels `(d,)` of the token at (t, h, w), float64.

    Three equal parts of an even number of channels turn by t, h and w; what is left over does not turn. In a part of n
    channels, pairs (0, 1), (2, 3), ... turn together, but channel c turns by the frequency 10000 ** -(2 * (c mod n/2) / n):
    the two channels of a pair have frequencies of their own.
    """
    part = len(vector) // 3 // 2 * 2
    result = vector.double().clone()
    for axis, position in enumerate(place):
        for even in range(axis * part, (axis + 1) * part, 2):
            for channel, other, sign in ((even, even + 1, -1), (even + 1, even, 1)):
                frequency = 10000 ** -(2 * ((channel - axis * part) % (part // 2)) / part)
                angle = position * frequency
                result[channel] = vector[channel] * math.cos(angle) + sign * vector[other] * math.sin(angle)
    return result


def alone(stock, clip: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(n, D)` states and `(K,)` logits that stock's own modules compute of the tokens of one clip that are kept.

    The layers take the places of tokens, `position_mask`, which its predictor uses and its encoder does not.
    """
    encoder, places = stock.vjepa2.encoder, kept.nonzero().T
    states = encoder.embeddings(clip[None])[:, kept]
    for layer in encoder.layer:
        states = layer(states, position_mask=places)[0]
    states = encoder.layernorm(states)
    return states[0], stock.classifier(stock.pooler(states))[0]


def rotated_grid(vectors: Tensor, frames: int, side: int) -> Tensor:
    """Rotate `(heads, N, d)` vectors at all places of a grid."""
    places = [(t, h, w) for t in range(frames) for h in range(side) for w in range(side)]
    return torch.stack([torch.stack([rotated(v, p) for v, p in zip(h, places, strict=True)]) for h in vectors])
