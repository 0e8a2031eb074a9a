# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Open a written folder and compare it with its source, before it takes its place."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import HfRltError, join_limited
from .source import LoadedSource

CHECKED_TUBELETS = 8


def check_clip(frames: int, height: int, width: int) -> np.ndarray:
    """Return a `(frames, height, width, 3)` uint8 clip, always the same: a square that crosses a still wall."""
    clip = np.repeat(np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8), frames, axis=0)
    for frame, x in enumerate(np.linspace(0, 2 * width // 3, frames, dtype=int)):
        square = clip[frame, height // 3 : 2 * height // 3, x : x + width // 3]
        square[:] = 255 - square
    return clip


@torch.no_grad()
def check(opened: LoadedSource, folder: Path) -> list[str]:
    """Open a written folder again, compare it with its source, and return in words what is equal.

    Raises:
        HfRltError: if a weight or an output of the opened folder differs.
    """
    written, loading = type(opened.model).from_pretrained(folder, output_loading_info=True)
    before, after = align(opened.model).state_dict(), align(written.eval()).state_dict()
    problems = {str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in loading[kind]}
    problems |= {name for name in before if name not in after or not _equal(before[name], after[name])}
    if problems:
        raise HfRltError(f"Written and opened again, {len(problems)} weights differ: {join_limited(sorted(problems))}.")
    config, processor = written.config, type(opened.processor).from_pretrained(folder)
    if processor.run_rule != config.run_rule or processor.num_frames != config.num_frames:
        raise HfRltError(
            f"Processor and model disagree: {processor.run_rule} and {config.run_rule}, {processor.num_frames} and "
            f"{config.num_frames} frames."
        )
    inputs = processor(check_clip(_check_frames(config), *config.clip_shape[2:]), return_tensors="pt")
    pixels, lengths = inputs["pixel_values"].to(written.dtype), inputs["run_lengths"]
    _compare(opened.model(pixels, run_lengths=lengths)[0], written(pixels, run_lengths=lengths)[0], "with RLT")
    done = [
        f"{len(before)} weights, written and opened again: equal.",
        f"Outputs of the written folder on a clip ({(lengths > 0).float().mean():.0%} of the tokens computed): equal to "
        "those of the model before it was written.",
    ]
    if opened.open_reference is None:
        done.append(
            "The source's own code cannot be run here, so its outputs were not compared; names and shapes fit exactly."
        )
        return done
    reference = align(opened.open_reference())
    name, dense = type(reference).__name__, written(pixels, run_lengths=torch.ones_like(lengths))[0]
    _compare(reference(pixels)[0], dense, f"of {name}, dense")
    return [*done, f"Dense outputs on the same clip: bit for bit those of {name} on the source."]


def _check_frames(config: Any) -> int:
    """Return the frames of the clip to compare: a model that takes any number is compared on few, which take less time."""
    frames: int = config.num_frames
    few = config.any_frames and config.run_rule.wanted_tokens is None  # a budget is one of whole clips
    return min(frames, CHECKED_TUBELETS * config.tubelet_size) if few else frames


def align(model: nn.Module) -> nn.Module:
    """Copy the weights to addresses of torch's choice; return the model.

    In a mapped file they begin anywhere, and products with a single row round by address: equal weights, unequal bits.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model


def _compare(expected: Tensor, found: Tensor, which: str) -> None:
    if not torch.isfinite(found).all():
        raise HfRltError(
            f"Outputs {which} are not finite: these weights overflow in {found.dtype}; try another --dtype."
        )
    if not _equal(expected, found):
        off = (expected.float() - found.float()).abs().max().item()
        raise HfRltError(f"Outputs {which} differ by up to {off:.3g} after the conversion.")


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
