# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The figure of greyed-out patches: a clip, and below it what RLT computes at each threshold.

The record holds the frames shown (PNG) and the run lengths, so that the figure can be drawn from it alone.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hf_rlt.drawing.overlays import GAP, MARGIN, grey_dropped, label_rows, pixels_to_frames, threshold_label
from hf_rlt.models.runs import find_runs
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor

from .record import Row, column, percent, table


def measure(
    clip: str | Path, thresholds: Sequence[float], frame_stride: int = 4, columns: int = 4
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns (settings, a row for each threshold), where the settings hold the frames shown.

    Args:
        clip: a video; its middle 16 frames, `frame_stride` apart, are looked at.
        thresholds: RLT's.
        frame_stride: distance of these frames in the video.
        columns: how many of them are shown, evenly spread.

    Raises:
        ValueError, OSError: if the video cannot be read, or a number is out of range.
    """
    processor = RLTVideoProcessor(frame_stride=frame_stride)
    pixels = processor(str(clip), return_tensors="pt")["pixel_values"]
    frames = pixels_to_frames(pixels[0], processor.image_mean, processor.image_std)
    if not thresholds or not 1 <= columns <= len(frames):
        raise ValueError(
            f"Expected a threshold and 1 to {len(frames)} columns, received {list(thresholds)} and {columns} columns."
        )
    shown = (np.arange(columns) * len(frames) // columns).tolist()
    rows = []
    for threshold in thresholds:
        run_lengths = find_runs(pixels, threshold, processor.tubelet_size, processor.patch_size)[0]
        computed = float((run_lengths > 0).float().mean())
        rows.append({"threshold": threshold, "computed": computed, "run_lengths": run_lengths.tolist()})
    settings = {
        "clip": Path(clip).name,
        "frame_stride": frame_stride,
        "num_frames": len(frames),
        "tubelet_size": processor.tubelet_size,
        "patch_size": processor.patch_size,
        "shown": shown,
        "frames": [_png(frames[i]) for i in shown],
    }
    return settings, rows


def markdown(record: Row) -> str:
    """Returns the table of a record: thresholds and the share of tokens that each computes."""
    settings = record["settings"]
    rows = [{**row, "tokens": sum(length > 0 for length in row["run_lengths"])} for row in record["rows"]]
    columns = (
        column("threshold", "threshold", "{:g}"),
        column("tokens computed", "tokens", "{:,}"),
        percent("share", "computed"),
    )
    frames, stride = settings["num_frames"], settings["frame_stride"]
    return (
        f"{table(rows, columns)}\n{settings['clip']}: {frames} frames from its middle, {stride} apart. ![](grey.jpg)\n"
    )


def pictures(record: Row, folder: Path) -> list[Path]:
    """Returns the path of the figure, drawn from the record."""
    path = folder / "grey.jpg"
    draw(record).save(path, quality=88)
    return [path]


def draw(record: Row) -> Image.Image:
    """Returns the figure: a row of frames as the camera saw them, then a row for each threshold, labelled on the left."""
    settings = record["settings"]
    frames = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in settings["frames"]])
    rows, labels = [frames], [f"{settings['clip']}\n{settings['num_frames']} frames\nstride {settings['frame_stride']}"]
    for row in record["rows"]:
        rows.append(greyed(frames, row["run_lengths"], settings))
        labels.append(threshold_label(row["threshold"], row["computed"]))
    return label_rows(rows, labels, GAP, MARGIN)


def greyed(frames: np.ndarray, run_lengths: Sequence[int], settings: Row) -> np.ndarray:
    """Returns the shown frames `(columns, H, W, 3)` with the tubelets that are not computed greyed out."""
    tubelet, patch, shown = (settings[name] for name in ("tubelet_size", "patch_size", "shown"))
    lengths = torch.tensor(run_lengths).reshape(settings["num_frames"] // tubelet, -1)
    kept = lengths[[frame // tubelet for frame in shown]]
    return grey_dropped(frames, kept.flatten(), tubelet_size=1, patch_size=patch)


def _png(frame: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
