# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches of as many clips as a token budget allows: planned for training, or filled as clips arrive for inference."""

import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.trainer_pt_utils import BatchRebalanceSampler

from ..errors import HfRltError

# Clips are sorted as if each had up to this share more tokens, so that other clips meet in every epoch. If they do not fit
# that way, they are sorted more strictly; the number of batches is chosen so that strict sorting always fits.
NOISE = (0.5, 0.2, 0.05, 0.0)
MORE_BATCHES = (0, 0.005, 0.01, 0.02, 0.03, 0.05)  # accepted so that the most noise fits

logger = logging.getLogger(__name__)


class TokenBudgetSampler(BatchRebalanceSampler):
    """Batch sampler for training: no batch computes more than `max_tokens`, each clip comes once per epoch.

    Shuffle, sort by tokens with some noise, then give each clip to the emptiest batch so far; all end up about as full:

        sorted   9 8 7 6 5 4 3        batch 0   9 4 3  = 16
                                      batch 1   8 5    = 13
                                      batch 2   7 6    = 13

    The number of batches is the same in every epoch and a multiple of ranks x accumulation, so all ranks take equally
    many and every optimiser step is complete. The batches of a step are alike. One process that accumulates over n
    batches takes the same steps as n processes. The plan depends only on counts, seed and epoch, so training can resume.

    Args:
        counts: tokens that each clip adds to a batch (repeats included); clips with 0 tokens, which could not be read,
            are left out.
        max_tokens: budget of a batch, per rank; a larger clip gets a batch of its own, with a warning.
        ranks: number of processes.
        rank: this process.
        accumulation: batches per optimiser step.
        seed: shuffles, together with the epoch.

    Attributes:
        fill: mean share of the budget that batches use.
        clips_per_step: mean number of clips in an optimiser step, over all ranks.
    """

    def __init__(
        self,
        counts: Sequence[int],
        max_tokens: int,
        ranks: int = 1,
        rank: int = 0,
        accumulation: int = 1,
        seed: int = 0,
    ) -> None:
        _check_limits(max_tokens)
        self.slots = ranks * accumulation
        super().__init__([int(n) for n in counts], self.slots, ranks, accumulation, seed=seed, rank=rank)
        self.max_tokens = max_tokens
        self.sizes = np.asarray(self.lengths, dtype=np.int64)
        self.clips = np.flatnonzero(self.sizes)
        if len(self.clips) < self.slots:
            raise HfRltError(
                f"Expected at least {self.slots} readable clips, one for each of {ranks} processes x {accumulation} batches "
                f"per step, received {len(self.clips)}: start fewer processes or accumulate less."
            )
        self.batches = self._number_of_batches()
        self.fill = float(np.minimum(self.sizes, max_tokens).sum() / (self.batches * max_tokens))
        self.clips_per_step = len(self.clips) * self.slots / self.batches
        large, twice = int((self.sizes > max_tokens).sum()), self.batches - len(self.clips)
        if large and rank == 0:
            logger.warning(
                f"{large} of {len(counts)} clips have more than the {max_tokens} tokens of a batch, the largest "
                f"{self.sizes.max()}: each gets a batch of its own."
            )
        if twice > 0 and rank == 0:
            logger.warning(
                f"{len(self.clips)} batches of one clip each are not a multiple of {self.slots}: in each epoch "
                f"{twice} clips come twice. Allow a batch more tokens."
            )

    def __len__(self) -> int:
        return self.batches // self.dp_size

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.plan(self.epoch)[self.rank :: self.dp_size])

    def plan(self, epoch: int) -> list[list[int]]:
        """Return all batches of an epoch in the order they are computed: batch i by rank `i % ranks`."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        order = self.clips[torch.randperm(len(self.clips), generator=generator).numpy()]
        order = np.resize(order, max(len(order), self.batches))  # with fewer clips than batches some come twice
        filled = (self._fill(order, self.batches, noise, generator) for noise in NOISE)
        batches = next(batches for batches in filled if batches)
        batches.sort(key=lambda batch: -self.sizes[batch].sum())
        place = {clip: number for number, clip in enumerate(order.tolist())}  # mixup pairs neighbours: of any size
        steps = torch.randperm(self.batches // self.slots, generator=generator).tolist()
        ordered = [batch for step in steps for batch in batches[step * self.slots : (step + 1) * self.slots]]
        return [sorted(batch, key=place.__getitem__) for batch in ordered]

    def _fill(self, clips: np.ndarray, number: int, noise: float, generator: torch.Generator) -> list[list[int]] | None:
        """Distribute clips over so many batches; None if a clip fits into none of them."""
        ranking = self.sizes[clips] * (1 + noise * torch.rand(len(clips), generator=generator).numpy())
        clips = clips[np.argsort(-ranking, kind="stable")]
        sizes = np.minimum(self.sizes[clips], self.max_tokens).tolist()
        batches = balanced_groups(sizes, number, self.max_tokens)
        return batches and [clips[batch].tolist() for batch in batches]

    def _number_of_batches(self) -> int:
        """Return the fewest batches that hold the clips however they are shuffled, or a few more for better shuffling."""
        generator = torch.Generator().manual_seed(self.seed)
        least = self._multiple(-(-int(np.minimum(self.sizes, self.max_tokens).sum()) // self.max_tokens))
        while least < len(self.clips) and not self._fill(self.clips, least, 0.0, generator):
            least = self._multiple(least + max(least // 200, 1))
        for more in MORE_BATCHES:
            number = self._multiple(int(least * (1 + more)))
            if number >= len(self.clips):
                break
            if all(self._fill(self.clips, number, noise, generator) for noise in (0.0, *NOISE[:1] * 3)):
                return number
        return least

    def _multiple(self, batches: int) -> int:
        return -(-batches // self.slots) * self.slots


def balanced_groups(costs: Iterable[float], number: int, limit: float = math.inf) -> list[list[int]] | None:
    """Put each item, in order, into the cheapest of `number` groups so far; None if one exceeds the limit there."""
    groups: list[list[int]] = [[] for _ in range(number)]
    cheapest = [(0.0, group) for group in range(number)]
    for item, cost in enumerate(costs):
        total, group = cheapest[0]
        if total + cost > limit:
            return None
        groups[group].append(item)
        heapq.heapreplace(cheapest, (total + cost, group))
    return groups


def batches_within(
    items: Iterable[Any],
    max_tokens: int,
    tokens: Callable[[Any], int] | None = None,
    max_items: int | None = None,
    ahead: int = 1,
) -> Iterator[list[Any]]:
    """Group items into lists, each as long as a token budget allows; nothing has to be counted beforehand.

    Args:
        items: for example those of a `DataLoader(EvalDataset(...), batch_size=None)`; their order is kept.
        max_tokens: budget of a list; an item with more tokens stands alone.
        tokens: returns an item's tokens; by default those computed according to its `run_lengths`.
        max_items: largest length of a list.
        ahead: close a list after so many items did not fit; these come first in the next lists. 1 keeps the order.
    """
    _check_limits(max_tokens, max_items, ahead)
    counted = ((item, (tokens or _computed_tokens)(item)) for item in items)
    waiting: deque[tuple[Any, int]] = deque()  # did not fit into earlier lists
    while True:
        batch: list[Any] = []
        passed: list[tuple[Any, int]] = []
        total = 0
        while len(passed) < ahead and len(batch) != max_items:
            following = waiting.popleft() if waiting else next(counted, None)
            if following is None:
                break
            item, count = following
            if batch and total + count > max_tokens:
                passed.append(following)
            else:
                batch.append(item)
                total += count
        waiting.extendleft(reversed(passed))
        if not batch:
            return
        yield batch


def _check_limits(*limits: int | None) -> None:
    if any(limit is not None and limit < 1 for limit in limits):
        raise HfRltError(f"Expected max_tokens, max_items and ahead >= 1, received {limits}.")


def _computed_tokens(item: dict[str, Any]) -> int:
    return int((item["run_lengths"] > 0).sum())
