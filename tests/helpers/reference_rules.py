# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Slow references of the anchor rule and of budgets, written from the definitions; nothing here imports hf_rlt."""

import numpy as np
from torch import Tensor

from .reference import pair


def tubelet_differences(pixel_values: Tensor, tubelet_size: int, patch_size) -> np.ndarray:
    """Return `(B, T, T, H', W')` float64: the mean absolute difference of two tubelets of a place, over all their pixels."""
    pixels = pixel_values.double().numpy()
    height_p, width_p = pair(patch_size)
    batch, frames, _, height, width = pixels.shape
    tubelets = frames // tubelet_size
    result = np.zeros((batch, tubelets, tubelets, height // height_p, width // width_p))
    for b, i, j, u, v in np.ndindex(*result.shape):
        rows, columns = slice(u * height_p, (u + 1) * height_p), slice(v * width_p, (v + 1) * width_p)
        one, other = (pixels[b, k * tubelet_size : (k + 1) * tubelet_size, :, rows, columns] for k in (i, j))
        result[b, i, j, u, v] = np.abs(one - other).mean()
    return result


def anchor_starts(between: np.ndarray, threshold) -> np.ndarray:
    """Return `(B, T, H', W')` bool: walk along each place, and start a run where its first tubelet is too far away."""
    batch, tubelets, _, rows, columns = between.shape
    starts = np.zeros((batch, tubelets, rows, columns), bool)
    for b, u, v in np.ndindex(batch, rows, columns):
        anchor = 0
        starts[b, 0, u, v] = True
        for i in range(1, tubelets):
            if not between[b, i, anchor, u, v] <= threshold:
                starts[b, i, u, v], anchor = True, i
    return starts


def largest_error(between: np.ndarray, starts: np.ndarray) -> float:
    """Return the largest difference of a tubelet from the one that stands for it."""
    worst = 0.0
    for b, i, u, v in np.ndindex(*starts.shape):
        anchor = max(j for j in range(i + 1) if starts[b, j, u, v])
        worst = max(worst, between[b, i, anchor, u, v])
    return worst


def group_of(tubelet: int, tubelets: int, groups: int) -> int:
    """Return the group of a tubelet but the first: `groups` of them, as equal as they can be, cut at multiples of T - 1."""
    return next(g for g in range(groups) if tubelet < 1 + (g + 1) * (tubelets - 1) // groups)


def group_counts(spare: int, capacities: list[int]) -> list[int]:
    """Return how many of `spare` each group gets: one after another in turns, the smallest first, while they have room."""
    counts, order = [0] * len(capacities), sorted(range(len(capacities)), key=lambda g: capacities[g])
    while spare:
        # The last in the order of sizes get what does not divide.
        open_groups = [g for g in order if counts[g] < capacities[g]]
        if spare < len(open_groups):
            open_groups = open_groups[len(open_groups) - spare :]
        for g in open_groups:
            counts[g] += 1
            spare -= 1
    return counts


def ranked_starts(later: np.ndarray, tokens: int, shared: bool = False, groups: int = 1) -> np.ndarray:
    """Return `(B, T, H', W')` bool: the first tubelets, and the highest differences, one by one, until `tokens` are used.

    `later` `(B, T - 1, H', W')` are the differences of the tubelets but the first.
    """
    batch, tubelets, rows, columns = later.shape[0], later.shape[1] + 1, *later.shape[2:]
    starts = np.zeros((batch, tubelets, rows, columns), bool)
    starts[:, 0] = True
    pools = [range(batch)] if shared else [[clip] for clip in range(batch)]
    for pool in pools:
        members = [[] for _ in range(groups)]
        for b in pool:
            for i, u, v in np.ndindex(tubelets, rows, columns):
                if i > 0:
                    members[group_of(i, tubelets, groups)].append((-later[b, i - 1, u, v], b, i, u, v))
        counts = group_counts((tokens - rows * columns) * len(pool), [len(each) for each in members])
        for each, count in zip(members, counts, strict=True):
            for _, b, i, u, v in sorted(each)[:count]:
                starts[b, i, u, v] = True
    return starts
