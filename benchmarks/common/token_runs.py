# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The runs that compare ways to spend a number of tokens: their names, arguments and thresholds."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_rlt.data import EvalDataset, VideoList
from hf_rlt.errors import HfRltError

from .finetune_job import Variant
from .record import say, write_json
from .shares import BY_THRESHOLD, thresholds_for_shares

PARTS = ("trained", "budgets", "frames", "matrix")
METHODS = (*BY_THRESHOLD, "num_tokens", "by_difference", "random", "optimal")
DENSE = "dense"
BUDGET_RANGE = "budget_range"
NUM_FRAMES = 16
MORE_FRAMES = (32, 64)
SHARE = 0.2  # of the parts that have only one
BEYOND = (0.25, 0.4)  # budgets beside the shares at which one checkpoint for all budgets is evaluated
HIGHEST = 0.6  # of the budgets that it is trained at


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        grid: tubelets of a clip in time, and their places.
        frames: of each video; a clip takes as many as it has, evenly.
        methods: of `METHODS`.
        shares: of the tokens.
        thresholds: by rule and share.
    """

    grid: tuple[int, int]
    frames: int
    methods: Sequence[str]
    shares: Sequence[float]
    thresholds: Mapping[str, Mapping[float, float]] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of a dense clip."""
        return math.prod(self.grid)

    @property
    def budgets(self) -> list[float]:
        """Shares at which one checkpoint for all budgets is evaluated."""
        return sorted({*self.shares, *BEYOND})

    def num_frames(self, name: str) -> int:
        """Return the frames of a clip in a run."""
        kind, _, number = name.rpartition("-")
        return int(number) if kind == "frames" else NUM_FRAMES

    def ways(self, part: str) -> dict[str, tuple[str, float]]:
        """Name the methods and shares of a part."""
        if part in ("budgets", "frames"):
            return {
                run_name("num_tokens", share): ("num_tokens", share)
                for share in (self.budgets if part == "budgets" else [SHARE])
            }
        shares = self.shares if part == "trained" else [SHARE]
        methods = [method for method in self.methods if part == "trained" or method != "random"]
        return {DENSE: (DENSE, 1.0)} | {run_name(name, share): (name, share) for share in shares for name in methods}

    def part(self, part: str) -> dict[str, Variant]:
        """Make the runs of a part."""
        found = {name: Variant(self._arguments(*way)) for name, way in self.ways(part).items()}
        if part == "budgets":
            found[BUDGET_RANGE] = Variant(("--budget_range", f"{self.budgets[0]:g}", f"{HIGHEST:g}"))
        if part == "frames":  # as far as the videos have so many
            counts = [count for count in MORE_FRAMES if count <= self.frames]
            found |= {f"frames-{count}": Variant(self._more_frames(count)) for count in counts}
        return found

    def variants(self) -> dict[str, Variant]:
        """Make all runs."""
        return {name: variant for part in PARTS for name, variant in self.part(part).items()}

    def rule(self, method: str, share: float) -> dict[str, Any]:
        """Return the settings of the rule with which a method computes a share."""
        if method in (DENSE, "random"):
            return {"threshold": None}
        if method in BY_THRESHOLD:
            return {"rule": method, "threshold": float(f"{self.thresholds[method][share]:.6g}")}
        return {"num_tokens": share} | ({"rule": "optimal"} if method == "optimal" else {})

    def _arguments(self, method: str, share: float) -> tuple[str, ...]:
        rule = self.rule(method, share)
        if method == "random":
            rule["token_keep_ratio"] = share
        if method == "by_difference":
            rule["method"] = method
        return tuple(word for name, value in rule.items() for word in (f"--{name}", str(value).lower()))

    def _more_frames(self, count: int) -> tuple[str, ...]:
        tokens = round(SHARE * self.tokens)
        return ("--num_frames", str(count), "--frame_stride", str(self.frames // count), "--num_tokens", str(tokens))


def run_name(method: str, share: float) -> str:
    """Name the run of a method at a share."""
    return method if method == DENSE else f"{method}-{share:g}"


def check_shares(shares: Sequence[float], tubelets: int) -> None:
    """Raise HfRltError for a share that does not hold the first tubelet of each place, which every rule computes."""
    if low := [share for share in shares if not 1 / tubelets <= share <= 1]:
        raise HfRltError(
            f"--share: expected {1 / tubelets:g} or more, since the first of {tubelets} tubelets of each place is always "
            f"computed, and up to 1; received {low[0]:g}."
        )


def find_thresholds(
    path: Path, clips: VideoList, processor: Any, shares: Sequence[float]
) -> dict[str, dict[float, float]]:
    """Find the threshold at which each rule computes each share on average; keep it in a file, and read it from there.

    Args:
        path: of the file.
        clips: over which shares are averaged.
        processor: of the job.
        shares: of the tokens.
    """
    known = json.loads(path.read_text()) if path.is_file() else {}
    missing = [share for share in shares if any(f"{share:g}" not in known.get(rule, {}) for rule in BY_THRESHOLD)]
    if missing:
        say(f"Finding the thresholds for {', '.join(f'{share:g}' for share in missing)} of the tokens")
        found = thresholds_for_shares(EvalDataset(clips, processor), missing, batch_size=32, workers=0)
        for rule, thresholds in found.items():
            known.setdefault(rule, {}).update({f"{share:g}": value for share, value in thresholds.items()})
        write_json(path, known)
    return {name: {share: known[name][f"{share:g}"] for share in shares} for name in BY_THRESHOLD}
