# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Embedding of tubelets: of all of a batch, or only of those that are computed."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .packing import PackedLayout
from .runs import to_2tuple


class TubeletProjection(nn.Conv3d):
    """Conv3d of clips `(B, C, F, H, W)` that also takes cut tubelets `(L, C * s * p * p)`, to `(L, D)`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Project clips or cut tubelets."""
        inputs = inputs.to(self.weight.dtype)  # processors give float32, in which runs are found
        if inputs.ndim == 2:
            return F.linear(inputs, self.weight.flatten(1), self.bias)
        return super().forward(inputs)


def cut_tubelets(pixel_values: Tensor, layout: PackedLayout, tubelet_size: int, patch_size: Any) -> Tensor:
    """Cut the computed tubelets of clips `(B, F, C, H, W)`: `(L, C * s * p * p)`. Dropped ones are never read."""
    height, width = to_2tuple(patch_size)
    tubelets = pixel_values.shape[1] // tubelet_size
    cut = pixel_values[:, : tubelets * tubelet_size].unflatten(1, (tubelets, tubelet_size))
    cut = cut.unfold(4, height, height).unfold(5, width, width)  # a view: (B, T, s, C, H', W', p, p)
    time, row, column = unravel(layout.indices % layout.positions, *cut.shape[4:6])
    chosen = cut[layout.clip_ids, time, :, :, row, column]  # (L, s, C, p, p)
    return chosen.transpose(1, 2).flatten(1)


def unravel(places: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Turn positions on a grid into their tubelet in time, row and column."""
    in_frame = places % (rows * columns)
    return places // (rows * columns), in_frame // columns, in_frame % columns
