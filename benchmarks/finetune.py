# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tune in several variants, each run by the fine-tuning job in a process of its own: accuracies, seconds per step.

Each run keeps its command and its result in its folder: rerun to resume; a result of another command is never reused.
"""

import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_rlt import RLTVideoMAEConfig
from hf_rlt.data import RenderSettings, digits_settings, render_digits
from hf_rlt.errors import HfRltError

from .common import paper
from .common.finetune_job import (
    GROUPS,
    VARIANTS,
    Job,
    check_extra,
    data_arguments,
    paper_values,
    paper_variants,
    results,
    train,
)
from .common.finetune_timing import OpenedJob, load_timing, measure_timing
from .common.options import OUTPUT, Output, Threshold, VideoDir
from .common.record import Column, Row, column, middle, report, save, say, spread, table

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
        digits_set: Annotated[str, typer.Option(help="The built-in set: standard or hard.")] = "standard",
        train_clips: Annotated[int, typer.Option(help="Training clips in the built-in set.", min=8)] = 6400,
        validation_clips: Annotated[
            int | None, typer.Option(help="Held-out clips in the built-in set. Default: as the set.", min=8)
        ] = None,
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
        job = Job(tuple(shlex.split(launch)), output / "finetune", extra=extra)
        if train_data is None:
            if validation or video_dir:
                raise HfRltError("Received --validation or --video-dir without --train: add it.")
            held = {} if validation_clips is None else {"validation_clips": validation_clips}
            job = on_digits(job, digits_settings(digits_set, train_clips=train_clips, **held), model)
        else:
            words = data_arguments(train_data, validation, video_dir, model)
            job = replace(job, about=f"{train_data.stem}, {model or 'a small model from scratch'}", data=words)
        job = _equal_tokens(job, kind, threshold, random_ratio, tome_r)
        if time:
            measure_timing(job, kind, names, time_steps, repeats)
        else:
            train(job, names, seed)
        settings = {"data": job.about, **job.settings()}
        rows = results(job, VARIANTS[kind])
        report(save(output, kind, rows, settings, timing=load_timing(job, kind)))

    command.__name__, command.__doc__ = kind, f"{text} Options after -- are passed to the fine-tuning job."
    return command


def on_digits(job: Job, settings: RenderSettings, model: str | None) -> Job:
    """Return the job on a built-in set, rendered now unless it is there."""
    size = f"{settings.train_clips:,} training and {settings.validation_clips:,} validation clips"
    about = f"Built-in {settings.title}, {size}"
    say(f"{about}, in {job.folder / settings.title}")
    clips = render_digits(job.folder / settings.title, settings)
    words = data_arguments(clips / "train", clips / "validation", None, model)
    extra = (*RECIPE.split(), *job.extra)
    if model is None and settings.set_name != "standard":
        # To the job these are videos like any, of which it takes every 2nd.
        extra = ("--frame_stride", str(settings.frames // RLTVideoMAEConfig.small_model["num_frames"]), *extra)
    return replace(job, about=about, data=words, extra=extra, digits=settings.set_name)


def _equal_tokens(job: Job, kind: str, threshold: float, random_ratio: float | None, tome_r: int | None) -> Job:
    """Give the job its variants, random masking and ToMe at RLT's number of tokens unless the user says how many."""
    if random_ratio is not None and not 0 < random_ratio <= 1:
        raise HfRltError(f"--random-ratio: expected a share above 0 and up to 1, received {random_ratio}.")

    def filled(random_ratio: float | None, tome_r: int | None) -> Job:
        values = paper_values(threshold, 1.0 if random_ratio is None else random_ratio, tome_r or 0)
        return replace(job, variants=paper_variants(values), values=values)

    if kind == "finetune" and (random_ratio is None or tome_r is None):
        say("Counting the tokens that RLT computes, as many as random masking and ToMe are to leave")
        share, r = OpenedJob(filled(random_ratio, tome_r)).share_and_tome_r(job.folder / "counts")
        random_ratio = round(share, 3) if random_ratio is None else random_ratio
        tome_r = r if tome_r is None else tome_r
    return filled(random_ratio, tome_r)


finetune = _command("finetune", "Fine-tune dense, with ToMe, random masking and RLT: accuracy and time.")
ablation = _command("ablation", "Fine-tune RLT with and without random masking and length embedding.")


ORDER = ("dense", "ToMe", "random", "RLT", "RLT+length", "RLT+random", "RLT+random+length")
PAPER_COLUMNS = {
    "finetune": (("ViT-B", "K400"), ("ViT-B", "SSv2"), ("ViT-L", "K400"), ("ViT-L", "SSv2")),
    "ablation": (("ViT-L", "K400"),),
}


