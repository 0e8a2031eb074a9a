# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The rule that decides which tubelets are computed, and how many each stands for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .budget import SCOPES, Budget, make_budget, token_number
from .errors import HfRltError
from .rule_anchor import anchor_differences, anchor_starts
from .rule_optimal import optimal_starts
from .rule_threshold import threshold_differences, threshold_starts
from .runs import grid_size, lengths_from_later_starts


class Rule(NamedTuple):
    """A way to find runs, in two halves.

    Attributes:
        differences: from clips `(B, F, C, H, W)`, their grid, tubelet_size and patch_size to `(B, T - 1, ..., H', W')`.
        starts: from that, the threshold and a budget or None to `(B, T - 1, H', W')` bool: which tubelets but the first
            start a run.
        neighbours: whether differences are of neighbouring tubelets alone, so that a stream needs each of them once.
        needs_budget: whether it takes a number of tokens in place of a threshold, for a clip as a whole.
    """

    differences: Callable[[Tensor, tuple[int, int, int], int, Any], Tensor]
    starts: Callable[[Tensor, float, Budget | None], Tensor]
    neighbours: bool = False
    needs_budget: bool = False


RULES = {
    "threshold": Rule(threshold_differences, threshold_starts, neighbours=True),
    "anchor": Rule(anchor_differences, anchor_starts),
    "optimal": Rule(anchor_differences, optimal_starts, needs_budget=True),
}


@dataclass(frozen=True)
class RunRule:
    """The rule that decides which tubelets are computed, and how many each stands for.

    Configuration and processor own one (`config.run_rule`, `processor.run_rule`). The first tubelet of every place starts a
    run; a later one does if it differs too much: from the one before it, or with `rule="anchor"` from the run's first. A NaN
    difference starts a run: what cannot be compared is not dropped.

    Attributes:
        threshold: mean absolute difference of normalised pixels up to which a tubelet is dropped; None drops nothing.
        tubelet_size: frames in a tubelet.
        patch_size: side of a patch in pixels, or `(height, width)`.
        rule: "threshold", the paper's, "anchor", or "optimal": the runs that reconstruct a clip best, in a budget.
        max_tokens: tokens of a clip, at most: a whole number, or a share of all as a float. The largest differences stay.
        num_tokens: tokens of a clip, exactly, whatever the threshold: every clip has the same shape.
        budget: "clip", or "batch": the clips of one call share their tokens, which go where most changes.
        budget_groups: number of groups of consecutive tubelets over which a budget is spread evenly.

    Source: arXiv 2411.05222 section 3; default threshold from section 4. Departure: no sentinel for the first tubelet.
    """

    threshold: float | None = 0.1
    tubelet_size: int = 2
    patch_size: int | Sequence[int] = 16
    rule: str = "threshold"
    max_tokens: float | None = None
    num_tokens: float | None = None
    budget: str = "clip"
    budget_groups: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, (int, float, type(None))):
            raise HfRltError(f"Expected threshold to be a number, or None for dense, received {self.threshold!r}.")
        if self.threshold != self.threshold:  # not math.isnan, at which compiled code would break
            raise HfRltError("threshold is NaN: pass a number, such as 0.1, or None for dense.")
        for name, known in (("rule", RULES), ("budget", SCOPES)):
            if getattr(self, name) not in tuple(known):  # a list, which a file may hold, has no hash
                raise HfRltError(f"Expected {name} to be one of {', '.join(known)}, received {getattr(self, name)!r}.")
        for name in ("max_tokens", "num_tokens"):
            tokens = getattr(self, name)
            share = isinstance(tokens, float) and 0 < tokens <= 1
            if tokens is not None and not (share or (type(tokens) is int and tokens >= 1)):
                raise HfRltError(
                    f"Expected {name} to be a number of tokens such as 512, or a share such as 0.2 (1.0: all), received "
                    f"{tokens!r}."
                )
        if self.max_tokens is not None and self.num_tokens is not None:
            raise HfRltError(
                f"Expected max_tokens (at most) or num_tokens (exactly), received {self.max_tokens} and {self.num_tokens}: "
                "leave one out."
            )
        if type(self.budget_groups) is not int or self.budget_groups < 1:
            raise HfRltError(f"Expected budget_groups to be 1 or more, received {self.budget_groups!r}.")
        if RULES[self.rule].needs_budget and self.drops and (self.wanted_tokens is None or self.budget_groups > 1):
            received = "no number of tokens" if self.wanted_tokens is None else f"budget_groups={self.budget_groups}"
            raise HfRltError(
                f'Expected num_tokens, and budget_groups=1, with rule="{self.rule}", received {received}: set them.'
            )

    def changed(self, **changes: Any) -> "RunRule":
        """Return this rule with some settings changed, see `complete_changes`."""
        return replace(self, **complete_changes(changes))

    def grid(self, pixel_values: Tensor) -> tuple[int, int, int]:
        """Return the tubelet grid `(T, H', W')` of clips `(B, F, C, H, W)`; raise HfRltError for other tensors."""
        if not isinstance(pixel_values, Tensor) or pixel_values.ndim != 5:
            received = tuple(pixel_values.shape) if isinstance(pixel_values, Tensor) else type(pixel_values).__name__
            raise HfRltError(
                f"Expected pixel_values of shape (batch, frames, channels, height, width), received {received}. "
                "Add a batch dimension with `pixel_values[None]` if this is one clip."
            )
        if pixel_values.is_complex() or pixel_values.dtype == torch.bool:
            raise HfRltError(f"Expected real-valued pixel_values, received {pixel_values.dtype}: pass float pixels.")
        return grid_size(pixel_values.shape, self.tubelet_size, self.patch_size)

    def describe(self) -> str:
        """Say in a few words what is dropped, such as "threshold 0.1" or "anchor, 20 % of the tokens"."""
        if not self.drops:
            return "dense"
        parts = [] if self.rule == "threshold" else [self.rule]
        if self.num_tokens is None and self.threshold is not None:
            parts.append(f"threshold {self.threshold:g}")
        for tokens, words in ((self.max_tokens, "at most "), (self.num_tokens, "")):
            if tokens is not None:
                share = f"{100 * tokens:g} % of the tokens" if isinstance(tokens, float) else f"{tokens} tokens"
                parts.append(f"{words}{share}{' of a batch' * (self.budget == 'batch')}")
        grouped = self.wanted_tokens is not None and self.budget_groups > 1
        return ", ".join(parts) + (f", in {self.budget_groups} groups" if grouped else "")

    def exact_tokens(self, grid: tuple[int, int, int]) -> int | None:
        """Return how many tokens every clip with this grid has, None if that depends on what it shows."""
        if self.num_tokens is not None and self.budget == "clip":
            return token_number(self.num_tokens, math.prod(grid))
        return None if self.drops else math.prod(grid)

    def differences(self, pixel_values: Tensor) -> Tensor:
        """Measure the differences that `run_lengths` needs, in float32; the paper's are `(B, T - 1, H', W')`."""
        grid = self.grid(pixel_values)
        return RULES[self.rule].differences(pixel_values, grid, self.tubelet_size, self.patch_size)

    def run_lengths(self, differences: Tensor) -> Tensor:
        """Find `run_lengths` `(B, N)` int64 from the differences of tubelets."""
        threshold = -math.inf if self.threshold is None else self.threshold
        clips, later, *_, rows, columns = differences.shape
        budget = self.make_budget((later + 1, rows, columns), clips)
        if not (later and clips):
            shape = (clips, (later + 1) * rows * columns)
            return torch.ones(shape, dtype=torch.int64, device=differences.device)
        starts = RULES[self.rule].starts(differences, threshold, budget)
        return lengths_from_later_starts(starts)

    def find(self, pixel_values: Tensor) -> Tensor:
        """Find `run_lengths` `(B, N)` int64 of normalised clips `(B, F, C, H, W)`; all ones if nothing is dropped."""
        if not self.drops:  # needs no differences
            tokens = math.prod(self.grid(pixel_values))
            return pixel_values.new_ones((len(pixel_values), tokens), dtype=torch.int64)
        return self.run_lengths(self.differences(pixel_values))

    @property
    def wanted_tokens(self) -> float | None:
        """The budget, exact or at most: a number of tokens, or a share as a float; None without one."""
        return self.max_tokens if self.num_tokens is None else self.num_tokens

    @property
    def drops(self) -> bool:
        """Whether any tubelet can be dropped."""
        return self.threshold is not None or self.wanted_tokens is not None

    def make_budget(self, grid: tuple[int, int, int], clips: int = 1) -> Budget | None:
        """Make the budget of clips with this grid, None without one; raise HfRltError for one that they cannot have."""
        if self.wanted_tokens is None:
            return None
        exact, sharing = self.num_tokens is not None, clips if self.budget == "batch" else None
        name = "num_tokens" if exact else "max_tokens"
        return make_budget(name, self.wanted_tokens, grid, self.budget_groups, exact, sharing)


