# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Draw what RLT computes: dropped patches in grey, runs coloured by their length, runs filled, labels."""

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
GREY, GREY_STRENGTH, COLOUR_STRENGTH = 128, 0.85, 0.6  # strength 0 leaves the picture, 1 hides it
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Source: ITU-R BT.601
Size = int | Sequence[int]


def grey_dropped(
    frames: np.ndarray, run_lengths: torch.Tensor, tubelet_size: int = 2, patch_size: Size = 16
) -> np.ndarray:
    """Fade every dropped tubelet of a clip towards grey.

    Args:
        frames: `(F, H, W, 3)` uint8, as the model sees them (resized and cropped).
        run_lengths: `(N,)` integers of this clip; 0 = dropped.
        tubelet_size: frames in a tubelet.
        patch_size: side of a patch in pixels, or `(height, width)`.

    Source: the greyed-out figures of arXiv 2411.05222.
    """
    dropped = _on_grid(frames, run_lengths, tubelet_size, patch_size).cpu().numpy() == 0
    return _blend(frames, _to_pixels(dropped, tubelet_size, patch_size), GREY_STRENGTH, np.float32(GREY))


def colour_runs(
    frames: np.ndarray, run_lengths: torch.Tensor, tubelet_size: int = 2, patch_size: Size = 16
) -> np.ndarray:
    """Turn a clip to grey, and tint every tubelet by the length of the run it belongs to.

    Tubelets that no run covers (tokens dropped at random) get no colour. Arguments are those of `grey_dropped`. Needs
    matplotlib.
    """
    lengths = _on_grid(frames, run_lengths, tubelet_size, patch_size)
    flat = lengths.reshape(1, -1)
    covering = fill_runs(flat, flat, lengths.shape[0])[0].reshape(lengths.shape).cpu().numpy()
    colours = np.concatenate([np.zeros((1, 3), np.uint8), run_colours(lengths.shape[0])])
    tint = _to_pixels(colours[covering], tubelet_size, patch_size).astype(np.float32)
    picture = np.broadcast_to((frames.astype(np.float32) @ LUMA)[..., None], frames.shape)
    return _blend(picture, _to_pixels(covering > 0, tubelet_size, patch_size), COLOUR_STRENGTH, tint)


def reconstruct(
    frames: np.ndarray, run_lengths: torch.Tensor, tubelet_size: int = 2, patch_size: Size = 16
) -> np.ndarray:
    """Show every dropped tubelet of a clip as the token that stands for it: what the model is told of the video.

    Tubelets that no run covers become 0. What is beyond the last whole tubelet stays. Arguments are those of
    `grey_dropped`; the frames may be of any type and number of channels.
    """
    tubelets, rows, columns = _on_grid(frames, run_lengths, tubelet_size, patch_size).shape
    (height, width), channels, result = to_2tuple(patch_size), frames.shape[-1], frames.copy()
    used = result[: tubelets * tubelet_size, : rows * height, : columns * width]  # a view: written to below
    split = used.reshape(tubelets, tubelet_size, rows, height, columns, width, channels).transpose(0, 2, 4, 1, 3, 5, 6)
    tokens = torch.from_numpy(split.reshape(1, tubelets * rows * columns, -1))
    filled = fill_runs(tokens, run_lengths.reshape(1, -1).cpu(), tubelets).numpy()
    used[:] = filled.reshape(split.shape).transpose(0, 3, 1, 4, 2, 5, 6).reshape(used.shape)
    return result


