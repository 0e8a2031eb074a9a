# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The paper's rule: a tubelet starts a run if it differs from the one before it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .budget import Budget
from .runs import to_2tuple


def threshold_differences(pixel_values: Tensor, grid: tuple[int, int, int], tubelet_size: int, patch_size) -> Tensor:
    """Measure how much each tubelet but the first differs from the one before it: `(B, T - 1, H', W')` float32.

    The difference of tubelet i is the mean over channels and pixels of |last frame of i - first frame of i - 1|:

        frames    0 1 | 2 3 | 4 5     tubelets of two frames
                  ^------^            tubelet 1: |frame 3 - frame 0|
                        ^------^      tubelet 2: |frame 5 - frame 2|

    Source: arXiv 2411.05222 section 3.1 and the authors' `batched_find_idxs_to_keep` (pooling first, then channels).
    """
    (tubelets, rows, columns), size = grid, tubelet_size
    batch, _, channels = pixel_values.shape[:3]
    if tubelets == 1:
        return pixel_values.new_zeros((batch, 0, rows, columns), dtype=torch.float32)
    used = pixel_values[:, : tubelets * size]
    last, first = used[:, 2 * size - 1 :: size], used[:, : (tubelets - 1) * size : size]
    # This copy is the only full-size buffer: the subtraction and the absolute value happen inside it.
    difference = last.to(torch.float32, copy=True)
    difference.sub_(first.float() if first.dtype == torch.float64 else first).abs_()
    pooled = F.avg_pool2d(difference.flatten(0, 1), to_2tuple(patch_size))  # (B * (T - 1), C, H', W')
    return pooled.view(batch, tubelets - 1, channels, rows, columns).mean(2)


def threshold_starts(differences: Tensor, threshold: float, budget: Budget | None) -> Tensor:
    """Mark which tubelets but the first start a run: those above the threshold, in a budget the highest of them."""
    if budget is None:
        return ~(differences <= threshold)  # NaN starts a run
    chosen = budget.highest(differences)
    return chosen if budget.exact else chosen & ~(differences <= threshold)
