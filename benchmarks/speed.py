# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Speed of every method at the same number of tokens, and RLT's as the frame rate grows."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.errors import HfRltError

from .common.methods import RLT, STANDARD, select_methods
from .common.options import (
    OUTPUT,
    Attention,
    BatchSizes,
    Checkpoint,
    Clips,
    Device,
    Dtype,
    FrameStride,
    Output,
    Repeats,
    Shape,
    Threshold,
    model_and_processor,
    video_files,
)
from .common.plots import check_matplotlib
from .common.record import report, save, say
from .common.speed import Options, measure, settings, workloads

BATCH_SIZES, FRAMES, FPS = [1, 2, 8], [16, 32, 64], [7.5, 15.0, 30.0]


def speed(
    clips: Clips,
    shape: Shape = "base",
    model: Checkpoint = None,
    batch_size: BatchSizes = BATCH_SIZES,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this one. May be repeated; the first is the reference.")
    ] = None,
    threshold: Threshold = 0.1,
    frame_stride: FrameStride = 4,
    match: Annotated[
        str, typer.Option(help="Equal tokens: left (after the last block) or mean (averaged over the blocks).")
    ] = "left",
    repeats: Repeats = 5,
    end_to_end: Annotated[int, typer.Option(help="Measurements from the file to the logits.", min=0)] = 3,
    training: Annotated[bool, typer.Option("--training", help="Also forward, loss and backward.")] = False,
    attention: Attention = "sdpa",
    dtype: Dtype = "float32",
    device: Device = "auto",
    output: Output = OUTPUT,
) -> None:
    """Time every method on real clips at the same number of tokens. Run on an idle machine."""
    files, options = video_files(clips), Options(repeats, match, end_to_end, training)
    selected = select_methods(method)
    sampling = {"frame_stride": frame_stride}
    base, processor = model_and_processor(shape, model, attention, dtype, device, sampling, threshold=threshold)
    found = workloads(files, batch_size, processor)
    weights = f"weights of {model}" if model else "random weights, on which speed does not depend"
    more = {"weights": weights, "threshold": threshold, "frame_stride": frame_stride, "files": [f.name for f in files]}
    check_matplotlib()
    keep = partial(save, output, "speed", settings=settings(options, base, **more))
    report(keep(measure(base, processor, found, selected, options, keep)))


def frames(
    clip: Annotated[Path, typer.Argument(help="A video of a high frame rate, such as 60 frames per second.")],
    shape: Shape = "base",
    model: Checkpoint = None,
    num_frames: Annotated[list[int], typer.Option(help="Frames per clip. May be repeated.", min=1)] = FRAMES,
    fps: Annotated[list[float], typer.Option(help="Frames per second of each.")] = FPS,
    threshold: Threshold = 0.1,
    repeats: Repeats = 3,
    training: Annotated[bool, typer.Option(help="Also forward, loss and backward.")] = True,
    attention: Attention = "sdpa",
    dtype: Dtype = "float32",
    device: Device = "auto",
    output: Output = OUTPUT,
) -> None:
    """RLT's speed-up as the frame rate grows: the same seconds of a video in more and more frames."""
    if len(num_frames) != len(fps):
        raise HfRltError(f"Expected as many --fps as --num-frames, received {len(fps)} and {len(num_frames)}.")
    if len({round(count / rate, 6) for count, rate in zip(num_frames, fps, strict=True)}) > 1:
        raise HfRltError(f"Expected clips of the same seconds, received {num_frames} frames at {fps} per second.")
    options, rows = Options(repeats, training=training), []
    for count, rate in zip(num_frames, fps, strict=True):
        config = {"threshold": threshold, "num_frames": count, **({} if model else {"position_grid": (8, 14, 14)})}
        base, processor = model_and_processor(shape, model, attention, dtype, device, {"fps": rate}, **config)
        say(f"{count} frames at {rate:g} per second")
        measured = measure(base, processor, workloads([clip], [1], processor), [STANDARD, RLT], options)
        rows += [{**row, "num_frames": count, "fps": rate} for row in measured]
    weights = f"weights of {model}" if model else "random weights, positions interpolated from 16 frames"
    report(save(output, "frames", rows, settings(options, base, weights=weights, threshold=threshold)))
