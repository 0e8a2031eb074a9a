# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tune in several variants, each run by the fine-tuning job in a process of its own: accuracies, seconds per step.

Each run keeps its command and its result in its folder: rerun to resume; a result of another command is never reused.
"""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.data import DigitsSettings, render_digits
from hf_rlt.errors import HfRltError

from .common.finetune_job import VARIANTS, Job, check_extra, data_arguments, results, train
from .common.finetune_timing import OpenedJob, load_timing, measure_timing
from .common.options import OUTPUT, Output, Threshold, VideoDir
from .common.record import report, save, say

LAUNCH = f"{shlex.quote(sys.executable)} -m hf_rlt.training.finetune"
SEEDS = [0, 1, 2]
RECIPE = """
    --num_train_epochs 2.5 --learning_rate 1e-3 --lr_scheduler_type cosine --warmup_steps 50 --weight_decay 0.05
    --adam_beta2 0.98 --per_device_train_batch_size 16 --per_device_eval_batch_size 32 --logging_steps 50
    --save_strategy no --dataloader_num_workers 0 --disable_tqdm True --report_to none
"""


def _command(kind: str, text: str) -> Callable[..., None]:
    """Make the command of a kind of fine-tuning table."""

    def command(
        context: typer.Context,
        train_data: Annotated[Path | None, typer.Option("--train", help="Default: the built-in digits.")] = None,
        validation: Annotated[Path | None, typer.Option(help="The same. Default: part of --train.")] = None,
        video_dir: VideoDir = None,
        model: Annotated[str | None, typer.Option("--model", "-m", help="Default: a small one from scratch.")] = None,
        variant: Annotated[list[str] | None, typer.Option(help="Only this one. May be repeated.")] = None,
        seed: Annotated[list[int], typer.Option(help="May be repeated.")] = SEEDS,
        threshold: Threshold = 0.1,
        random_ratio: Annotated[
            float | None, typer.Option(help="Tokens random masking keeps. Default: as RLT.")
        ] = None,
        tome_r: Annotated[int | None, typer.Option(help="Tokens merged per block. Default: as RLT.", min=0)] = None,
        max_steps: Annotated[int | None, typer.Option(help="Instead of the epochs.", min=1)] = None,
        train_clips: Annotated[int, typer.Option(help="Training clips in the built-in set.", min=8)] = 6400,
        validation_clips: Annotated[int, typer.Option(help="Held-out clips in the built-in set.", min=8)] = 320,
        time: Annotated[bool, typer.Option("--time", help="Measure seconds per step, on an idle machine.")] = False,
        time_steps: Annotated[int, typer.Option(help="Steps per timing.", min=1)] = 60,
        repeats: Annotated[int, typer.Option(help="Timings of each variant, in turn.", min=1)] = 3,
        launch: Annotated[str, typer.Option(help="Such as: accelerate launch -m hf_rlt.training.finetune")] = LAUNCH,
        output: Output = OUTPUT,
    ) -> None:
        names = tuple(variant or VARIANTS[kind])
        unknown = [name for name in names if name not in VARIANTS[kind]]
        if unknown:
            raise HfRltError(f"--variant: expected one of {', '.join(VARIANTS[kind])}, received {unknown[0]!r}.")
        check_extra(context.args)
        steps = ("--max_steps", str(max_steps)) if max_steps is not None else ()
        extra = (*context.args, *steps)
        job = Job(tuple(shlex.split(launch)), output / "finetune", threshold=threshold, extra=extra)
        if train_data is None:
            if validation or video_dir:
                raise HfRltError("Received --validation or --video-dir without --train: add it.")
            job = _digits(job, DigitsSettings(train_clips, validation_clips), model)
        else:
            words = data_arguments(train_data, validation, video_dir, model)
            job = replace(job, about=f"{train_data.stem}, {model or 'a small model from scratch'}", data=words)
        job = _equal_tokens(job, kind, random_ratio, tome_r)
        if time:
            measure_timing(job, kind, names, time_steps, repeats)
        else:
            train(job, names, seed)
        settings = {"data": job.about, **job.settings()}
        rows = results(job, VARIANTS[kind])
        report(save(output, kind, rows, settings, timing=load_timing(job, kind)))

    command.__name__, command.__doc__ = kind, f"{text} Options after -- are passed to the fine-tuning job."
    return command


def _digits(job: Job, settings: DigitsSettings, model: str | None) -> Job:
    """Return the job on the built-in set, rendered now unless it is there."""
    about = f"Built-in digits, {settings.train_clips:,} training and {settings.validation_clips:,} validation clips"
    say(f"{about}, in {job.folder / 'digits'}")
    clips = render_digits(job.folder / "digits", settings)
    words = data_arguments(clips / "train", clips / "validation", None, model)
    return replace(job, about=about, data=words, extra=(*RECIPE.split(), *job.extra), digits=True)


def _equal_tokens(job: Job, kind: str, random_ratio: float | None, tome_r: int | None) -> Job:
    """Bring random masking and ToMe to the tokens that RLT computes, unless the user says how many."""
    if random_ratio is not None and not 0 < random_ratio <= 1:
        raise HfRltError(f"--random-ratio: expected a share above 0 and up to 1, received {random_ratio}.")
    if kind == "finetune" and (random_ratio is None or tome_r is None):
        say("Counting the tokens that RLT computes, as many as random masking and ToMe are to leave")
        opened = OpenedJob(job)
        share = opened.share_computed(job.folder / "counts")
        random_ratio = round(share, 3) if random_ratio is None else random_ratio
        tome_r = opened.tome_r(share) if tome_r is None else tome_r
    return replace(job, random_ratio=1.0 if random_ratio is None else random_ratio, tome_r=tome_r or 0)


finetune = _command("finetune", "Fine-tune dense, with ToMe, random masking and RLT: accuracy and time.")
ablation = _command("ablation", "Fine-tune RLT with and without random masking and length embedding.")
