# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From drawings of clips to files: sheets, GIFs, MP4s, with labels on the left."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import HfRltError
from ..jobs.atomic import atomic_write
from .animation import SUFFIXES, write_animation
from .drawn_clip import DrawnClip
from .overlays import GAP, MARGIN, TEXT, label_rows, run_legend, threshold_label

SHEETS: dict[str, dict[str, Any]] = {".png": {"optimize": True}, ".jpg": {"quality": 88}, ".jpeg": {"quality": 88}}


def rows_of(clip: DrawnClip, heat: bool = False) -> tuple[list[np.ndarray], list[str]]:
    """Returns the rows of a picture and their labels: the clip, then each threshold greyed out (or coloured)."""
    rows = [clip.frames, *(clip.heat if heat else clip.greyed)]
    labels = [threshold_label(*row) for row in zip(clip.thresholds, clip.computed, strict=True)]
    return rows, [f"original\n{len(clip.frames)} frames\n{clip.fps:.4g} per second", *labels]


def draw_sheet(clip: DrawnClip, columns: int = 4, heat: bool = False) -> Image.Image:
    """Returns a sheet: `columns` frames of the clip, evenly spread, and a row for each threshold, labelled on the left.

    Raises:
        ValueError: if there are not as many frames, or `heat` was not drawn.
    """
    if not 1 <= columns <= len(clip.frames):
        raise HfRltError(f"Expected 1 to {len(clip.frames)} columns, received {columns}.")
    shown = np.arange(columns) * len(clip.frames) // columns
    rows, labels = rows_of(clip, heat)
    return _labelled([row[shown] for row in rows], labels, clip.grid[0] if heat else None)


def animated_rows(clip: DrawnClip, heat: bool = False) -> Iterator[np.ndarray]:
    """Returns the frames of an animation, `(H, W, 3)` uint8 each: below the clip each threshold, labelled on the left."""
    rows, labels = rows_of(clip, heat)
    labels[0] = f"original\n{clip.fps:.4g} frames\nper second"
    for i in range(len(clip.frames)):
        yield np.asarray(_labelled([row[i : i + 1] for row in rows], labels, clip.grid[0] if heat else None))


def write_drawing(
    clips: Iterable[DrawnClip], path: str | Path, columns: int = 4, heat: bool = False, fps: float | None = None
) -> Path:
    """Returns the path of a drawing, an animation (.gif, .mp4) of all clips or a sheet (.png, .jpg) of the only one.

    Args:
        clips: as `draw_video` returns them; `[draw_clip(...)]` for one.
        path: written whole or not at all.
        columns: of a sheet.
        heat: whether runs are coloured by their length, rather than greyed out.
        fps: of an animation, if not the clips' own.

    Raises:
        ValueError: for another suffix, no clip, or several clips on a sheet.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    suffix = check_suffix(path)
    rest = iter(clips)
    clip = next(rest, None)
    if clip is None:
        raise HfRltError("Expected at least one clip to draw, received none.")
    if suffix in SUFFIXES:
        frames = (frame for each in chain([clip], rest) for frame in animated_rows(each, heat))
        return write_animation(frames, path, clip.fps if fps is None else fps)
    if next(rest, None) is not None:
        raise HfRltError(f"{path}: expected one clip for a sheet, received several: draw a .gif or .mp4.")
    with atomic_write(path) as part:
        kind = "PNG" if suffix == ".png" else "JPEG"
        draw_sheet(clip, columns, heat).save(part, kind, **SHEETS[suffix])
    return path


def check_suffix(path: Path) -> str:
    """Returns the suffix of a drawing, in small letters; raises unless it is one that can be drawn."""
    known = [*SUFFIXES, *SHEETS]
    if path.suffix.lower() not in known:
        raise HfRltError(f"{path}: expected a file name ending in {', '.join(known)}, received {path.suffix!r}.")
    return path.suffix.lower()


def _labelled(rows: list[np.ndarray], labels: list[str], tubelets: int | None) -> Image.Image:
    """Returns the rows with labels that grow with them; with a legend of run lengths for a number of tubelets."""
    text = min(max(rows[0].shape[1] * TEXT // 224, 11), 3 * TEXT)
    margin, gap = MARGIN * text // TEXT, GAP
    width = rows[0].shape[0] * (rows[0].shape[2] + gap) - gap
    legend = None if tubelets is None else run_legend(tubelets, min(width, 32 * text), margin=margin, text=text)
    return label_rows(rows, labels, gap, margin, text, legend)
