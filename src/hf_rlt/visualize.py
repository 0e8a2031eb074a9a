# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Pictures of what RLT computes: dropped patches greyed out."""

import numpy as np
import torch
from PIL import Image

from .runs import grid_size


def grey_dropped(
    frames: np.ndarray,
    run_lengths: torch.Tensor,
    tubelet_size: int = 2,
    patch_size: int = 16,
    grey: int = 128,
    strength: float = 0.85,
) -> np.ndarray:
    """Returns `(F, H, W, 3)` uint8: the frames, with every dropped tubelet faded towards grey.

    Args:
        frames: `(F, H, W, 3)` uint8, as the model sees them (resized and cropped).
        run_lengths: `(N,)` integers of this clip; 0 = dropped.
        tubelet_size: frames in a tubelet.
        patch_size: side of a patch in pixels.
        grey: the grey level, 0..255.
        strength: 0 leaves the frames, 1 hides dropped patches altogether.

    Raises:
        ValueError: if the run lengths are not those of a clip of this size.

    Source: the greyed-out figures of arXiv 2411.05222.
    """
    count, height, width, _ = frames.shape
    tubelets, rows, columns = grid_size((count, 3, height, width), tubelet_size, patch_size)
    if run_lengths.numel() != tubelets * rows * columns:
        raise ValueError(
            f"Expected {tubelets * rows * columns} run lengths for {count} frames of {height}x{width}, received "
            f"{run_lengths.numel()}: pass the frames the run lengths were found on."
        )
    dropped = (run_lengths.reshape(tubelets, rows, columns) == 0).cpu().numpy()
    mask = dropped.repeat(tubelet_size, 0).repeat(patch_size, 1).repeat(patch_size, 2)[..., None]
    picture = frames.astype(np.float32)
    used = picture[: mask.shape[0], : mask.shape[1], : mask.shape[2]]
    used[:] = np.where(mask, used * (1 - strength) + grey * strength, used)
    return picture.round().clip(0, 255).astype(np.uint8)


def pixels_to_frames(pixel_values: torch.Tensor, image_mean: list[float], image_std: list[float]) -> np.ndarray:
    """Returns `(F, H, W, C)` uint8 frames of one normalised clip `(F, C, H, W)`."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (image_mean, image_std))
    pixels = (pixel_values.float().cpu() * std + mean).mul(255).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).numpy()


def sheet(rows: list[np.ndarray], gap: int = 4) -> Image.Image:
    """Returns one picture: each `(F, H, W, 3)` uint8 array is a row of frames; all arrays share one shape.

    Raises:
        ValueError: if there is no row, or shapes differ.
    """
    shapes = {row.shape for row in rows}
    if len(shapes) != 1:
        raise ValueError(f"Expected rows of one shape, received {sorted(shapes) or 'none'}.")
    count, height, width, _ = rows[0].shape
    canvas = Image.new("RGB", (count * (width + gap) - gap, len(rows) * (height + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            canvas.paste(Image.fromarray(frame), (x * (width + gap), y * (height + gap)))
    return canvas
