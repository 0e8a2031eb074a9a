# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The commands of `hf-rlt benchmark` that run models of all methods: speed, frames, accuracy, thresholds, inference."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from hf_rlt.cli.console import user_errors

from .commands import OUTPUT_DIR, OnBadVideo, OutputDir, VideoDir, Workers, say, show
from .record import save

app = typer.Typer()
SWEEP = "0,0.025,0.05,0.075,0.1,0.125,0.15,0.175,0.2"

Clips = Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")]
Attention = Annotated[str, typer.Option("--attn", help="Attention backend: sdpa, eager, flash_attention_2, ...")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Shape = Annotated[str, typer.Option(help="base, large or huge: random weights of this shape.")]
Checkpoint = Annotated[str | None, typer.Option(help="Folder or Hub id of real weights, instead of a shape.")]
Threshold = Annotated[float, typer.Option(help="RLT's threshold.", min=0)]
Stride = Annotated[int, typer.Option(help="Distance of a clip's frames in the video.", min=1)]
Match = Annotated[
    str, typer.Option(help="left: as many tokens as RLT after the last block; mean: averaged over the blocks.")
]
Methods = Annotated[str | None, typer.Option(help="Only these, with ; between; the first is the reference.")]
Training = Annotated[bool, typer.Option("--training", help="Also forward, loss and backward.")]


def base_model(
    shape: str, checkpoint: str | None, frames: int | None, attn: str, dtype: str, device: str, **more: Any
) -> Any:
    from .methods import make_base

    return _placed(make_base(shape, checkpoint, frames, attn, **more), dtype, device)


def _placed(base: Any, dtype: str, device: str) -> Any:
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"--dtype: expected float32, bfloat16 or float16, received {dtype!r}.")
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return base.to(place, getattr(torch, dtype)).eval()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device}: {error}") from error


def video_files(clips: list[Path]) -> list[Path]:
    from hf_rlt.data.video_list import find_videos

    found = [file for clip in clips for file in (find_videos(clip) if clip.is_dir() else [clip])]
    if not found:
        raise ValueError(f"Expected videos in {', '.join(map(str, clips))}, found none.")
    return found


def fitting_processor(base: Any, checkpoint: str | None, **settings: Any) -> Any:
    from hf_rlt.models.video_processing_rlt import RLTVideoProcessor

    config = base.config
    shape = {name: getattr(config, name) for name in ("num_frames", "tubelet_size", "patch_size")}
    if checkpoint is not None:
        return RLTVideoProcessor.from_pretrained(checkpoint, **shape, **settings)
    return RLTVideoProcessor(**shape, **settings)


@app.command()
@user_errors()
def speed(
    clips: Clips,
    shape: Shape = "base",
    checkpoint: Checkpoint = None,
    batch_sizes: Annotated[str, typer.Option(help="With commas between.")] = "1,2,8",
    methods: Methods = None,
    threshold: Threshold = 0.1,
    frame_stride: Stride = 4,
    match: Match = "left",
    repeats: Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)] = 5,
    end_to_end: Annotated[int, typer.Option(help="Measurements from the file to the logits.", min=0)] = 3,
    training: Training = False,
    attn: Attention = "sdpa",
    dtype: Dtype = "float32",
    device: Device = "auto",
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """Time every method on real clips at the same number of tokens. Nothing else may run meanwhile."""
    from . import speed as module
    from .methods import chosen
    from .plots import check_matplotlib

    files, batches = video_files(clips), integers("--batch-sizes", batch_sizes)
    options = module.Options(repeats, match, end_to_end, training)
    selected = chosen([name.strip() for name in methods.split(";")] if methods else None)
    base = base_model(shape, checkpoint, None, attn, dtype, device, threshold=threshold)
    processor = fitting_processor(base, checkpoint, frame_stride=frame_stride, threshold=threshold)
    found = module.workloads(files, batches, processor)
    weights = f"weights of {checkpoint}" if checkpoint else "random weights, on which speed does not depend"
    more = {"weights": weights, "threshold": threshold, "frame_stride": frame_stride, "files": [f.name for f in files]}
    keep = partial(save, output_dir, "speed", settings=module.settings(options, base, **more))
    check_matplotlib()
    keep(module.measure(base, processor, found, selected, options, say, keep))
    show(output_dir / "speed.json")


@app.command()
@user_errors()
def frames(
    clip: Annotated[Path, typer.Argument(help="A video of a high frame rate, such as 60 frames a second.")],
    shape: Shape = "base",
    checkpoint: Checkpoint = None,
    num_frames: Annotated[str, typer.Option(help="Frames of a clip, with commas between.")] = "16,32,64",
    fps: Annotated[str, typer.Option(help="Frames a second of each, with commas between.")] = "7.5,15,30",
    threshold: Threshold = 0.1,
    repeats: Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)] = 3,
    training: Annotated[bool, typer.Option(help="Also forward, loss and backward.")] = True,
    attn: Attention = "sdpa",
    dtype: Dtype = "float32",
    device: Device = "auto",
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """RLT's speed-up as the frame rate grows: the same seconds of a video in more and more frames."""
    from . import speed as module
    from .methods import RLT, STANDARD

    counts, rates = integers("--num-frames", num_frames), _numbers("--fps", fps)
    if len(counts) != len(rates):
        raise ValueError(f"Expected as many --fps as --num-frames, received {len(rates)} and {len(counts)}.")
    if len({round(count / rate, 6) for count, rate in zip(counts, rates, strict=True)}) > 1:
        raise ValueError(f"Expected clips of the same seconds, received {num_frames} frames at {fps} a second.")
    options, rows = module.Options(repeats, training=training), []
    for count, rate in zip(counts, rates, strict=True):
        grid = {} if checkpoint else {"position_grid": (8, 14, 14)}
        base = base_model(shape, checkpoint, count, attn, dtype, device, threshold=threshold, **grid)
        processor = fitting_processor(base, checkpoint, fps=rate, threshold=threshold)
        say(f"{count} frames at {rate:g} a second")
        found = module.workloads([clip], [1], processor)
        measured = module.measure(base, processor, found, [STANDARD, RLT], options, say)
        rows += [{**row, "num_frames": count, "fps": rate} for row in measured]
    weights = f"weights of {checkpoint}" if checkpoint else "random weights, positions interpolated from 16 frames"
    show(save(output_dir, "frames", rows, module.settings(options, base, weights=weights, threshold=threshold)))


