# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches that hold as many clips as a budget of tokens allows: planned, for training, or as clips come, for inference."""

import heapq
import logging
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.trainer_pt_utils import BatchRebalanceSampler

from ..errors import HfRltError

WINDOW = 32  # batches that are filled together; fewer leave gaps, more mix no better
MORE_BATCHES = (0, 0.005, 0.01, 0.02, 0.03, 0.05)  # than the least that hold the clips: worth a better mixing
TRIED_EPOCHS = 3
SHUFFLE = 0.5  # a clip may be placed as if it had so much more tokens: else a small set's batches would never change

logger = logging.getLogger(__name__)


class TokenBudgetSampler(BatchRebalanceSampler):
    """Batch sampler of training: no batch computes more than `max_tokens`, each clip comes once in an epoch.

    The number of batches is the same in every epoch, and a multiple of ranks x accumulation: all ranks take as many, and
    every optimiser step is whole. It is the smallest that can be filled from a shuffled order; the clips are then spread
    evenly, so that no batch is left half empty and all compute about the same. Ranks times accumulation is what counts: one
    process that accumulates over n batches takes the steps of n processes.

    An epoch's clips are shuffled and cut into windows of about `WINDOW` batches. Within a window the clips with most tokens
    go first, roughly, each to the batch that has least; batches that are too full exchange clips with the emptiest, and
    what fits nowhere goes to the next window. All of it depends on the seed and the epoch only.

    Args:
        counts: tokens that each clip brings into a batch (repeats included); a clip of 0 tokens, a video that could not
            be read, is left out.
        max_tokens: of a batch, on each rank.
        ranks, rank: how many processes train together, and which of them this is.
        accumulation: batches per optimiser step.
        seed: of the shuffling, with the epoch.
        oversize: what to do with a clip that has more tokens than a batch may: "alone" gives it a batch of its own,
            with a warning; "raise" refuses.

    Attributes:
        fill: mean share of the budget that batches use.
        clips_per_step: mean clips of an optimiser step, of all ranks.

    Raises:
        ValueError: for a clip that is too large, if so wanted, or too few clips for one batch on each rank.
    """

    def __init__(
        self,
        counts: Sequence[int],
        max_tokens: int,
        ranks: int = 1,
        rank: int = 0,
        accumulation: int = 1,
        seed: int = 0,
        oversize: str = "alone",
    ) -> None:
        if max_tokens < 1 or oversize not in ("alone", "raise"):
            raise HfRltError(
                f'Expected max_tokens >= 1 and oversize "alone" or "raise", received {max_tokens} and {oversize!r}.'
            )
        super().__init__([int(n) for n in counts], ranks * accumulation, ranks, accumulation, seed=seed, rank=rank)
        self.max_tokens, self.slots = max_tokens, ranks * accumulation
        self.window = _whole(WINDOW, self.slots)
        self.sizes = np.asarray(self.lengths, dtype=np.int64)
        self.clips = np.flatnonzero(self.sizes)
        if len(self.clips) < self.slots:
            raise HfRltError(
                f"Expected at least {self.slots} readable clips, one for each of {ranks} processes x {accumulation} batches "
                f"per step, received {len(self.clips)}: start fewer processes or accumulate less."
            )
        _check_sizes(self.sizes, max_tokens, oversize, quiet=rank > 0)
        self.batches = self._number_of_batches()
        self.fill = float(np.minimum(self.sizes, max_tokens).sum() / (self.batches * max_tokens))
        twice = self.batches - len(self.clips)
        if twice > 0 and rank == 0:
            logger.warning(
                f"{len(self.clips)} batches of one clip each are not a multiple of {self.slots}: in each epoch "
                f"{twice} clips come twice. Allow a batch more tokens."
            )
        self.clips_per_step = len(self.clips) * self.slots / self.batches

    def __len__(self) -> int:
        return self.batches // self.dp_size

    def __iter__(self) -> Iterator[list[int]]:
        planned = self.plan(self.epoch)
        return iter(planned[self.rank :: self.dp_size])

    def plan(self, epoch: int) -> list[list[int]]:
        """Returns all batches of an epoch in the order in which they are computed: batch i by rank `i % ranks`."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        order, ranking = self._shuffled(generator)
        found = self._grouped(order, ranking)
        place = {clip: number for number, clip in enumerate(order.tolist())}
        steps = [step for batches in found for step in self._steps(batches, generator)]
        return [sorted(batch, key=place.__getitem__) for step in steps for batch in step]

    def _shuffled(self, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Returns the clips in random order, and for each clip of the data set how early in its window it is placed."""
        order = self.clips[torch.randperm(len(self.clips), generator=generator).numpy()]
        return order, self.sizes * (1 + SHUFFLE * torch.rand(len(self.sizes), generator=generator).numpy())

    def _grouped(self, order: np.ndarray, ranking: np.ndarray) -> list[list[list[int]]]:
        """Returns the batches of each window; where windows leave too much over, of larger ones, then of the whole epoch."""
        if self.batches > len(order):
            return [[[clip] for clip in [*order, *order[: self.batches - len(order)]]]]
        for times in (1, 4):
            found = self._in_windows(order, ranking, self.batches, times * self.window)
            if found is not None:
                return found
        return [_spread(_best_fit(order, self.sizes, self.max_tokens), self.batches, self.sizes)]

    def _steps(self, batches: list[list[int]], generator: torch.Generator) -> list[list[list[int]]]:
        """Returns a window's batches, those that are computed at the same time being the most alike, in random order."""
        ordered = sorted(batches, key=lambda batch: -self.sizes[batch].sum())
        steps = [ordered[first : first + self.slots] for first in range(0, len(ordered), self.slots)]
        return [steps[number] for number in torch.randperm(len(steps), generator=generator).tolist()]

    def _number_of_batches(self) -> int:
        order = self.clips
        least = _whole(len(_best_fit(order, self.sizes, self.max_tokens)), self.slots)
        most = min(_whole(int(least * (1 + MORE_BATCHES[-1])), self.slots), len(order) // self.slots * self.slots)
        if most < least:
            return least
        generator = torch.Generator().manual_seed(self.seed)
        tried = [self._shuffled(generator) for _ in range(TRIED_EPOCHS)]
        for more in MORE_BATCHES:
            batches = min(_whole(int(least * (1 + more)), self.slots), most)
            if all(self._in_windows(*epoch, batches, self.window) for epoch in tried):
                return batches
        return least

    def _in_windows(
        self, order: np.ndarray, ranking: np.ndarray, batches: int, window: int
    ) -> list[list[list[int]]] | None:
        """Returns the batches of each window; None if some clips fit nowhere, or too few are left for a batch."""
        most = np.minimum(self.sizes[order], self.max_tokens)
        middle = np.cumsum(most) - most / 2
        ends = np.minimum(np.arange(window, batches + window, window), batches)
        cuts = np.searchsorted(middle, ends * (most.sum() / batches))
        cuts[-1] = len(order)
        found, left = [], np.empty(0, dtype=order.dtype)
        for number, (first, last) in enumerate(zip([0, *cuts[:-1]], cuts, strict=True)):
            size = int(ends[number] - (ends[number - 1] if number else 0))
            filled, left = self._filled(np.concatenate([left, order[first:last]]), ranking, size)
            if not all(filled) or len(left) > size:  # more and more would be left over
                return None
            found.append(filled)
        return None if len(left) else found

    def _filled(self, clips: np.ndarray, ranking: np.ndarray, size: int) -> tuple[list[list[int]], np.ndarray]:
        """Returns `size` batches of about equal tokens, and the clips for which none of them has room."""
        batches: list[list[int]] = [[] for _ in range(size)]
        tokens = np.zeros(size, dtype=np.int64)
        emptiest = [(0, number) for number in range(size)]
        for clip in clips[np.argsort(-ranking[clips], kind="stable")].tolist():
            total, number = emptiest[0]
            batches[number].append(clip)
            tokens[number] = total = total + int(self.sizes[clip])
            heapq.heapreplace(emptiest, (total, number))
        left = []
        for number in np.flatnonzero(tokens > self.max_tokens).tolist():
            while len(batches[number]) > 1 and tokens[number] > self.max_tokens:
                if not self._relieve(batches, tokens, number):
                    left.append(batches[number].pop())  # the smallest, unless one was exchanged
                    tokens[number] -= self.sizes[left[-1]]
        return batches, np.array(left, dtype=clips.dtype)

    def _relieve(self, batches: list[list[int]], tokens: np.ndarray, fullest: int) -> bool:
        """Returns whether a batch got within the budget by exchanging a clip with one of the emptiest; changes both."""
        mine = self.sizes[batches[fullest]]
        for other in np.argsort(tokens, kind="stable")[:4].tolist():
            less = mine[:, None] - self.sizes[batches[other]]
            fits = (less >= tokens[fullest] - self.max_tokens) & (less <= self.max_tokens - tokens[other])
            if fits.any():
                give, take = divmod(int(fits.argmax()), less.shape[1])
                tokens[[fullest, other]] += np.array([-1, 1]) * less[give, take]
                ours, theirs = batches[fullest], batches[other]
                ours[give], theirs[take] = theirs[take], ours[give]
                return True
        return False


def batches_within(
    items: Iterable[Any],
    max_tokens: int,
    tokens: Callable[[Any], int] | None = None,
    max_items: int | None = None,
    ahead: int = 1,
) -> Iterator[list[Any]]:
    """Returns lists of items, consecutive ones unless `ahead` is raised, each as long as a budget of tokens allows.

    Nothing is counted before. The lists depend on the items alone, not on when they come.

    Args:
        items: in the order that is kept, such as those of a `DataLoader(EvalDataset(...), batch_size=None)`.
        max_tokens: of a list; an item that has more stands alone.
        tokens: how many an item has; those that its `run_lengths` computes unless given.
        max_items: how many items a list holds at most.
        ahead: a list is closed when so many items did not fit into it. They are the first of the next lists.

    Raises:
        ValueError: if a limit is not positive.
    """
    if max_tokens < 1 or (max_items is not None and max_items < 1):
        raise HfRltError(f"Expected max_tokens >= 1 and max_items >= 1 or None, received {max_tokens} and {max_items}.")
    if ahead < 1:
        raise HfRltError(f"Expected ahead >= 1, received {ahead}: 1 keeps the order.")
    return _within(items, max_tokens, tokens or _computed, max_items, ahead)


def _within(
    items: Iterable[Any], max_tokens: int, tokens: Callable[[Any], int], max_items: int | None, ahead: int
) -> Iterator[list[Any]]:
    sized = ((item, tokens(item)) for item in items)
    waiting: deque[tuple[Any, int]] = deque()  # what was passed over
    while True:
        batch: list[Any] = []
        passed: list[tuple[Any, int]] = []
        total = 0
        while len(passed) < ahead and len(batch) != max_items:
            found = waiting.popleft() if waiting else next(sized, None)
            if found is None:
                break
            if batch and total + found[1] > max_tokens:
                passed.append(found)
            else:
                batch.append(found[0])
                total += found[1]
        waiting.extendleft(reversed(passed))
        if not batch:
            return
        yield batch


def _computed(item: dict[str, Any]) -> int:
    return int((item["run_lengths"] > 0).sum())


def _check_sizes(sizes: np.ndarray, max_tokens: int, oversize: str, quiet: bool) -> None:
    large = np.flatnonzero(sizes > max_tokens)
    if not len(large) or (quiet and oversize == "alone"):
        return
    first = int(large[0])
    found = (
        f"{len(large)} of {len(sizes)} clips have more than the {max_tokens} tokens of a batch, "
        f"clip {first} has {sizes[first]}, the largest {sizes.max()}"
    )
    if oversize == "raise":
        raise HfRltError(f"{found}: allow a batch at least as many.")
    logger.warning(f"{found}: each gets a batch of its own.")


def _whole(batches: int, slots: int) -> int:
    return -(-batches // slots) * slots


def _best_fit(order: np.ndarray, sizes: np.ndarray, max_tokens: int) -> list[list[int]]:
    """Returns batches by best fit, largest clip first: their number depends on the sizes, not on the order."""
    batches: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens, batch), sorted
    for clip in order[np.argsort(-sizes[order], kind="stable")].tolist():
        size = int(sizes[clip])
        found = bisect_left(room, (size, -1))
        if found < len(room):
            left, number = room.pop(found)
        else:
            left, number = max(max_tokens, size), len(batches)
            batches.append([])
        batches[number].append(clip)
        insort(room, (left - size, number))
    return batches


def _spread(batches: list[list[int]], number: int, sizes: np.ndarray) -> list[list[int]]:
    """Returns so many batches, the largest ones cut in two until there are enough."""
    fullest = [(-int(sizes[batch].sum()) if len(batch) > 1 else 0, at) for at, batch in enumerate(batches)]
    heapq.heapify(fullest)
    while len(batches) < number:
        at = heapq.heappop(fullest)[1]
        half = batches[at][1::2]
        batches[at] = batches[at][::2]
        batches.append(half)
        for changed in (at, len(batches) - 1):
            tokens = int(sizes[batches[changed]].sum()) if len(batches[changed]) > 1 else 0
            heapq.heappush(fullest, (-tokens, changed))
    return batches
