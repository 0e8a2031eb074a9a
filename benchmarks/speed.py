# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Speed of every method at the same number of tokens, and RLT's as the frame rate grows."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.errors import HfRltError

from .common import options as opt
from .common.methods import RLT, STANDARD, select_methods
from .common.plots import check_matplotlib
from .common.record import report, save, say
from .common.speed import Options, measure, settings, workloads

BATCH_SIZES, FRAMES, FPS = [1, 2, 8], [16, 32, 64], [7.5, 15.0, 30.0]


def speed(
    clips: opt.Clips,
    shape: opt.Shape = "base",
    model: opt.Checkpoint = None,
    batch_size: opt.BatchSizes = BATCH_SIZES,
    method: Annotated[list[str] | None, typer.Option(help="Only this one. May be repeated; first: reference.")] = None,
    threshold: opt.Threshold = 0.1,
    frame_stride: opt.FrameStride = 4,
    match: Annotated[str, typer.Option(help="Equal tokens: left after the last block, or mean over blocks.")] = "left",
    repeats: opt.Repeats = 5,
    end_to_end: Annotated[int, typer.Option(help="Measurements from the file to the logits.", min=0)] = 3,
    training: Annotated[bool, typer.Option("--training", help="Also forward, loss and backward.")] = False,
    attention: opt.Attention = "sdpa",
    dtype: opt.Dtype = "float32",
    device: opt.Device = "auto",
    output: opt.Output = opt.OUTPUT,
) -> None:
    """Time every method on real clips at the same number of tokens. Run on an idle machine."""
    files, options = opt.video_files(clips), Options(repeats, match, end_to_end, training)
    selected, sampling = select_methods(method), {"frame_stride": frame_stride}
    base, processor = opt.model_and_processor(shape, model, attention, dtype, device, sampling, threshold=threshold)
    found = workloads(files, batch_size, processor)
    weights = f"weights of {model}" if model else "random weights, on which speed does not depend"
    more = {"weights": weights, "threshold": threshold, "frame_stride": frame_stride, "files": [f.name for f in files]}
    check_matplotlib()
    keep = partial(save, output, "speed", settings=settings(options, base, **more))
    report(keep(measure(base, processor, found, selected, options, keep)))


def frames(
    clip: Annotated[Path, typer.Argument(help="A video of a high frame rate, such as 60 frames per second.")],
    shape: opt.Shape = "base",
    model: opt.Checkpoint = None,
    num_frames: Annotated[list[int], typer.Option(help="Frames per clip. May be repeated.", min=1)] = FRAMES,
    fps: Annotated[list[float], typer.Option(help="Frames per second of each.")] = FPS,
    threshold: opt.Threshold = 0.1,
    repeats: opt.Repeats = 3,
    training: Annotated[bool, typer.Option(help="Also forward, loss and backward.")] = True,
    attention: opt.Attention = "sdpa",
    dtype: opt.Dtype = "float32",
    device: opt.Device = "auto",
    output: opt.Output = opt.OUTPUT,
) -> None:
    """RLT's speed-up as the frame rate grows: the same seconds of a video in more and more frames."""
    if len(num_frames) != len(fps):
        raise HfRltError(f"Expected as many --fps as --num-frames, received {len(fps)} and {len(num_frames)}.")
    if len({round(count / rate, 6) for count, rate in zip(num_frames, fps, strict=True)}) > 1:
        raise HfRltError(f"Expected clips of the same seconds, received {num_frames} frames at {fps} per second.")
    options, rows = Options(repeats, training=training), []
    for count, rate in zip(num_frames, fps, strict=True):
        config = {"threshold": threshold, "num_frames": count, **({} if model else {"position_grid": (8, 14, 14)})}
        base, processor = opt.model_and_processor(shape, model, attention, dtype, device, {"fps": rate}, **config)
        say(f"{count} frames at {rate:g} per second")
        measured = measure(base, processor, workloads([clip], [1], processor), [STANDARD, RLT], options)
        rows += [{**row, "num_frames": count, "fps": rate} for row in measured]
    weights = f"weights of {model}" if model else "random weights, positions interpolated from 16 frames"
    report(save(output, "frames", rows, settings(options, base, weights=weights, threshold=threshold)))
