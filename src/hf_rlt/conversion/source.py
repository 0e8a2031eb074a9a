# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Settings of a conversion, and a source that was read but not written yet."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import HfRltError, check_range, join_limited
from ..families import Family
from ..models.run_rule import RunRule, check_effect
from ..models.video_processing_rlt import RLTVideoProcessor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
WEIGHT_DTYPES = (*DTYPES.values(), torch.float64)
# What VideoMAE's pre-training adds to the encoder, in its own layout and in transformers'.
PRETRAINING_ONLY = ("decoder.", "encoder_to_decoder.", "mask_token")


@dataclass(frozen=True)
class ConversionSettings:
    """What the source does not say, or what is to be changed.

    Args:
        labels: file with the class names: one a line, a JSON list, or a JSON dictionary from index to name or back.
        num_frames: frames of the clips that the weights were trained on; if nothing tells, as the family's published ones.
        image_size: height and width of these clips in pixels; likewise.
        num_attention_heads: needed for widths that no published model of the family has.
        rule: settings of the rule that are not to be the source's own, such as `threshold` (None for dense), see `RunRule`.
        frame_stride: the processor takes every Nth frame; default: the source's own, or the processor's.
        sampling: "clip" (strided) or "uniform" (over the whole video); default: the source's own, or "clip".
        pooling: "mean" or "first" token, for VideoMAE's pre-trained sources; default: as its own fine-tuning pools.
        dtype: "float32", "float16" or "bfloat16"; default: the source's own.
        probe: file of an attentive probe that Meta trained on an original V-JEPA 2 encoder, which makes it a classifier.

    Raises:
        HfRltError: if a setting has no meaning.
    """

    labels: str | Path | None = None
    num_frames: int | None = None
    image_size: int | None = None
    num_attention_heads: int | None = None
    rule: Mapping[str, Any] = field(default_factory=dict)
    frame_stride: int | None = None
    sampling: str | None = None
    pooling: str | None = None
    dtype: str | None = None
    probe: str | Path | None = None

    def __post_init__(self) -> None:
        choices = {"sampling": ("clip", "uniform"), "pooling": ("mean", "first"), "dtype": tuple(DTYPES)}
        for name, allowed in choices.items():
            if getattr(self, name) not in (None, *allowed):
                raise HfRltError(
                    f"Expected {name} to be one of {', '.join(allowed)}, received {getattr(self, name)!r}."
                )
        for name in ("num_frames", "image_size", "num_attention_heads", "frame_stride"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1)
        check_effect(self.rule, RunRule(**self.rule))  # making it raises for settings that make no rule

    def check_same(self, source: object, told: dict[str, Any]) -> None:
        """Raise HfRltError if a setting contradicts what a source tells of itself."""
        for name, value in told.items():
            asked = getattr(self, name)
            if asked not in (None, value):
                opened = f", then open it with from_pretrained(OUT, {name}={asked})"
                raise HfRltError(
                    f"{source}: was trained with {name} {value!r}, received {asked!r}. Convert it as it is"
                    f"{opened if name in ('num_frames', 'image_size') else ''}."
                )

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the named settings that differ from their defaults."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value != getattr(ConversionSettings, name)}


@dataclass
class LoadedSource:
    """A source, read and understood.

    Attributes:
        kind: what it was, in words.
        model: with the source's weights, in evaluation mode.
        processor: agreeing with the model.
        notes: for people: what was dropped, assumed, or may not carry over.
        open_reference: opens the source with its own class, dense; None where that cannot be run here.
    """

    kind: str
    model: PreTrainedModel
    processor: RLTVideoProcessor
    notes: list[str] = field(default_factory=list)
    open_reference: Callable[[], nn.Module] | None = None


def check_keys(source: object, network: str, misfits: Mapping[str, Iterable[str]]) -> None:
    """Raise HfRltError that counts and names the weights of each kind that do not fit the network, if there are any."""
    found = {kind: sorted(names) for kind, names in misfits.items()}
    parts = [f"{len(names)} {kind}: {join_limited(names)}" for kind, names in found.items() if names]
    if parts:
        raise HfRltError(f"{source}: refused, its weights are not {network}'s. {'; '.join(parts)}.")


def no_pooling(source: object, family: Family) -> HfRltError:
    """Return the error for a choice of pooling where there is none."""
    return HfRltError(f"{source}: {family.name} has no choice between mean and first token: leave --pooling out.")


def check_finite(source: object, weights: dict[str, Tensor]) -> None:
    """Raise HfRltError that names the weights with NaN or infinite values, if there are any."""
    broken = sorted(name for name, value in weights.items() if not torch.isfinite(value).all())
    if broken:
        raise HfRltError(
            f"{source}: refused, NaN or infinite values in {len(broken)} of {len(weights)} weights: "
            f"{join_limited(broken)}. Take an earlier checkpoint of that training."
        )


def pretraining_note(names: Iterable[str]) -> list[str]:
    """Return a note on weights of pre-training alone that were dropped, if there are any."""
    names = sorted(names)
    return [
        f"Dropped {len(names)} weights of pre-training alone: {join_limited(names, 3)}. Fine-tuning starts from the encoder."
    ] * bool(names)
