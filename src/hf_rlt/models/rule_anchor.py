# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The anchor rule: a tubelet starts a run if it differs from the run's first one, its anchor.

The paper's rule never sees slow change: neighbours differ by less than the threshold, and the run goes on whatever it has
become. Here no dropped tubelet is farther than the threshold from the token that stands for it.

    a place's grey level    0.00  0.06  0.12  0.18  0.24    threshold 0.1
    paper                   x     .     .     .     .       each differs by 0.06 from the one before
    anchor                  x     .     x     .     x       0.12 is farther than 0.1 from 0.00
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .budget import Budget, highest
from .runs import to_2tuple

CANDIDATES, ROUNDS = 16, 4  # thresholds that are tried at once, and how often: 1 / 16 ** 4 of the range is resolved
ROWS = 4  # tubelets that are compared with all before them at once


def anchor_differences(pixel_values: Tensor, grid: tuple[int, int, int], tubelet_size: int, patch_size) -> Tensor:
    """Measure how much each tubelet but the first differs from those before it: `(B, T - 1, T, H', W')` float32.

    The difference of two tubelets is the mean absolute difference of their pixels, over all their frames and channels.
    """
    (tubelets, rows, columns), (height, width) = grid, to_2tuple(patch_size)
    used = pixel_values[:, : tubelets * tubelet_size, :, : rows * height, : columns * width].float()
    cut = used.unflatten(4, (columns, width)).unflatten(3, (rows, height)).unflatten(1, (tubelets, tubelet_size))
    places = cut.permute(0, 4, 6, 1, 2, 3, 5, 7).flatten(4).flatten(0, 2)  # (B * H' * W', T, pixels)
    found = [torch.zeros_like(places[:, :0, :1]).expand(-1, -1, tubelets)]
    for first in range(1, tubelets, ROWS):
        last = min(first + ROWS, tubelets)
        block = torch.cdist(places[:, first:last], places[:, :last], p=1) / places.shape[2]
        found.append(F.pad(block, (0, tubelets - last)))
    return torch.cat(found, dim=1).view(len(used), rows, columns, tubelets - 1, tubelets).permute(0, 3, 4, 1, 2)


def anchor_starts(differences: Tensor, threshold: float, budget: Budget | None) -> Tensor:
    """Mark which tubelets but the first start a run, `(B, T - 1, H', W')`.

    In a budget the threshold is the lowest that keeps to it, found for each group in turn. An exact one is then filled up
    from the ends of runs, which brings no dropped tubelet farther from its token.
    """
    batch, _, tubelets, rows, columns = differences.shape
    anchor = torch.zeros((batch, rows, columns), dtype=torch.int64, device=differences.device)
    if budget is None:
        limit = torch.full((1, 1), threshold, device=differences.device)
        return _scan(differences, anchor, (1, tubelets), limit)[0]
    differences = differences.nan_to_num(nan=torch.inf, posinf=torch.inf)
    found = []
    for first, last, count in budget.spans:
        limit = _lowest_limit(
            differences, anchor, (first, last), count, -torch.inf if budget.exact else threshold, budget
        )
        marked = _scan(differences, anchor, (first, last), limit)[0]
        if budget.exact:
            marked = _filled(differences, anchor, first, marked, count, budget)
        time = torch.arange(first, last, device=anchor.device).view(1, -1, 1, 1)
        anchor = torch.maximum(anchor, (marked * time).amax(1))
        found.append(marked)
    return torch.cat(found, dim=1)


def _scan(differences: Tensor, anchor: Tensor, span: tuple[int, int], limits: Tensor) -> Tensor:
    """Mark which tubelets of a span start a run at limits `(L, B)` or `(L, 1)`: `(L, B, t, H', W')`.

    `anchor` `(B, H', W')` are the tubelets that stand for what comes before the span.
    """
    anchors = anchor.expand(len(limits), *anchor.shape)
    marked = []
    for time in range(*span):
        row = differences[:, time - 1].expand(len(limits), -1, -1, -1, -1)
        far = ~(row.gather(2, anchors[:, :, None])[:, :, 0] <= limits[:, :, None, None])  # NaN starts a run
        anchors = torch.where(far, time, anchors)
        marked.append(far)
    return torch.stack(marked, dim=2)


def _lowest_limit(
    differences: Tensor, anchor: Tensor, span: tuple[int, int], count: int, least: float, budget: Budget
) -> Tensor:
    """Find the lowest threshold from `least` on at which at most `count` tubelets of a span start, `(1, B)` or `(1, 1)`.

    The number of runs does not always fall as the threshold rises, so each limit returned has been tried.
    """
    most = differences.masked_fill(differences.isinf(), 0).flatten(1).amax(1)
    high = most.amax(0, keepdim=True) if budget.shared else most
    low = torch.full_like(high, least)
    steps = torch.linspace(0, 1, CANDIDATES - 1, device=high.device)[:, None]
    for _ in range(ROUNDS):
        begin = low.clamp(min=0)
        tried = begin + (torch.maximum(high, begin) - begin) * steps
        # The lowest of all, and one at which nothing starts.
        tried = torch.cat([low[None], tried, torch.full_like(low, torch.inf)[None]])
        fits = budget.pools(_scan(differences, anchor, span, tried)).sum(-1) <= count
        index = fits.int().argmax(0, keepdim=True)  # the first that fits
        limit = tried.gather(0, index)
        low, high = tried.gather(0, (index - 1).clamp(min=0))[0], limit[0]
    return limit


def _filled(differences: Tensor, anchor: Tensor, first: int, marked: Tensor, count: int, budget: Budget) -> Tensor:
    """Mark so many more tubelets that `count` are: the last ones of runs, those farthest from their anchor first."""
    size = marked.shape[1]
    time = torch.arange(first, first + size, device=marked.device).view(1, -1, 1, 1)
    anchors = torch.maximum(torch.where(marked, time, 0).cummax(1).values, anchor[:, None])
    far = differences[:, first - 1 : first + size - 1].gather(2, anchors[:, :, None])[:, :, 0]
    # A tubelet can be split off if all after it in its run are: it is as far as the nearest of them.
    reach = [far[:, -1]]
    for step in reversed(range(size - 1)):
        reach.append(torch.where(marked[:, step + 1], far[:, step], torch.minimum(far[:, step], reach[-1])))
    scores = torch.stack(reach, dim=1).masked_fill(marked.flip(1), -1)  # the last tubelet first, also among equals
    missing = count - budget.pools(marked).sum(1, keepdim=True)
    more = highest(budget.pools(scores), missing).view(marked.shape)
    return marked | more.flip(1)
