# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Pictures of what RLT computes: dropped patches greyed out, runs coloured by their length, rows with labels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..errors import HfRltError
from ..models.runs import fill_runs, grid_size, to_2tuple

GAP, MARGIN, TEXT = 4, 132, 15  # pixels: between frames, for the labels on the left, height of the letters
COLORMAP = "plasma_r"  # bright is what moves
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Source: ITU-R BT.601


def grey_dropped(
    frames: np.ndarray,
    run_lengths: torch.Tensor,
    tubelet_size: int = 2,
    patch_size: int | Sequence[int] = 16,
    grey: int = 128,
    strength: float = 0.85,
) -> np.ndarray:
    """Returns `(F, H, W, 3)` uint8: the frames, with every dropped tubelet faded towards grey.

    Args:
        frames: `(F, H, W, 3)` uint8, as the model sees them (resized and cropped).
        run_lengths: `(N,)` integers of this clip; 0 = dropped.
        tubelet_size: frames in a tubelet.
        patch_size: side of a patch in pixels, or `(height, width)`.
        grey: the grey level, 0..255.
        strength: 0 leaves the frames, 1 hides dropped patches altogether.

    Raises:
        ValueError: if the run lengths are not those of a clip of this size.

    Source: the greyed-out figures of arXiv 2411.05222.
    """
    dropped = _on_grid(frames, run_lengths, tubelet_size, patch_size) == 0
    mask = _to_pixels(dropped.cpu().numpy(), tubelet_size, patch_size)[..., None]
    return _blend(frames, np.where(mask, np.float32(strength), np.float32(0)), np.float32(grey))


def colour_runs(
    frames: np.ndarray,
    run_lengths: torch.Tensor,
    tubelet_size: int = 2,
    patch_size: int | Sequence[int] = 16,
    colormap: str = COLORMAP,
    strength: float = 0.6,
) -> np.ndarray:
    """Returns `(F, H, W, 3)` uint8: the frames in grey, every tubelet tinted by the length of the run it belongs to.

    Args:
        frames, run_lengths, tubelet_size, patch_size: as for `grey_dropped`.
        colormap: matplotlib's name of it; its first colour is a run of one tubelet, its last one of the whole clip.
        strength: 0 leaves the frames in grey, 1 hides them under the colours.

    Places that no run covers (tokens dropped at random) stay grey, without colour.

    Raises:
        ValueError: if the run lengths are not those of a clip of this size.
        ImportError: without matplotlib, naming the remedy.
    """
    lengths = _on_grid(frames, run_lengths, tubelet_size, patch_size)
    flat = lengths.reshape(1, -1)
    covering = fill_runs(flat, flat, lengths.shape[0])[0].reshape(lengths.shape).cpu().numpy()
    colours = np.concatenate([np.zeros((1, 3), np.uint8), run_colours(lengths.shape[0], colormap)])
    picture = np.broadcast_to((frames.astype(np.float32) @ LUMA)[..., None], frames.shape)
    tint = _to_pixels(colours[covering], tubelet_size, patch_size).astype(np.float32)
    mask = _to_pixels(covering > 0, tubelet_size, patch_size)[..., None]
    return _blend(picture, np.where(mask, np.float32(strength), np.float32(0)), tint)


def run_colours(tubelets: int, colormap: str = COLORMAP) -> np.ndarray:
    """Returns `(tubelets, 3)` uint8: the colours of runs of 1, 2, ... tubelets.

    Raises:
        ValueError: if matplotlib has no such colormap.
        ImportError: without matplotlib, naming the remedy.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("Colouring runs needs matplotlib: `pip install hf_rlt[plot]`.") from error
    if colormap not in matplotlib.colormaps:
        raise HfRltError(f"Expected a colormap of matplotlib such as {COLORMAP}, received {colormap!r}.")
    return matplotlib.colormaps[colormap](np.linspace(0, 1, tubelets), bytes=True)[:, :3]


def run_legend(
    tubelets: int, width: int, colormap: str = COLORMAP, margin: int = MARGIN, text: int = TEXT
) -> np.ndarray:
    """Returns `(height, margin + width, 3)` uint8: a strip of the colours of `run_colours`, and the lengths below them.

    Args:
        tubelets: the longest run.
        width: of the strip, in pixels.
        colormap: see `colour_runs`.
        margin: on the left of the strip, for what it is called.
        text: height of the letters.

    Raises:
        ValueError, ImportError: as `run_colours`.
    """
    edges = np.linspace(margin, margin + width, tubelets + 1).round().astype(int).tolist()
    canvas = Image.new("RGB", (margin + width, 3 * text), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(text)
    pen.multiline_text((margin // 2, 3 * text // 2), "run length\nin tubelets", "black", font, "mm", align="center")
    # Where many lengths share the strip not every one gets its number, but the first and the last do.
    step = max(1, math.ceil((pen.textlength(str(tubelets), font) + text / 2) * tubelets / width))
    numbered = {1, *range(1 + step, tubelets - step + 1, step), tubelets}
    for k, colour in enumerate(run_colours(tubelets, colormap), start=1):
        left, right = edges[k - 1], edges[k]
        pen.rectangle((left, 0, right - 1, 3 * text // 2), tuple(int(value) for value in colour))
        if k in numbered:
            pen.text(((left + right) // 2, 2.3 * text), str(k), "black", font, "mm")
    return np.asarray(canvas)


def pixels_to_frames(pixel_values: torch.Tensor, image_mean: list[float], image_std: list[float]) -> np.ndarray:
    """Returns `(F, H, W, C)` uint8 frames of one normalised clip `(F, C, H, W)`."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (image_mean, image_std))
    pixels = (pixel_values.float().cpu() * std + mean).mul(255).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).numpy()


