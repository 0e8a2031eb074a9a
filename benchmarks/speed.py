# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Speed of every method at the same number of tokens, and RLT's as the frame rate grows."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import geometric_mean
from typing import Annotated

import typer

from hf_rlt.errors import HfRltError

from .common import options as opt
from .common.methods import RLT, STANDARD, select_methods
from .common.plots import Series, check_matplotlib, draw
from .common.record import Column, Row, column, report, save, say, table
from .common.speed import MIXED, Options, measure, settings, workloads

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


WAYS = {"forward": "forward", "end_to_end": "file to logits", "training": "forward + backward"}


def _measured(what: str) -> list[Column]:
    seconds = column(f"{WAYS[what]}, s (quartiles)", what, "{0[seconds]:.3f} ({0[lower]:.3f} to {0[upper]:.3f})")
    rate = column(f"{WAYS[what]}, clips/s", what, "{0[clips_per_second]:.2f}")
    speedup = column("speed-up", what, "{0[speedup]:.2f} x")
    return [seconds, speedup] if what == "training" else [seconds, rate, speedup]


COLUMNS = (
    column("clip", "clip"),
    column("frames", "num_frames"),
    column("FPS", "fps", "{:g}"),
    column("batch", "batch"),
    column("method", "method"),
    column("tokens left", "tokens_left", "{:,.0f}"),
    column("mean over blocks", "tokens_by_block", "{:,.0f}"),
    column("GFLOPs per clip", "gflops", "{:.1f}"),
    *_measured("forward"),
    column("FLOP ratio", "flop_ratio", "{:.2f}"),
    Column("speed-up / FLOP ratio", lambda row: f"{row['forward']['speedup'] / row['flop_ratio']:.2f}"),
    *_measured("end_to_end"),
    *_measured("training"),
    Column("peak memory, MB", lambda row: f"{row['peak_bytes'] / 1e6:.0f}" if row.get("peak_bytes") else ""),
)


def fastest(rows: Sequence[Row], what: str) -> list[str]:
    """Find the fastest of RLT, ToMe and STA in each batch that has RLT and a rival."""
    batches: dict[tuple, dict[str, float]] = {}
    for row in rows:
        if row["method"] in ("RLT", "ToMe", "ToMe, proportional", "STA"):
            batches.setdefault((row["clip"], row["batch"]), {})[row["method"]] = row[what]["seconds"]
    return [min(seconds, key=seconds.__getitem__) for seconds in batches.values() if {"RLT"} < seconds.keys()]


def summary(rows: Sequence[Row]) -> str:
    """Make a table of geometric means over the clips of each batch size, mixed batches apart."""
    made = []
    for batch, mixed in product(dict.fromkeys(row["batch"] for row in rows), (False, True)):
        own = [row for row in rows if row["batch"] == batch and (row["clip"] == MIXED) == mixed]
        for method in dict.fromkeys(row["method"] for row in own):
            these = [row for row in own if row["method"] == method]
            ways = {
                f"{what}_mean": geometric_mean([row[what]["speedup"] for row in these])
                for what in WAYS
                if what in these[0]
            }
            ratios = [row["forward"]["speedup"] / row["flop_ratio"] for row in these]
            clips = f"{len(these)} clips, geometric mean" if len(these) > 1 else these[0]["clip"]
            made.append({"clips": clips, "batch": batch, "method": method, **ways, "lowest": min(ratios)})
    columns = [column(f"{title}, speed-up", f"{what}_mean", "{:.2f} x") for what, title in WAYS.items()]
    lowest = column("speed-up / FLOP ratio, lowest", "lowest", "{:.2f}")
    return table(made, [column("", "clips"), column("batch", "batch"), column("method", "method"), *columns, lowest])


MATCHED = {
    "left": "random masking, ToMe and STA are brought to RLT's number of tokens after the last block; before it the last "
    "two have more",
    "mean": "random masking, ToMe and STA are brought to RLT's number of tokens averaged over the blocks",
}


def verdicts(rows: Sequence[Row]) -> str:
    """Say, for each way of measuring, in how many batches RLT is the fastest; "" if it has no rival."""
    lines = []
    for what, title in WAYS.items():
        winners = fastest(rows, what) if all(what in row for row in rows) else []
        if winners:
            count = winners.count("RLT")
            lines.append(f"- {title}: RLT is faster than ToMe and STA in {count} of {len(winners)} batches.\n")
    return "".join(lines) + "\n" if lines else ""


def markdown(record: Row) -> str:
    """Make the tables."""
    rows, settings = record["rows"], record["settings"]
    model, frames = settings["model"], record["benchmark"] == "frames"
    text = (
        f"{model['num_hidden_layers']} blocks of width {model['hidden_size']}, {settings['dtype']}, "
        f"{settings['attention']}, {settings['device']}; {settings['weights']}. Medians of {settings['repeats']} forward "
        f"passes and {settings['end_to_end']} passes from the file, the methods in turn. Finding runs is part of "
        f'"{WAYS["end_to_end"]}", not of "{WAYS["forward"]}" (the processor does it); peak memory is what '
        "tensors take beyond weights and input.\n\n"
    )
    if frames:
        return f"{text}The same seconds of one clip in more and more frames.\n\n{table(rows, COLUMNS)}"
    text += "Batches are clips of one file, spread over it; mixed ones alternate still and lively files. In each batch "
    return f"{text}{MATCHED[settings['match']]}.\n\n{verdicts(rows)}{summary(rows)}\n{table(rows, COLUMNS)}"


def pictures(record: Row, folder: Path) -> list[Path]:
    """Draw measured speed-up against the ratio of operations."""
    rows = [row for row in record["rows"] if row["method"] != record["rows"][0]["method"]]
    if not rows:
        return []
    series = []
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        series.append(Series(name, [row["flop_ratio"] for row in own], [row["forward"]["speedup"] for row in own]))
    axes = ("ratio of analytic FLOPs", "measured speed-up of the forward pass")
    titles = ("Every point is a batch of real clips", *axes)
    path = folder / f"{record['benchmark']}.png"
    return [draw(path, series, titles, logarithmic=True)]
