# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tiny checkpoints on disk, and their conversion."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2VideoProcessor,
)

from hf_rlt import RLTVideoMAEForVideoClassification
from hf_rlt.conversion import Conversion, ConversionSettings, convert

from .reference_layouts import HEADS
from .tiny import FRAMES, SIDE, TINY, TINY_VJEPA2, randomise

ROUNDING = 3e-6  # of float32, on logits of size 1 to 2


def settings(**changes: Any) -> ConversionSettings:
    """Return what the shapes of the tiny original checkpoints do not tell."""
    return ConversionSettings(**{"num_attention_heads": HEADS, "num_frames": FRAMES, "image_size": SIDE, **changes})


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def convert_original(content: object, out: Path, **changes: Any) -> Conversion:
    """Save `content` beside `out` and convert it."""
    return convert(save(out.with_suffix(".pth"), content), out, settings(**changes))


@torch.no_grad()
def dense_logits(folder: Path, clips: Tensor) -> Tensor:
    model, info = RLTVideoMAEForVideoClassification.from_pretrained(folder, threshold=None, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()(clips.to(model.dtype)).logits


def difference(one: Tensor, other: Tensor) -> float:
    return (one.double() - other.double()).abs().max().item()


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in weights.items()}


def save_stock(folder: Path, layout: str = "new") -> VideoMAEForVideoClassification:
    """Write a VideoMAE classifier with labels and a normalisation of its own, its keys in the old or new layout."""
    labels = {"id2label": {i: f"class {i}" for i in range(5)}, "label2id": {f"class {i}": i for i in range(5)}}
    config = VideoMAEConfig(**{k: v for k, v in TINY.items() if k != "num_labels"}, **labels)
    stock = randomise(VideoMAEForVideoClassification(config))
    stock.save_pretrained(folder, save_original_format=layout == "old")
    write_preprocessor(folder)
    return stock


def write_preprocessor(folder: Path, **changes: Any) -> None:
    content = {
        "image_processor_type": "VideoMAEImageProcessor",
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.25, 0.3, 0.35],
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_center_crop": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content | changes))


def save_stock_vjepa2(folder: Path, kind: type = VJEPA2ForVideoClassification, **changes: Any) -> Any:
    """Write a V-JEPA 2 folder with labels and a normalisation of its own, as those on the Hub are laid out."""
    labels = {"id2label": {i: f"class {i}" for i in range(5)}, "label2id": {f"class {i}": i for i in range(5)}}
    stock = randomise(kind(VJEPA2Config(**{**{k: v for k, v in TINY_VJEPA2.items() if k != "num_labels"}, **labels})))
    stock.save_pretrained(folder)
    own = {"crop_size": SIDE, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.25, 0.3, 0.35]}
    VJEPA2VideoProcessor(**{**own, **changes}).save_pretrained(folder)
    return stock
