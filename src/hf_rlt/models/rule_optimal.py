# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The rule of optimal runs: those that reconstruct a clip best at a number of tokens, the bound for every other rule.

At each place they minimise the sum over tubelets i of D(i, start(i)) ** p, plus a price for each token. D(i, a) is the mean
absolute difference of tubelets i and a, as in the anchor rule, and start(i) the first tubelet of the run of i. Dynamic
programming is exact:

    best[b] = min over a <= b of  best[a - 1] + sum over i = a..b of D(i, a) ** p + price

The higher the price, the fewer tokens: bisection finds the price for a number of tokens. No other runs of as many tokens
have a lower sum. The rule has p = 4: with p = 1 small differences that last take the tokens of brief motion.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .budget import Budget, highest

BISECTIONS = 40  # of the range of prices, to a part in 10 ** 12


def optimal_starts(differences: Tensor, threshold: float, budget: Budget | None, power: float = 4) -> Tensor:
    """Mark which tubelets but the first start a run, `(B, T - 1, H', W')`: as many as the budget has, in one group.

    As the price falls, the number of tokens may jump over the one wanted. Then the tubelets that fewer tokens reconstruct
    worst start runs, too: a few tokens of a clip are not optimal.

    Args:
        differences: `(B, T - 1, T, H', W')`, the anchor rule's.
        threshold: is not used.
        budget: of one group; a limit is used up as an exact one is.
        power: p of the sum.
    """
    assert budget is not None  # see `Rule.needs_budget`
    tubelets, ((_, _, count),) = differences.shape[2], budget.spans
    # What cannot be compared is far from everything; not infinitely, or prices could not be told apart.
    far = 10 * differences.nan_to_num(0, 0, 0).amax() + 1
    differences = torch.where(differences.isfinite(), differences, far)
    later = torch.ones(tubelets, tubelets, dtype=torch.bool, device=differences.device).tril(-1)
    errors = F.pad(differences.double(), (0, 0, 0, 0, 0, 0, 1, 0))  # (B, T, T, H', W'), [:, i, a] is D(i, a)
    costs = (errors.pow(power) * later[:, :, None, None]).cumsum(1)  # [:, b, a]: of a run from a to b
    high = budget.pools(costs[:, -1:, 0]).amax(1)  # the price at which every place is one run
    low, marked = torch.zeros_like(high), best_starts(costs, high)[:, 1:]
    for _ in range(BISECTIONS):
        if not torch.compiler.is_compiling() and (budget.pools(marked).sum(1) == count).all():
            break
        price = (low + high) / 2
        tried = best_starts(costs, price)[:, 1:]
        fits = budget.pools(tried).sum(1) <= count
        low, high = torch.where(fits, low, price), torch.where(fits, price, high)
        marked = torch.where(fits[:, None, None, None], tried, marked)
    missing = count - budget.pools(marked).sum(1, keepdim=True)
    spare = run_errors(differences, marked).masked_fill(marked, -1)
    return marked | highest(budget.pools(spare), missing).view_as(marked)


def best_starts(costs: Tensor, price: Tensor) -> Tensor:
    """Find the run starts `(B, T, H', W')` that minimise costs `(B, T, T, H', W')` plus a price for each run.

    Of several minima the one whose last runs are longest is taken.

    Args:
        costs: `[:, b, a]` is what a run from tubelet a to b costs.
        price: `(B,)`, or `(1,)` for all clips.
    """
    tubelets, price = costs.shape[1], price[:, None, None]
    best, choices = [torch.zeros_like(costs[:, 0, 0])], []
    for end in range(tubelets):
        least, start = (torch.stack(best, 1) + costs[:, end, : end + 1]).min(1)
        best.append(least + price)
        choices.append(start)
    time = torch.arange(tubelets, device=costs.device)[None, :, None, None]
    marked = torch.zeros_like(costs[:, 0], dtype=torch.bool)
    last = torch.full_like(choices[0], tubelets - 1)  # tubelet of the run that is marked next, walking back
    for end in reversed(range(tubelets)):
        found = last == end
        marked |= found[:, None] & (time == choices[end][:, None])
        last = torch.where(found, choices[end] - 1, last)
    return marked


def run_errors(differences: Tensor, marked: Tensor) -> Tensor:
    """Return how far each tubelet but the first is from the one that stands for it, `(B, T - 1, H', W')`.

    Args:
        differences: `(B, T - 1, T, H', W')`, the anchor rule's.
        marked: `(B, T - 1, H', W')`, which of them start a run.
    """
    time = torch.arange(1, differences.shape[2], device=marked.device)[None, :, None, None]
    start = torch.where(marked, time, 0).cummax(1).values
    return differences.gather(2, start[:, :, None])[:, :, 0]