def sheet(rows: Sequence[np.ndarray], gap: int = GAP) -> Image.Image:
    """Returns one picture: each `(F, H, W, 3)` uint8 array is a row of frames; all arrays share one shape.

    Raises:
        ValueError: if there is no row, or shapes differ.
    """
    shapes = {row.shape for row in rows}
    if len(shapes) != 1:
        raise HfRltError(f"Expected rows of one shape, received {sorted(shapes) or 'none'}.")
    count, height, width, _ = rows[0].shape
    canvas = Image.new("RGB", (count * (width + gap) - gap, len(rows) * (height + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            canvas.paste(Image.fromarray(frame), (x * (width + gap), y * (height + gap)))
    return canvas


def threshold_label(threshold: float | None, computed: float) -> str:
    """Returns what a row is called that shows a threshold (None: dense) and the share of tokens it computes."""
    name = "dense" if threshold is None else f"threshold {threshold:g}"
    return f"{name}\n{100 * computed:.1f} % of\ntokens computed"


def row_labels(
    labels: Sequence[str], height: int, gap: int = GAP, margin: int = MARGIN, text: int = TEXT
) -> np.ndarray:
    """Returns `(rows * (height + gap) - gap, margin, 3)` uint8: a column of labels, one centred beside each row.

    Args:
        labels: of the rows, from the top; lines too wide for the margin are cut in their middle.
        height: of a row, in pixels.
        gap: between rows.
        margin: width of the column.
        text: height of the letters.
    """
    canvas = Image.new("RGB", (margin, len(labels) * (height + gap) - gap), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(text)
    for i, label in enumerate(labels):
        middle = (margin // 2, i * (height + gap) + height // 2)
        pen.multiline_text(middle, _fitting(pen, label, font, margin - 2 * gap), "black", font, "mm", align="center")
    return np.asarray(canvas)


def label_rows(
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    gap: int = GAP,
    margin: int = MARGIN,
    text: int = TEXT,
    legend: np.ndarray | None = None,
) -> Image.Image:
    """Returns one picture: the `sheet` of the rows, each with its label on the left.

    Args:
        rows: `(columns, H, W, 3)` uint8 each, of one shape.
        labels, gap, margin, text: see `row_labels`.
        legend: `(height, width, 3)` uint8 to stand below, no wider than margin and rows are.

    Raises:
        ValueError: if there is no row, shapes differ, or there is not one label for each row.
    """
    if len(labels) != len(rows):
        raise HfRltError(f"Expected a label for each of {len(rows)} rows, received {len(labels)}.")
    body = np.asarray(sheet(rows, gap))
    picture = np.concatenate([row_labels(labels, rows[0].shape[1], gap, margin, text), body], axis=1)
    if legend is not None:
        below = np.full((gap + legend.shape[0], *picture.shape[1:]), 255, np.uint8)
        below[gap:, : legend.shape[1]] = legend
        picture = np.concatenate([picture, below])
    return Image.fromarray(picture)


def _on_grid(
    frames: np.ndarray, run_lengths: torch.Tensor, tubelet_size: int, patch_size: int | Sequence[int]
) -> torch.Tensor:
    """Returns the run lengths as `(T, H', W')`; raises unless they are those of the frames."""
    count, height, width, _ = frames.shape
    tubelets, rows, columns = grid_size((count, 3, height, width), tubelet_size, to_2tuple(patch_size))
    if run_lengths.numel() != tubelets * rows * columns:
        raise HfRltError(
            f"Expected {tubelets * rows * columns} run lengths for {count} frames of {height}x{width}, received "
            f"{run_lengths.numel()}: pass the frames the run lengths were found on."
        )
    return run_lengths.reshape(tubelets, rows, columns)


def _to_pixels(grid: np.ndarray, tubelet_size: int, patch_size: int | Sequence[int]) -> np.ndarray:
    height, width = to_2tuple(patch_size)
    return grid.repeat(tubelet_size, 0).repeat(height, 1).repeat(width, 2)


def _blend(frames: np.ndarray, strength: np.ndarray, towards: Any) -> np.ndarray:
    """Returns the frames as uint8, blended where the grid lies; what is beyond its last whole tubelet stays."""
    picture = frames.astype(np.float32)
    used = picture[: strength.shape[0], : strength.shape[1], : strength.shape[2]]
    used[:] = used * (1 - strength) + towards * strength
    return picture.round().clip(0, 255).astype(np.uint8)


def _fitting(pen: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    """Returns the text with lines that are too wide cut in their middle."""
    lines = []
    for line in text.split("\n"):
        keep = len(line)
        short = line
        while keep and pen.textlength(short, font) > width:
            keep -= 1
            short = f"{line[: keep - keep // 2]}...{line[len(line) - keep // 2 :]}"
        lines.append(short)
    return "\n".join(lines)
