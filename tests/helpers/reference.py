# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Slow references, written from the definitions with loops; nothing here imports hf_rlt."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def pair(patch_size) -> tuple[int, int]:
    return (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)


def differences(pixel_values: Tensor, tubelet_size: int, patch_size) -> np.ndarray:
    """Return `(B, T, H', W')` float64 differences of each tubelet to the one before; infinite for the first."""
    pixels = pixel_values.double().numpy()
    height_p, width_p = pair(patch_size)
    batch, frames, _, height, width = pixels.shape
    result = np.full((batch, frames // tubelet_size, height // height_p, width // width_p), np.inf)
    for b, i, u, v in np.ndindex(*result.shape):
        if i == 0:
            continue
        rows, columns = slice(u * height_p, (u + 1) * height_p), slice(v * width_p, (v + 1) * width_p)
        last = pixels[b, (i + 1) * tubelet_size - 1, :, rows, columns]
        first = pixels[b, (i - 1) * tubelet_size, :, rows, columns]
        result[b, i, u, v] = np.abs(last - first).mean()
    return result


def run_starts(pixel_values: Tensor, threshold: float, tubelet_size: int, patch_size) -> np.ndarray:
    starts = differences(pixel_values, tubelet_size, patch_size) > threshold
    starts[:, 0] = True
    return starts


def run_lengths(starts: np.ndarray) -> np.ndarray:
    """Return `(B, N)`: for each start, how many tubelets one walks until the next start or the end."""
    batch, tubelets, rows, columns = starts.shape
    lengths = np.zeros(starts.shape, dtype=np.int64)
    for b, i, u, v in np.ndindex(batch, tubelets, rows, columns):
        if not starts[b, i, u, v]:
            continue
        end = i + 1
        while end < tubelets and not starts[b, end, u, v]:
            end += 1
        lengths[b, i, u, v] = end - i
    return lengths.reshape(batch, -1)


def fill(tokens: Tensor, lengths: Tensor, tubelets: int) -> Tensor:
    """Return `tokens` with every run's value copied to all the positions the run stands for; zero elsewhere."""
    batch, positions = lengths.shape
    places = positions // tubelets
    result = torch.zeros_like(tokens)
    for b in range(batch):
        for i in range(tubelets):
            for place in range(places):
                length = int(lengths[b, i * places + place])
                for j in range(i, min(i + length, tubelets)):
                    if j > i and lengths[b, j * places + place] > 0:
                        break
                    result[b, j * places + place] = tokens[b, i * places + place]
    return result


def authors_differences(pixel_values: Tensor, tubelet_size: int, patch_size: int) -> Tensor:
    """Return `(B, T - 1, H', W')` float32 as the authors' public code computes it, in `(B, C, T, H, W)` order."""
    x = pixel_values.transpose(1, 2)
    s, p = tubelet_size, patch_size
    difference = (x[:, :, 2 * s - 1 :: s] - x[:, :, :-s:s]).abs()
    pooled = F.avg_pool3d(difference, (1, p, p))
    return pooled.mean(1)


def mean_per_clip(grid: Tensor, lengths: Tensor) -> Tensor:
    """Return `(B, D)`: the mean over the positions whose length is not zero."""
    return torch.stack(
        [
            torch.stack([t for t, k in zip(g, r, strict=True) if k > 0]).mean(0)
            for g, r in zip(grid, lengths, strict=True)
        ]
    )


def resized_positions(table: Tensor, trained: tuple[int, int, int], grid: tuple[int, int, int]) -> Tensor:
    """Return `(N, D)` float64: for each place of `grid` the blend of the eight places of `trained` around it.

    Place i of n lies at `(i + 0.5) / n` of the clip; outside the first and the last centre the edge's value holds.
    """
    table = table.double().view(*trained, -1)
    result = torch.zeros(*grid, table.shape[-1], dtype=torch.float64)
    for place in np.ndindex(*grid):
        axes = []
        for i, old, new in zip(place, trained, grid, strict=True):
            source = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
            below = int(source)
            axes.append(((below, 1 - (source - below)), (min(below + 1, old - 1), source - below)))
        for t, weight_t in axes[0]:
            for h, weight_h in axes[1]:
                for w, weight_w in axes[2]:
                    result[place] += weight_t * weight_h * weight_w * table[t, h, w]
    return result.flatten(0, 2)