_FIELDS = tuple(field.name for field in fields(RunRule))
RULE_SETTINGS = tuple(name for name in _FIELDS if name not in ("tubelet_size", "patch_size"))


def rule_settings(owner: Any) -> dict[str, Any]:
    """Return the settings of the rule that a configuration, a processor or a rule has."""
    return {name: getattr(owner, name) for name in RULE_SETTINGS}


def rule_of(owner: Any, **changes: Any) -> RunRule:
    """Make the rule of a configuration or processor from its settings; of `changes` those that are the rule's count."""
    return RunRule(**{name: changes[name] if name in changes else getattr(owner, name) for name in _FIELDS})


def complete_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Complete changes to a rule's settings: what is asked for takes the place of a budget that would overrule it.

    A threshold or `max_tokens` clears `num_tokens`, which would ignore them; `num_tokens` clears `max_tokens`; None as the
    only threshold, which is dense, clears both. Changes of other settings stay as they are.
    """
    changes = dict(changes)
    exact, most = (changes.get(name) is not None for name in ("num_tokens", "max_tokens"))
    if not exact and (most or "threshold" in changes):
        changes["num_tokens"] = None
    if not most and (exact or changes.get("threshold", 0) is None):
        changes["max_tokens"] = None
    return changes


def check_effect(asked: Mapping[str, Any], rule: RunRule) -> None:
    """Raise HfRltError for settings that were asked for and change nothing in the rule that they led to."""
    groups, shared = asked.get("budget_groups") or 1, asked.get("budget") == "batch"
    if rule.wanted_tokens is None and (groups > 1 or shared):
        name = 'budget="batch"' if shared else f"budget_groups={groups}"
        raise HfRltError(f"Expected max_tokens or num_tokens with {name}, which divides them: add one.")
    if not rule.drops and asked.get("rule") not in (None, "threshold"):
        raise HfRltError(f'Expected a threshold or num_tokens with rule="{asked["rule"]}", received none: add one.')


def find_runs(
    pixel_values: Tensor, threshold: float | None = 0.1, tubelet_size: int = 2, patch_size: int | Sequence[int] = 16
) -> Tensor:
    """Find `run_lengths` `(B, N)` int64 of clips: `RunRule(...).find(pixel_values)`."""
    return RunRule(threshold, tubelet_size, patch_size).find(pixel_values)
