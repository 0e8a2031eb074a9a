# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Trainer's balanced samplers, given token counts and the cost of packed clips, and a count of what batches compute."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler

from .token_budget import balanced_groups


class TokenRebalanceSampler(BatchRebalanceSampler):
    """Trainer's `batch_rebalance`: in each optimiser step every rank gets batches of about equal cost.

    Trainer's own sampler keeps clips of similar length together and assumes a batch is padded to its longest. Packed clips
    need neither: each clip, the longest first, joins the cheapest batch so far. A clip of n tokens costs
    `n + quadratic * n ** 2` (see `quadratic_cost`); other arguments are those of `TokenBudgetSampler`. `batch_size` is the
    mean number of clips per rank and batch: a batch may hold more or fewer, a step does not.
    """

    def __init__(
        self,
        counts: Sequence[int],
        batch_size: int,
        ranks: int = 1,
        rank: int = 0,
        accumulation: int = 1,
        quadratic: float = 0.0,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        total = batch_size * ranks * accumulation
        super().__init__(list(counts), total, ranks, accumulation, seed=seed, rank=rank, drop_last=drop_last)
        self.quadratic = quadratic

    def _clip_cost(self, count: int) -> float:
        return max(count, 1) * (1 + self.quadratic * count)  # an unreadable video takes its place, too

    def _group_cost(self, group: list[tuple[int, int]]) -> float:
        return sum(self._clip_cost(count) for _, count in group)

    def _balance_groups(self, sorted_pairs: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        groups = balanced_groups((self._clip_cost(count) for _, count in sorted_pairs), self.dp_size * self.grad_accum)
        return [[sorted_pairs[item] for item in group] for group in groups or []]


class TokenGroupedSampler(LengthGroupedSampler):
    """Trainer's `group_by_length`, shuffled by seed and epoch: the same on every rank and after a restart."""

    def __init__(self, counts: Sequence[int], batch_size: int, seed: int = 0) -> None:
        super().__init__(batch_size, lengths=list(counts), generator=torch.Generator())
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the next shuffle."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


def quadratic_cost(hidden_size: int, intermediate_size: int) -> float:
    """Return q so that a clip of n tokens costs `n + q * n ** 2`.

    A block takes 8 n D^2 + 4 n D I operations in its linear layers and 4 n^2 D in its attention.
    """
    return 1 / (2 * hidden_size + intermediate_size)


def waited_share(tokens: Tensor) -> float:
    """Return the share of compute lost to waiting for the slowest rank, given `(ranks, steps)` work."""
    slowest = tokens.amax(0).sum() * len(tokens)
    return float(1 - tokens.sum() / slowest)


class TokenTally:
    """Counts the tokens of training batches on the device, without waiting for it, until a log asks for them."""

    def __init__(self) -> None:
        self._steps: dict[int, list[Tensor]] = {}  # optimiser step -> (computed, all) tokens of each batch

    def __bool__(self) -> bool:
        return bool(self._steps)

    def add(self, step: int, run_lengths: Tensor) -> None:
        """Count one batch of an optimiser step."""
        computed = (run_lengths > 0).sum()
        self._steps.setdefault(step, []).append(torch.stack([computed, torch.full_like(computed, run_lengths.numel())]))

    def shares(self, gather: Callable[[Tensor], Tensor], max_tokens: int | None = None) -> dict[str, float]:
        """Summarise the batches of all ranks since the last call, and start again.

        Returns tokens_computed (share of all tokens), tokens_waited (on several ranks, see `waited_share`), and with a
        budget budget_used (mean share of it per batch) and budget_highest (the fullest batch). `gather` makes
        `(ranks, ...)` of `(1, ...)` from each rank.
        """
        steps = [torch.stack(batches) for batches in self._steps.values()]
        rows = [torch.stack([*step.sum(0), step[:, 0].max(), torch.full_like(step[0, 0], len(step))]) for step in steps]
        computed, total, highest, batches = gather(torch.stack(rows)[None]).double().unbind(-1)  # each (ranks, steps)
        self._steps.clear()
        found = {"tokens_computed": float(computed.sum() / total.sum())}
        if len(computed) > 1:
            found["tokens_waited"] = waited_share(computed)
        if max_tokens is not None:
            found["budget_used"] = float(computed.sum() / batches.sum()) / max_tokens
            found["budget_highest"] = float(highest.max()) / max_tokens
        return {name: round(share, 4) for name, share in found.items()}
