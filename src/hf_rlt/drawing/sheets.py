# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write drawings of clips to files: sheets, GIFs and MP4s, with labels on the left."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from PIL import Image

from ..errors import HfRltError
from ..jobs.atomic import atomic_write
from .animation import SUFFIXES, write_animation
from .drawn_clip import DrawnClip
from .overlays import GAP, TEXT, label_rows, run_legend

LETTERS = 18  # of a line in the margin
SHEETS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG", "optimize": True},
    ".jpg": {"format": "JPEG", "quality": 88},
    ".jpeg": {"format": "JPEG", "quality": 88},
}


def draw_sheet(clip: DrawnClip, columns: int = 4, heat: bool = False) -> Image.Image:
    """Draw `columns` frames of the clip, evenly spread, and below them the rows of each threshold."""
    if not 1 <= columns <= len(clip.frames):
        raise HfRltError(f"Expected 1 to {len(clip.frames)} columns, received {columns}.")
    return _labelled(clip, np.arange(columns) * len(clip.frames) // columns, heat, f"{len(clip.frames)} frames")


def animated_rows(clip: DrawnClip, heat: bool = False) -> Iterator[np.ndarray]:
    """Yield the frames of an animation, `(H, W, 3)` uint8 each: the clip, and below it each threshold."""
    for i in range(len(clip.frames)):
        yield np.asarray(_labelled(clip, np.array([i]), heat))


def plain_rows(clip: DrawnClip, heat: bool = False, gap: int = 0) -> Iterator[np.ndarray]:
    """Yield the frames of an animation without words: the clip, and beside it each threshold's, `gap` pixels apart."""
    between = np.full((clip.frames.shape[1], gap, 3), 255, np.uint8)
    for i in range(len(clip.frames)):
        beside = [part for row in (clip.heat if heat else clip.greyed) for part in (between, row[i])]
        yield np.concatenate([clip.frames[i], *beside], axis=1)


def write_drawing(
    clips: Iterable[DrawnClip], path: str | Path, columns: int = 4, heat: bool = False, plain: bool = False
) -> Path:
    """Write an animation (.gif, .mp4) of all clips, or a sheet (.png, .jpg) of the only one; return its path.

    Args:
        clips: as `draw_video` returns them; `[draw_clip(...)]` for one.
        path: written atomically.
        columns: of a sheet.
        heat: colour runs by their length, rather than greying out what is dropped.
        plain: side by side and without words; for animations.
    """
    path, rest = Path(path), iter(clips)
    suffix, known = path.suffix.lower(), [*SUFFIXES, *SHEETS]
    if suffix not in known:
        raise HfRltError(f"{path}: expected a file name ending in {', '.join(known)}, received {path.suffix!r}.")
    clip = next(rest, None)
    if clip is None:
        raise HfRltError("Expected at least one clip to draw, received none.")
    if suffix in SUFFIXES:
        rows = plain_rows if plain else animated_rows
        frames = (frame for each in chain([clip], rest) for frame in rows(each, heat))
        return write_animation(frames, path, clip.fps)
    if plain:
        raise HfRltError(f"{path}: expected a .gif or .mp4 to draw side by side, received {suffix!r}.")
    if next(rest, None) is not None:
        raise HfRltError(f"{path}: expected one clip for a sheet, received several: draw a .gif or .mp4.")
    with atomic_write(path) as part:
        draw_sheet(clip, columns, heat).save(part, **SHEETS[suffix])
    return path


def _labelled(clip: DrawnClip, shown: np.ndarray, heat: bool, count: str = "") -> Image.Image:
    """Draw some frames of a clip, and below them each threshold; letters grow with the frames."""
    height, width = clip.frames.shape[1:3]
    text = min(max(height * TEXT // 224, 11), 3 * TEXT)
    rate = f"{count}\n{clip.fps:.4g} per second" if count else f"{clip.fps:.4g} frames\nper second"
    names = [fill(rule, LETTERS) for rule in clip.rules]
    shares = [f"{100 * share:.1f} % of\ntokens computed" for share in clip.computed]
    labels = [f"{name}\n{share}" for name, share in zip(names, shares, strict=True)]
    rows = [clip.heat if heat else clip.greyed]
    if clip.reconstructed:  # below each threshold's row
        rows.append(clip.reconstructed)
        labels = [label for own in labels for label in (own, "reconstructed\nfrom these tokens")]
    pictures = [clip.frames, *(row for threshold in zip(*rows, strict=True) for row in threshold)]
    strip = min(len(shown) * (width + GAP) - GAP, 32 * text)
    legend = run_legend(clip.grid[0], strip, text) if heat else None
    return label_rows([row[shown] for row in pictures], [f"original\n{rate}", *labels], text, legend)
