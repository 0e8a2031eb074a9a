# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tubelets: cut from clips, put back, and embedded, all of a batch or only those that are computed."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .packing import PackedLayout, unpack
from .runs import to_2tuple


class TubeletProjection(nn.Conv3d):
    """Conv3d of clips `(B, C, F, H, W)` that also takes tubelets `(L, C * s * p * p)`, to `(L, D)`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Project clips or tubelets."""
        inputs = inputs.to(self.weight.dtype)  # processors give float32, in which runs are found
        if inputs.ndim == 2:
            return F.linear(inputs, self.weight.flatten(1), self.bias)
        return super().forward(inputs)


def cut_tubelets(pixel_values: Tensor, layout: PackedLayout, tubelet_size: int, patch_size: Any) -> Tensor:
    """Cut the computed tubelets of clips `(B, F, C, H, W)`: `(L, s, C, p, p)`. Dropped ones are never read."""
    height, width = to_2tuple(patch_size)
    tubelets = pixel_values.shape[1] // tubelet_size
    cut = pixel_values[:, : tubelets * tubelet_size].unflatten(1, (tubelets, tubelet_size))
    cut = cut.unfold(4, height, height).unfold(5, width, width)  # a view: (B, T, s, C, H', W', p, p)
    time, row, column = unravel(layout.indices % layout.positions, *cut.shape[4:6])
    return cut[layout.clip_ids, time, :, :, row, column]


def flat_tubelets(tubelets: Tensor) -> Tensor:
    """Flatten tubelets `(L, s, C, p, p)` to `(L, C * s * p * p)`, the order of the projection's weights."""
    return tubelets.transpose(1, 2).flatten(1)


def join_tubelets(
    tubelets: Tensor, layout: PackedLayout, grid: tuple[int, int, int], height: int, width: int
) -> Tensor:
    """Put tubelets `(L, s, C, p, p)` back where they were cut: clips `(B, T * s, C, H, W)`, zero where there is none.

    Args:
        tubelets: of the layout.
        layout: of the computed tokens.
        grid: `(T, H', W')` tubelets of a clip.
        height: H, of which patches may leave a rest.
        width: W.
    """
    clips = unpack(tubelets[None], layout).unflatten(1, grid)  # (B, T, H', W', s, C, p, p)
    clips = clips.permute(0, 1, 4, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(1, 2)
    return F.pad(clips, (0, width - clips.shape[-1], 0, height - clips.shape[-2]))


def unravel(places: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Turn positions on a grid into their tubelet in time, row and column."""
    in_frame = places % (rows * columns)
    return places // (rows * columns), in_frame // columns, in_frame % columns
