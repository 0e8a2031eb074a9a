# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Train with each way to spend a number of tokens on a built-in set, and compare: accuracy, tokens, seconds per step.

Each run keeps its command and its result in its folder: rerun to resume. What has not been run is named under the tables.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.data import RenderSettings, digits_settings
from hf_rlt.errors import HfRltError

from .common import options as opt
from .common.finetune_job import Job, Variant, train
from .common.finetune_timing import measure_timing
from .common.record import report
from .common.token_comparison import NAME, Comparison
from .common.token_runs import DENSE, METHODS, PARTS
from .finetune import SEEDS, on_digits

ALL_PARTS, ALL_METHODS = [*PARTS], [*METHODS]
SHARES = [0.15, 0.2, 0.3]  # the first tubelets of 16 frames are 12.5 %
EPOCHS = ("--num_train_epochs", "5")  # the fine-tuning job's default


def equal_tokens(
    part: Annotated[list[str], typer.Option(help="May be repeated.")] = ALL_PARTS,
    method: Annotated[list[str], typer.Option(help="May be repeated.")] = ALL_METHODS,
    share: Annotated[list[float], typer.Option(help="Share of the tokens. May be repeated.")] = SHARES,
    seed: Annotated[list[int], typer.Option(help="May be repeated.")] = SEEDS,
    digits_set: Annotated[str, typer.Option(help="Built-in set: standard or hard.")] = "hard",
    train_clips: Annotated[int | None, typer.Option(help="Training clips. Default: the set's own number.")] = None,
    validation_clips: Annotated[int | None, typer.Option(help="Held-out clips. Default: the set's own number.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Instead of 5 epochs.", min=1)] = None,
    jobs: Annotated[int, typer.Option(help="Runs at the same time, each on one thread if several.", min=1)] = 1,
    only_tables: Annotated[bool, typer.Option("--tables", help="Run nothing: tables of what is there.")] = False,
    time: Annotated[bool, typer.Option("--time", help="Measure seconds per step, on an idle machine.")] = False,
    time_steps: Annotated[int, typer.Option(help="Steps per timing.", min=1)] = 60,
    repeats: Annotated[int, typer.Option(help="Timings of each kind of run, in turn.", min=1)] = 3,
    launch: Annotated[str | None, typer.Option(help="The job's command. Default: on frames decoded once.")] = None,
    output: opt.Output = opt.OUTPUT,
) -> None:
    """Train with each way to spend a number of tokens, and compare accuracy and time."""
    for name, given, known in (("part", part, PARTS), ("method", method, METHODS)):
        if unknown := [each for each in given if each not in known]:
            raise HfRltError(f"--{name}: expected {', '.join(known)}, received {unknown[0]!r}.")
    clips = {"train_clips": train_clips, "validation_clips": validation_clips}
    settings = digits_settings(digits_set, **{key: count for key, count in clips.items() if count is not None})
    job = _job(settings, output / NAME, launch, ("--max_steps", str(max_steps)) if max_steps else EPOCHS, jobs)
    comparison = Comparison.open(job, settings.frames, method, share, part)
    if time:
        measure_timing(comparison.job, NAME, comparison.names, time_steps, repeats, alone=False)
    errors = []
    for each in [] if time or only_tables else seed:
        try:
            train(comparison.job, comparison.names, [each], jobs)
        except HfRltError as error:  # all other runs have been tried
            errors.append(error)
        comparison.evaluate(each)
        comparison.save(output, seed)
    report(comparison.save(output, seed))
    if errors:
        raise errors[0]


def _job(settings: RenderSettings, folder: Path, launch: str | None, length: tuple[str, ...], jobs: int) -> Job:
    """Make the job on a built-in set."""
    folder = folder / f"{settings.set_name}-{settings.train_clips}-{settings.validation_clips}"
    ours = (sys.executable, "-m", "benchmarks.common.decoded_job", str(folder / "decoded"))
    dense = {DENSE: Variant(("--threshold", "none"))}
    start, threads = tuple(shlex.split(launch)) if launch else ours, 1 if jobs > 1 else None
    return on_digits(Job(start, folder, extra=length, variants=dense, threads=threads), settings, None)
