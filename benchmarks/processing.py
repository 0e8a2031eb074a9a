# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From decoded frames to normalised pixels and runs: ours beside torchvision alone and transformers' own processor."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf
from transformers import VideoMAEVideoProcessor

from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import interleaved_times
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor

from .common.options import OUTPUT, Output, Repeats
from .common.record import Column, Row, column, report, save, say, table

OURS, NO_RUNS, TORCHVISION, TRANSFORMERS = "hf_rlt", "hf_rlt, no runs", "torchvision", "transformers"
NAMES = (OURS, NO_RUNS, TORCHVISION, TRANSFORMERS)
SHARED = ("size", "crop_size", "do_center_crop", "image_mean", "image_std", "resample", "default_to_square")


def torchvision_alone(clips: Sequence[np.ndarray], processor: RLTVideoProcessor) -> Tensor:
    """Resize, crop and normalise clips `(F, H, W, 3)` uint8 with as few torchvision calls as possible."""
    side, crop = processor.size["shortest_edge"], [processor.crop_size["height"], processor.crop_size["width"]]
    mean, std = ([255 * part for part in each] for each in (processor.image_mean, processor.image_std))
    made = []
    for clip in clips:
        frames = tvf.resize(torch.from_numpy(clip).permute(0, 3, 1, 2), [side], antialias=True)
        frames = tvf.center_crop(frames, crop).to(torch.float32)
        made.append(tvf.normalize(frames, mean, std, inplace=True))
    return torch.stack(made)


def _pixels(processor: Any, clips: list[np.ndarray], **changes: Any) -> Tensor:
    found = processor(clips, return_tensors="pt", input_data_format="channels_last", **changes)
    return found["pixel_values"] if "pixel_values" in found else found["pixel_values_videos"]


def processing(
    files: Annotated[list[Path], typer.Argument(help="Videos.")],
    clips: Annotated[int, typer.Option(help="Clips of each video, in one batch.", min=1)] = 8,
    num_frames: Annotated[int, typer.Option(help="Frames per clip.", min=2)] = 16,
    repeats: Repeats = 15,
    output: Output = OUTPUT,
) -> None:
    """Time from decoded frames to pixels and runs, beside torchvision alone and transformers' processor."""
    ours = RLTVideoProcessor(num_frames=num_frames)
    theirs = VideoMAEVideoProcessor(**{name: getattr(ours, name) for name in SHARED})
    rows = []
    for file in files:
        say(file.name)
        read = list(ours.decode(str(file), np.linspace(0, 1, clips).tolist()))
        calls: dict[str, Callable[[], Any]] = {
            OURS: partial(_pixels, ours, read),
            NO_RUNS: partial(_pixels, ours, read, threshold=None),
            TORCHVISION: partial(torchvision_alone, read, ours),
            TRANSFORMERS: partial(_pixels, theirs, read),
        }
        pixels = {name: call() for name, call in calls.items()}
        for name, found in pixels.items():
            difference = float((found - pixels[OURS]).abs().max())
            if difference > 1e-5:
                raise HfRltError(f"{file}: expected the same pixels, those of {name} differ by up to {difference:.2g}.")
        times = interleaved_times(calls, repeats)
        rows.append({"file": file.name, "height": read[0].shape[1], "width": read[0].shape[2], "times": times})
    settings = {"clips": clips, "num_frames": num_frames, "rounds": repeats}
    report(save(output, "processing", rows, settings))


def markdown(record: Row) -> str:
    """Make the table."""
    settings = record["settings"]

    rows = [{**row, **{name: 1000 * median(times) for name, times in row["times"].items()}} for row in record["rows"]]
    size = Column("size", lambda row: f"{row['width']} x {row['height']}")
    over = Column("hf_rlt over torchvision", lambda row: f"{row[OURS] / row[TORCHVISION]:.2f}")
    return table(rows, [column("file", "file"), size, *(column(name, name, "{:.0f}") for name in NAMES), over]) + (
        f"\nMilliseconds for {settings['clips']} clips of {settings['num_frames']} frames of 224 x 224, medians of "
        f"{settings['rounds']} in turn. hf_rlt also finds runs; torchvision: resize, crop and normalise, nothing else.\n"
    )