def run_colours(tubelets: int) -> np.ndarray:
    """Return the colours `(tubelets, 3)` uint8 of runs of 1, 2, ... tubelets; raise HfRltError without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise HfRltError("Colouring runs needs matplotlib: `pip install hf_rlt[plot]`.") from error
    return matplotlib.colormaps[COLORMAP](np.linspace(0, 1, tubelets), bytes=True)[:, :3]


def run_legend(tubelets: int, width: int, text: int = TEXT) -> np.ndarray:
    """Draw a strip, `width` pixels wide, of the colours of runs, with their lengths below it and a margin on its left."""
    margin = MARGIN * text // TEXT
    edges = np.linspace(margin, margin + width, tubelets + 1).round().astype(int).tolist()
    canvas = Image.new("RGB", (margin + width, 3 * text), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(text)
    pen.multiline_text((margin // 2, 3 * text // 2), "run length\nin tubelets", "black", font, "mm", align="center")
    # Where there is no room for every number, the first and the last are written.
    step = max(1, math.ceil((pen.textlength(str(tubelets), font) + text / 2) * tubelets / width))
    numbered = {1, *range(1 + step, tubelets - step + 1, step), tubelets}
    for k, colour in enumerate(run_colours(tubelets).tolist(), start=1):
        left, right = edges[k - 1], edges[k]
        pen.rectangle((left, 0, right - 1, 3 * text // 2), tuple(colour))
        if k in numbered:
            pen.text(((left + right) // 2, 2.3 * text), str(k), "black", font, "mm")
    return np.asarray(canvas)


def label_rows(
    rows: Sequence[np.ndarray], labels: Sequence[str], text: int = TEXT, legend: np.ndarray | None = None
) -> Image.Image:
    """Draw rows of frames below each other, each with its label on the left.

    Args:
        rows: `(columns, H, W, 3)` uint8 each, of one shape.
        labels: one for each row; lines too wide for the margin are cut in their middle.
        text: height of the letters.
        legend: `(height, width, 3)` uint8 to stand below, no wider than margin and rows are.
    """
    count, height, width, _ = rows[0].shape
    margin, below = MARGIN * text // TEXT, 0 if legend is None else GAP + legend.shape[0]
    size = (margin + count * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP + below)
    canvas = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(text)
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = i * (height + GAP)
        lines = "\n".join(_shorten(pen, line, font, margin - 2 * GAP) for line in label.split("\n"))
        pen.multiline_text((margin // 2, top + height // 2), lines, "black", font, "mm", align="center")
        for k, frame in enumerate(row):
            canvas.paste(Image.fromarray(frame), (margin + k * (width + GAP), top))
    if legend is not None:
        canvas.paste(Image.fromarray(legend), (0, size[1] - legend.shape[0]))
    return canvas


def _on_grid(frames: np.ndarray, run_lengths: torch.Tensor, tubelet_size: int, patch_size: Size) -> torch.Tensor:
    """Return the run lengths as `(T, H', W')`; raise unless they are those of the frames."""
    count, height, width, _ = frames.shape
    grid = grid_size((count, 3, height, width), tubelet_size, to_2tuple(patch_size))
    if run_lengths.numel() != math.prod(grid):
        received = f"received {run_lengths.numel()} and {count} frames of {height}x{width}"
        raise HfRltError(f"Expected {math.prod(grid)} run lengths and their frames, {received}.")
    return run_lengths.reshape(grid)


def _to_pixels(grid: np.ndarray, tubelet_size: int, patch_size: Size) -> np.ndarray:
    height, width = to_2tuple(patch_size)
    return grid.repeat(tubelet_size, 0).repeat(height, 1).repeat(width, 2)


def _blend(frames: np.ndarray, mask: np.ndarray, strength: float, towards: Any) -> np.ndarray:
    """Blend the frames where the mask says; leave what is beyond the last whole tubelet as it is."""
    picture, amount = frames.astype(np.float32), np.float32(strength) * mask[..., None]
    used = picture[: mask.shape[0], : mask.shape[1], : mask.shape[2]]
    used[:] = used * (1 - amount) + towards * amount
    return picture.round().clip(0, 255).astype(np.uint8)


def _shorten(pen: ImageDraw.ImageDraw, line: str, font: Any, width: int) -> str:
    """Cut a line that is too wide in its middle."""
    keep, short = len(line), line
    while keep and pen.textlength(short, font) > width:
        keep -= 1
        short = f"{line[: keep - keep // 2]}...{line[len(line) - keep // 2 :]}"
    return short