def integers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ValueError(f"{option}: expected whole numbers above 0 with commas between, received {text!r}.")
    return numbers


def _numbers(option: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{option}: expected numbers with commas between, received {text!r}.")
    return numbers


@dataclass(frozen=True)
class Wish:
    """What the user asked of an accuracy command, as far as it decides the settings."""

    threshold: float
    thresholds: list[float]
    batch_size: int
    workers: int


def _accuracy(name: str, text: str, choose: Callable[..., list[Any]]) -> None:
    """Adds a command that evaluates settings, which `choose(base, data, wish)` returns."""

    @app.command(name, help=text)
    @user_errors()
    def command(
        model: Annotated[str, typer.Argument(help="Folder or Hub id of a trained classifier.")],
        data: Annotated[str, typer.Argument(help="Folder with a subfolder per class, annotation file, or Hub id.")],
        num_clips: Annotated[int, typer.Option(help="Temporal clips per video.", min=1)] = 1,
        num_crops: Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)] = 1,
        threshold: Threshold = 0.1,
        thresholds: Annotated[str | None, typer.Option(help=f"Of `thresholds`: {SWEEP} if not given.")] = None,
        video_dir: VideoDir = None,
        split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
        batch_size: Annotated[int, typer.Option(help="Videos in a batch.", min=1)] = 8,
        workers: Workers = 2,
        on_bad_video: OnBadVideo = "raise",
        seed: Annotated[int, typer.Option(help="Of random masking.")] = 0,
        attn: Attention = "sdpa",
        dtype: Dtype = "float32",
        device: Device = "auto",
        output_dir: OutputDir = OUTPUT_DIR,
    ) -> None:
        from hf_rlt.data import EvalDataset
        from hf_rlt.hub.repo_config import read_config
        from hf_rlt.inference.loading import load, open_clips

        from .accuracy import evaluate

        opened, processor = load(model)
        if opened.config.model_type != "rlt_videomae":
            raise ValueError(
                f"{model}: expected a VideoMAE or RLT-VideoMAE classifier, found {opened.config.model_type}."
            )
        own = opened.config.threshold
        trained = (
            "trained dense, as VideoMAE"
            if read_config(model)["model_type"] == "videomae" or own is None
            else "trained with RLT"
        )
        opened.set_attn_implementation(attn)
        base = _placed(opened, dtype, device)
        names = [base.config.id2label[index] for index in range(base.config.num_labels)]
        clips = open_clips(data, names, video_dir, split)
        if thresholds is not None and name != "thresholds":
            raise ValueError(f"--thresholds goes with `hf-rlt benchmark thresholds`; {name} takes --threshold.")
        views = EvalDataset(clips, processor, num_clips, num_crops, on_bad_video)
        asked_of = Wish(threshold, _numbers("--thresholds", thresholds or SWEEP), batch_size, workers)
        settings = choose(base, views, asked_of)
        rows = evaluate(base, views, settings, batch_size, workers, seed, say)
        shape = {
            key: getattr(base.config, key) for key in ("hidden_size", "num_hidden_layers", "num_frames", "image_size")
        }
        asked = {"checkpoint": model, "data": data, "num_clips": num_clips, "num_crops": num_crops, "seed": seed}
        asked["trained"] = trained
        place = {"device": base.device.type, "dtype": dtype, "attention": attn, "batch_size": batch_size}
        show(save(output_dir, name, rows, {**asked, **place, "threshold": threshold, "model": shape}))


def _curve(base: Any, views: Any, wish: Wish) -> list[Any]:
    from .accuracy import curve, dense_tokens

    return curve(base.config, dense_tokens(base.config), wish.threshold)


def _sweep(base: Any, views: Any, wish: Wish) -> list[Any]:
    from .accuracy import Setting, rlt_settings
    from .methods import STANDARD

    proportional = rlt_settings(wish.thresholds, "RLT, proportional")
    return [Setting(STANDARD, "dense"), *rlt_settings(wish.thresholds), *proportional]


def _matched(base: Any, views: Any, wish: Wish) -> list[Any]:
    from .accuracy import dense_tokens, matched, mean_tokens

    target = round(mean_tokens(views, wish.threshold, wish.batch_size, wish.workers))
    return matched(base.config, dense_tokens(base.config), target, wish.threshold)


_accuracy(
    "accuracy", "Accuracy of every method, nothing trained for it, over the tokens it leaves: the curves.", _curve
)
_accuracy("thresholds", "RLT's accuracy and speed over thresholds.", _sweep)
_accuracy("inference", "The paper's inference table: every method at RLT's number of tokens.", _matched)