def markdown(record: Row) -> str:
    """Make the table of `finetune` or `ablation`, with notes."""
    rows = table_rows(record)
    baseline = rows[0]["title"] if rows else "dense"
    columns = [
        column("variant", "title"),
        column("top-1, mean (lowest to highest)", "accuracy"),
        column("pair that only timing separates", "pair"),
        *(column(group, group) for group in GROUPS["hard"]),
        column("s/step, median (quartiles)", "step"),
        column("whole job", "job"),
        column(f"speed-up over {baseline}", "speedup", "{:.1f} x"),
        column("model step", "model_step", "{:.3f} s"),
        column("speed-up", "model_speedup", "{:.1f} x"),
    ]
    for where in PAPER_COLUMNS[record["benchmark"]] if _of_paper(record) else ():
        columns.append(Column("paper: " + ", ".join(where), partial(_paper_cell, *where)))
    return f"{table(rows, columns)}\n{notes(record)}"


def table_rows(record: Row) -> list[dict[str, Any]]:
    """Make a row for each variant that was trained or timed, in the paper's order."""
    timing = record.get("timing") or {}
    seconds, alone = timing.get("seconds_per_step", {}), timing.get("model_seconds", {})
    known = [name for name in ORDER if name in seconds or any(run["variant"] == name for run in record["rows"])]
    speed = {name: statistics.median(values) for name, values in seconds.items()}
    rows = []
    for name in known:
        runs = [run for run in record["rows"] if run["variant"] == name]
        row: dict[str, Any] = {"variant": name, "title": title(name, record["settings"])}
        row |= {"accuracy": spread(runs, "accuracy")}
        row |= {group: spread(runs, f"{group}_accuracy") for groups in GROUPS.values() for group in groups}
        row |= {"step": middle(seconds.get(name)), "job": _job(runs, speed.get(name))}
        row |= {"speedup": _ratio(speed, known[0], name), "model_step": alone.get(name)}
        rows.append(row | {"model_speedup": _ratio(alone, known[0], name)})
        if masked := spread(runs, "accuracy_masked"):
            rows.append({"title": "the same, masked at evaluation too", "accuracy": masked})
    return rows


def title(name: str, settings: Row) -> str:
    """Name a variant, with the share of tokens that random masking keeps."""
    if name == "random":
        return f"random, {100 * settings['random_ratio']:.1f} % of the tokens"
    if name == "ToMe":
        return f"ToMe, r = {settings['tome_r']}"
    return name.replace("+random", f" + random {settings['keep_of_runs']:g}").replace("+length", " + length")


def _ratio(measured: Row, baseline: str, name: str) -> float | None:
    return measured[baseline] / measured[name] if baseline in measured and name in measured else None


def _job(runs: Sequence[Row], seconds_per_step: float | None) -> str | None:
    """Format how long the whole training takes, by the timing of a step, else as the runs took."""
    if seconds_per_step is not None:
        known = [seconds_per_step * run["steps"] for run in runs]
    else:
        known = [run["train_seconds"] for run in runs if run.get("train_seconds") is not None]
    if not known:
        return None
    whole = statistics.median(known)
    size, unit = (3600, "h") if whole >= 3600 else (60, "min") if whole >= 60 else (1, "s")
    return f"{whole / size:.1f} {unit}"


def _of_paper(record: Row) -> bool:
    """Return whether it is the paper's network, VideoMAE."""
    return "--model_type" not in record["settings"].get("arguments", [])


def _paper_cell(model: str, dataset: str, row: Row) -> str:
    return paper.fine_tuning_cell(row["variant"], model, dataset) if "variant" in row else ""


def notes(record: Row) -> str:
    """Write the notes: what ran, how it was timed, where the paper's numbers are from."""
    settings, timing = record["settings"], record.get("timing")
    seeds = len({run["seed"] for run in record["rows"]})
    steps = sorted({run["steps"] for run in record["rows"]})
    counted = " or ".join(f"{count:,}" for count in steps)
    text = f"{settings['data']}: {seeds} seed{'s' * (seeds != 1)}, {counted} steps" if steps else settings["data"]
    text += f"; threshold {settings['threshold']:g}."
    if timing:
        text += f" A step is timed in {timing['steps']} steps of the whole job, the variants in turn"
        text += '; "model step" is forward, backward and optimiser on a batch in memory' * bool(timing["model_seconds"])
        text += "."
        if "environment" in timing:
            machine = timing["environment"]["machine"]
            text += f" Timed {timing['environment']['date']} on {machine.get('gpu', machine['cpu'])}."
    elif record["rows"]:
        text += ' "Whole job" is what the runs took, not timed in turn: pass --time to measure.'
    text += f" Paper: {paper.PAPER}, Table 1; hours on 8 GPUs." * _of_paper(record)
    disputed = any(run["variant"].startswith("RLT+random") for run in record["rows"])
    return f"{text}{' ' + paper.RLT_AND_RANDOM_NOTE if disputed else ''}\n"
