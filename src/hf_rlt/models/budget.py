# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Budgets: how many tubelets may start a run, and which of them do.

The first tubelet of every place always starts one. What is left of the budget goes to later tubelets, those with the highest
scores; of equal scores to those at the lower position.

    T = 8, budget_groups = 1    | first | . . . . . . . |       the highest of all seven
    T = 8, budget_groups = 3    | first | . . | . . | . . . |   as many of each group, as far as it has them
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import HfRltError

SCOPES = ("clip", "batch")


@dataclass(frozen=True)
class Budget:
    """What may start beside the first tubelets.

    Attributes:
        spans: `(first, last, count)` of each group: tubelets first to last - 1 in time, and how many of them may start, over
            all places of a clip, or of all clips if they share.
        exact: whether exactly so many start, whatever the threshold.
        shared: whether the clips of a batch share.
    """

    spans: tuple[tuple[int, int, int], ...]
    exact: bool
    shared: bool

    def pools(self, grids: Tensor) -> Tensor:
        """Flatten `(..., B, t, H', W')` to the pools that a count is for: `(..., B, n)`, or `(..., 1, B * n)` if shared."""
        return grids.flatten(-4)[..., None, :] if self.shared else grids.flatten(-3)

    def highest(self, scores: Tensor) -> Tensor:
        """Mark the tubelets with the highest scores, of `(B, T - 1, H', W')` without the first ones; NaN is highest."""
        marked = []
        for first, last, count in self.spans:
            group = scores[:, first - 1 : last - 1]
            marked.append(highest(self.pools(group), count).view(group.shape))
        return torch.cat(marked, dim=1)


def highest(scores: Tensor, count: int | Tensor) -> Tensor:
    """Mark the `count` highest scores of each row `(P, M)`, `count` a number or `(P, 1)`; of equal ones the first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, rank < count)


def token_number(wanted: float, positions: int) -> int:
    """Turn a number of tokens, or a share of a clip's `positions` if it is a float, into a number of tokens."""
    return round(wanted * positions) if isinstance(wanted, float) else wanted


def make_budget(
    name: str, wanted: float, grid: tuple[int, int, int], groups: int, exact: bool, clips: int | None
) -> Budget:
    """Make the budget of clips with this grid.

    Args:
        name: of the setting, for messages: max_tokens or num_tokens.
        wanted: tokens of a clip, or a share of them.
        grid: `(T, H', W')`.
        groups: number of groups of tubelets.
        exact: see `Budget`.
        clips: how many share, None if each has its own.

    Raises:
        HfRltError: if that is less than the first tubelets take, or more tokens or groups than there are.
    """
    tubelets, places = grid[0], grid[1] * grid[2]
    positions = tubelets * places
    tokens = token_number(wanted, positions)
    if tokens < places:
        raise HfRltError(
            f"Expected {name} to be at least {places} ({places / positions:.4g} of a clip's {positions} tokens), since the "
            f"first tubelet of each place is always computed; received {wanted}, {tokens} tokens."
        )
    if exact and tokens > positions:
        raise HfRltError(f"Expected {name} to be at most {positions}, the tokens of a clip; received {wanted}.")
    later = tubelets - 1
    most = max(later, 1)
    if groups > most:
        raise HfRltError(
            f"Expected budget_groups to be at most {most}, since a clip has {tubelets} tubelets in time; received {groups}."
        )
    pool = clips or 1
    bounds = [1 + group * later // groups for group in range(groups + 1)]
    left, counts = (min(tokens, positions) - places) * pool, dict.fromkeys(range(groups), 0)
    # The smallest first: what it cannot take is left for the others.
    for done, group in enumerate(sorted(counts, key=lambda group: bounds[group + 1] - bounds[group])):
        counts[group] = min((bounds[group + 1] - bounds[group]) * places * pool, left // (groups - done))
        left -= counts[group]
    spans = tuple((bounds[group], bounds[group + 1], counts[group]) for group in range(groups))
    return Budget(spans, exact, clips is not None)
