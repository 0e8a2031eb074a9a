# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The comparison of ways to spend a number of tokens: its runs, evaluations and record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hf_rlt.data import VideoList

from .finetune_job import GROUPS, Job, load_result, results
from .finetune_timing import OpenedJob, load_timing
from .methods import METHODS, RLT
from .record import save
from .token_evaluations import Use, evaluate_run, known_evaluations
from .token_runs import BUDGET_RANGE, DENSE, NUM_FRAMES, SHARE, Plan, check_shares, find_thresholds, run_name

NAME = "equal-tokens"


@dataclass(frozen=True)
class Comparison:
    """What is compared, on which clips."""

    job: Job
    plan: Plan
    parts: Sequence[str]
    held_out: VideoList
    uses: dict[str, dict[str, Use]]  # by run: the ways in which its checkpoint is evaluated

    @classmethod
    def open(
        cls, job: Job, frames: int, methods: Sequence[str], shares: Sequence[float], parts: Sequence[str]
    ) -> "Comparison":
        """Plan the runs, with the thresholds that give each share on average over the clips.

        Args:
            job: with a dense variant.
            frames: of each video.
            methods: of `token_runs.METHODS`.
            shares: of the tokens.
            parts: of `token_runs.PARTS`.
        """
        opened = OpenedJob(job)
        model, processor = opened.model(DENSE)
        tubelets, rows, columns = model.config.grid
        check_shares(shares, tubelets)
        found = find_thresholds(job.folder / "thresholds.json", opened.train, processor, sorted({*shares, SHARE}))
        plan = Plan((tubelets, rows * columns), frames, methods, shares, found)
        uses = {BUDGET_RANGE: {run_name("num_tokens", share): Use({"num_tokens": share}) for share in plan.budgets}}
        if "matrix" in parts:
            path = job.folder / "thresholds-validation.json"
            found = find_thresholds(path, opened.validation, processor, [SHARE])
            used, ways = replace(plan, thresholds=found), plan.ways("matrix")
            uses |= {name: {way: _use(used, *of) for way, of in ways.items()} for name in ways}
        wanted = {name for part in parts for name in plan.part(part)}
        uses = {name: ways for name, ways in uses.items() if name in wanted}
        return cls(replace(job, variants=plan.variants()), plan, parts, opened.validation, uses)

    @property
    def names(self) -> list[str]:
        """The runs of the parts, each once."""
        return list(dict.fromkeys(name for part in self.parts for name in self.plan.part(part)))

    def evaluate(self, seed: int) -> None:
        """Evaluate the checkpoints of a seed that are there."""
        for name, uses in self.uses.items():
            if load_result(self.job, name, seed) is not None:
                evaluate_run(self.job.run_folder(name, seed), self.held_out, uses)

    def save(self, output: Path, seeds: Sequence[int]) -> Path:
        """Write the record of what has been run; what is missing of `seeds` is named in it."""
        rows, missing = list[dict[str, Any]](), dict[str, None]()
        for part in self.parts:
            for name in self.plan.part(part):
                method, share = self.plan.ways(part).get(name, (name, SHARE))
                found = results(self.job, [name])
                missing |= dict.fromkeys(
                    f"{name}-{seed}" for seed in seeds if seed not in {row["seed"] for row in found}
                )
                labels = {"part": part, "method": method, "share": share, "num_frames": self.plan.num_frames(name)}
                rows += [{**labels, **row} for row in found if part != "matrix"]
                rows += [row for each in found for row in self._evaluations(part, name, each["seed"])]
        settings = {"data": self.job.about, "tokens": self.plan.tokens, "shares": self.plan.shares, "share": SHARE}
        settings |= {"num_frames": NUM_FRAMES, "groups": list(GROUPS[self.job.digits]), "missing": list(missing)}
        return save(output, NAME, rows, {**settings, **self.job.settings()}, timing=load_timing(self.job, NAME))

    def _evaluations(self, part: str, name: str, seed: int) -> list[dict[str, Any]]:
        if part not in ("budgets", "matrix") or (part == "budgets") != (name == BUDGET_RANGE):
            return []
        known = known_evaluations(self.job.run_folder(name, seed), self.uses.get(name, {}))
        return [{"part": part, "variant": name, "seed": seed, "used": used, **row} for used, row in known.items()]


def _use(plan: Plan, method: str, share: float) -> Use:
    return Use(plan.rule(method, share), METHODS["by difference"] if method == "by_difference" else RLT)
