# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What is checked of a written folder before it takes its place."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import HfRltError
from ..models.modeling_rlt_videomae import RLTVideoMAEPreTrainedModel
from ..models.runs import to_2tuple
from .source import LoadedSource, listed


def check_clip(frames: int, height: int, width: int) -> np.ndarray:
    """Returns a `(frames, height, width, 3)` uint8 clip, always the same: a disc that crosses a still, shaded wall.

    Most of it repeats and some of it moves, as in videos that RLT is made for; nothing in it is random.
    """
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(2 * np.pi * (3 * x + k * y)) * np.cos(np.pi * (k + 1) * y * x) for k in range(3)]
    wall = 0.5 + 0.3 * np.stack(waves, -1) + 0.1 * ((8 * x).astype(int) + (8 * y).astype(int))[..., None] % 2
    clip = np.repeat(wall[None], frames, axis=0)
    for frame in range(frames):
        place = (frame + 0.5) / frames
        disc = (x - place) ** 2 + (y - 0.3 - 0.4 * place) ** 2 < 0.03
        clip[frame][disc] = np.stack([1 - x, y, 0.5 + 0.5 * np.sin(20 * x)], -1)[disc]
    return (255 * clip.clip(0, 1)).astype(np.uint8)


@torch.no_grad()
def check(opened: LoadedSource, folder: Path) -> list[str]:
    """Returns what was found to be equal, in words.

    Args:
        opened: the source, as it was written.
        folder: what was written; it is opened again.

    Raises:
        ValueError: if a weight or an output of the opened folder differs.
    """
    written, loading = type(opened.model).from_pretrained(folder, output_loading_info=True)
    aligned(written.eval())
    aligned(opened.model)
    processor = type(opened.processor).from_pretrained(folder)
    problems = [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in loading[kind]]
    before, after = opened.model.state_dict(), written.state_dict()
    problems += [name for name in before if name not in after or not _equal(before[name], after[name])]
    if problems:
        raise HfRltError(f"Written and opened again, {len(problems)} weights differ: {listed(map(str, problems))}.")
    done = [f"{len(before)} weights, written and opened again: equal."]
    if processor.threshold != written.config.threshold or processor.num_frames != written.config.num_frames:
        raise HfRltError(
            f"Processor and model disagree: threshold {processor.threshold} and {written.config.threshold}, frames "
            f"{processor.num_frames} and {written.config.num_frames}."
        )
    clip = check_clip(written.config.num_frames, *to_2tuple(written.config.image_size))
    inputs = processor(clip, return_tensors="pt")
    pixel_values, lengths = inputs["pixel_values"].to(written.dtype), inputs["run_lengths"]
    share = f"{(lengths > 0).float().mean():.0%} of the tokens computed"
    _same(_output(opened.model, pixel_values, lengths), _output(written, pixel_values, lengths), "with RLT")
    done.append(
        f"Outputs of the written folder on a clip ({share}): equal to those of the model before it was written."
    )
    dense = _output(written, pixel_values, torch.ones_like(lengths))
    if opened.reference is None:
        done.append(
            "The source's own code cannot be run here, so its outputs were not compared; names and shapes fit exactly."
        )
    else:
        _same(aligned(opened.reference())(pixel_values)[0], dense, f"of {opened.reference_name}, dense")
        done.append(f"Dense outputs on the same clip: bit for bit those of {opened.reference_name} on the source.")
    return done


def aligned(model: nn.Module) -> nn.Module:
    """Returns the model with its weights copied to addresses of torch's choice.

    In a mapped file they begin anywhere, and products with a single row round by address: equal weights, unequal bits.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model


def _output(model: RLTVideoMAEPreTrainedModel, pixel_values: Tensor, run_lengths: Tensor) -> Tensor:
    return model(pixel_values, run_lengths=run_lengths)[0]  # logits, or the bare model's tokens


def _same(expected: Tensor, found: Tensor, which: str) -> None:
    if not torch.isfinite(found).all():
        raise HfRltError(
            f"Outputs {which} are not finite: these weights overflow in {found.dtype}; try another --dtype."
        )
    if not _equal(expected, found):
        off = (expected.float() - found.float()).abs().max().item()
        raise HfRltError(f"Outputs {which} differ by up to {off:.3g} after the conversion.")


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
