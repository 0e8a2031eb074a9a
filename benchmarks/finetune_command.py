# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From what a user asks of the fine-tuning benchmarks to a job, and from its runs and timings to a record."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hf_rlt.data import DigitsSettings

from .finetune import DIGITS_RECIPE, KEEP_OF_RUNS, VARIANTS, Job, check_extra, data_arguments, find_script, render
from .finetune import results as finished
from .finetune import train as train
from .finetune_timing import OpenedScript, time_steps
from .record import environment, save, write_json


@dataclass(frozen=True)
class Data:
    """The user's videos and model, or (training, validation) clips of the built-in set to render."""

    train: Path | None = None
    validation: Path | None = None
    video_dir: Path | None = None
    model: str | None = None
    digits: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What the table says of the data."""
        if self.digits is not None:
            return f"Built-in digits, {self.digits[0]:,} training and {self.digits[1]:,} validation clips"
        return f"{Path(self.train or '').stem}, {self.model or 'a small model from scratch'}"


@dataclass(frozen=True)
class Asked:
    """What is to be compared: kind of table, variants, seeds and the settings that they share."""

    kind: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    threshold: float = 0.1
    random_ratio: float | None = None
    tome_r: int | None = None
    max_steps: int | None = None
    extra: tuple[str, ...] = ()


def choose(kind: str, variants: str | None, seeds: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns variants and seeds of lists with commas.

    Raises:
        ValueError: for an unknown variant or a seed that is no number.
    """
    names = tuple(word.strip() for word in variants.split(",")) if variants is not None else VARIANTS[kind]
    unknown = [name for name in names if name not in VARIANTS[kind]]
    if unknown:
        raise ValueError(f"--variants: expected some of {', '.join(VARIANTS[kind])}, received {unknown[0]!r}.")
    try:
        return names, tuple(int(word) for word in seeds.split(","))
    except ValueError:
        raise ValueError(f"--seeds: expected whole numbers with commas between, received {seeds!r}.") from None


def make_job(
    asked: Asked, data: Data, script: Path | None, launch: str | None, output_dir: Path, say: Callable[[str], None]
) -> Job:
    """Returns the job; where nobody says how many tokens random masking is to keep, it counts those that RLT computes."""
    check_extra(asked.extra)
    script, folder = find_script(script), output_dir / "finetune"
    steps = ("--max_steps", str(asked.max_steps)) if asked.max_steps is not None else ()
    if data.train is None and (data.validation or data.video_dir):
        raise ValueError("Received --validation or --video-dir without --train: add it.")
    if data.digits is not None:
        say(f"{data.name}, in {folder / 'digits'}")
        words, recipe = render(folder, DigitsSettings(*data.digits)), DIGITS_RECIPE
        words += ("--model_name_or_path", data.model) if data.model is not None else ()
    elif data.train is not None:
        words, recipe = data_arguments(data.train, data.validation, data.video_dir, data.model), ()
    job = Job(
        script=script,
        folder=folder,
        data=words,
        extra=(*recipe, *asked.extra, *steps),
        launch=tuple(shlex.split(launch)) if launch else (sys.executable,),
        threshold=asked.threshold,
        digits=data.digits is not None,
    )
    ratio, merged = asked.random_ratio, asked.tome_r
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(f"--random-ratio: expected a share above 0 and up to 1, received {ratio}.")
    if asked.kind == "finetune" and (ratio is None or merged is None):
        say("Counting the tokens that RLT computes, as many as random masking and ToMe are to leave")
        opened = OpenedScript(job)
        share = opened.share_computed(folder / "counts")
        ratio = round(share, 3) if ratio is None else ratio
        merged = opened.merges(share) if merged is None else merged
    return replace(job, random_ratio=ratio if ratio is not None else 1.0, tome_r=merged or 0)


def measure(job: Job, asked: Asked, steps: int, rounds: int, say: Callable[[str], None]) -> None:
    """Returns nothing; times the variants and keeps what it finds in the job's folder."""
    script = OpenedScript(job)
    found = {
        "seconds_per_step": time_steps(job, asked.variants, (script.train, script.validation), steps, rounds, say),
        "model_seconds": script.model_seconds(asked.variants),
        "steps": steps,
        "settings": _settings(job),
        "environment": environment(),
    }
    write_json(job.folder / f"timing-{asked.kind}.json", found)


def collect(job: Job, asked: Asked, data: Data, output_dir: Path) -> Path:
    """Returns the path of the record of all runs and timings there are.

    Raises:
        ValueError: if there are runs or timings of another command.
    """
    path, settings = job.folder / f"timing-{asked.kind}.json", _settings(job)
    timing: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    if timing is not None and timing["settings"] != settings:
        name = next(name for name in settings if settings[name] != timing["settings"].get(name))
        raise ValueError(
            f"{path}: expected a timing with {name} {settings[name]}, found one with {timing['settings'].get(name)}: pass "
            "another --output-dir, or --time again."
        )
    runs = finished(job, VARIANTS[asked.kind])
    return save(output_dir, asked.kind, runs, {"data": data.name, **settings}, timing=timing)


def _settings(job: Job) -> dict[str, Any]:
    return {
        "threshold": job.threshold,
        "random_ratio": job.random_ratio,
        "tome_r": job.tome_r,
        "keep_of_runs": KEEP_OF_RUNS,
        "arguments": [*job.data, *job.extra],
    }
