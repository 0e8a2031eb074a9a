# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Folders of tiny models, as `save_pretrained` writes them."""

from pathlib import Path

from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.families import FAMILIES

from .tiny import FRAMES, SIDE, TINY, randomise

LABELS = {k: f"act {k}" for k in range(5)}


def save_model(folder: Path, labels: list[str] | None = None, **changes) -> Path:
    """Save a tiny classifier with its code and processor; return the folder."""
    names = LABELS if labels is None else dict(enumerate(labels))
    config = {**TINY, "id2label": names, "label2id": {name: k for k, name in names.items()}, **changes}
    randomise(RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**config))).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    processor = RLTVideoProcessor(num_frames=FRAMES, frame_stride=2, patch_size=8, size=size, crop_size=size)
    processor.save_pretrained(folder)
    return folder


def save_family(folder: Path, model_type: str, settings: dict, names: list[str]) -> Path:
    """Save a random classifier of any family, for clips of 8 frames of 32 x 32 pixels, and its processor."""
    family = FAMILIES[model_type]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: k for k, name in enumerate(names)}}
    shape = {name: value for name, value in settings.items() if name != "num_labels"}
    randomise(family.classifier(family.config(**shape, **labels))).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    processor = family.processor(num_frames=FRAMES, frame_stride=2, patch_size=8, size=size, crop_size=size)
    processor.save_pretrained(folder)
    return folder
