# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a conversion is asked for, and what a source becomes before it is written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import HfRltError
from ..models.modeling_rlt_videomae import RLTVideoMAEPreTrainedModel
from ..models.video_processing_rlt import RLTVideoProcessor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
WEIGHT_DTYPES = (*DTYPES.values(), torch.float64)
POOLINGS = ("mean", "first")
SAMPLINGS = ("clip", "uniform")
SHOWN_KEYS = 8
# What VideoMAE's pre-training adds to the encoder, in its own layout and in transformers'.
PRETRAINING_ONLY = ("decoder.", "encoder_to_decoder.", "mask_token")


@dataclass(frozen=True)
class ConversionSettings:
    """What the source does not say, or what is to be changed.

    Args:
        labels: file with the classes' names: one a line, a JSON list, or a JSON dictionary from index to name or back.
        num_frames: frames of the clips that the weights were trained on; 16 if nothing tells.
        image_size: height and width of these clips in pixels; 224 if nothing tells.
        num_attention_heads: needed for widths that no published VideoMAE has; shapes of weights do not tell.
        threshold: a number, None (dense), or "model": the source's own, 0.1 where it has none.
        frame_stride: distance of a clip's frames, for the processor; the source's own, or 4.
        sampling: "clip" (strided) or "uniform" (over the whole video), for the processor; the source's own, or "clip".
        pooling: "mean" or "first" token, for pre-trained sources; as the source's own fine-tuning pools if not given.
        dtype: "float32", "float16" or "bfloat16"; the source's own if not given.

    Raises:
        ValueError: naming the setting, what was expected and what was received.
    """

    labels: str | Path | None = None
    num_frames: int | None = None
    image_size: int | None = None
    num_attention_heads: int | None = None
    threshold: float | str | None = "model"
    frame_stride: int | None = None
    sampling: str | None = None
    pooling: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        choices = {"sampling": SAMPLINGS, "pooling": POOLINGS, "dtype": tuple(DTYPES)}
        for name, allowed in choices.items():
            if getattr(self, name) not in (None, *allowed):
                raise HfRltError(
                    f"Expected {name} to be one of {', '.join(allowed)}, received {getattr(self, name)!r}."
                )
        for name in ("num_frames", "image_size", "num_attention_heads", "frame_stride"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise HfRltError(f"Expected {name} >= 1, received {getattr(self, name)}.")
        if isinstance(self.threshold, str) and self.threshold != "model":
            raise HfRltError(f'Expected threshold to be a number, None or "model", received {self.threshold!r}.')

    def changed_threshold(self) -> dict[str, Any]:
        """Returns `{"threshold": ...}` if it was given, else nothing."""
        return {} if self.threshold == "model" else {"threshold": self.threshold}

    def sampling_changes(self) -> dict[str, Any]:
        """Returns the processor's settings that were given and say how frames are sampled."""
        given = {"frame_stride": self.frame_stride, "sampling": self.sampling}
        return {name: value for name, value in given.items() if value is not None}


@dataclass
class LoadedSource:
    """A source, read and understood.

    Attributes:
        kind: what it was, in words.
        model: with the source's weights.
        processor: agreeing with the model.
        notes: what a person should know: what was dropped, assumed, or may not carry over.
        reference: opens the source with its own class, every token computed; None where that cannot be run here.
        reference_name: of that class.
    """

    kind: str
    model: RLTVideoMAEPreTrainedModel
    processor: RLTVideoProcessor
    notes: list[str] = field(default_factory=list)
    reference: Callable[[], nn.Module] | None = None
    reference_name: str = ""


def listed(names: Iterable[str], shown: int = SHOWN_KEYS) -> str:
    """Returns up to `shown` names, sorted, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return ", ".join(ordered[:shown]) + more


def check_keys(source: object, misfits: dict[str, Iterable[str]]) -> None:
    """Returns nothing; raises a ValueError that counts and names the keys of each kind of misfit, if there are any."""
    found = {kind: list(names) for kind, names in misfits.items()}
    parts = [f"{len(names)} {kind}: {listed(names)}" for kind, names in found.items() if names]
    if parts:
        raise HfRltError(
            f"{source}: refused, its weights are not VideoMAE's. {'; '.join(parts)}. Nothing was written; pass the "
            "checkpoint as its authors published it."
        )


def check_finite(source: object, weights: dict[str, Tensor]) -> None:
    """Returns nothing; raises a ValueError that names the weights with NaN or infinite values, if there are any."""
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise HfRltError(
            f"{source}: refused, NaN or infinite values in {len(broken)} of {len(weights)} weights: {listed(broken)}. Take "
            "an earlier checkpoint of that training."
        )
