# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What travels with an exported model: how to make its inputs from a video, and what its outputs mean."""

from typing import Any

from ..inference.runner import score_kind
from ..models.run_rule import rule_settings
from ..models.runs import to_2tuple
from ..models.video_pixels import PIXEL_SETTINGS
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES

INPUTS = {
    "tubelets": "(batch, tokens, channels * frames * rows * columns of a tubelet) float32, normalised, flattened in that "
    "order; 0 in padding",
    "places": "(batch, tokens) int64: (t * rows + row) * columns + column of each tubelet in the grid; 0 in padding",
    "run_lengths": "(batch, tokens) int64: how many tubelets each stands for; 0 in padding",
}


def describe(config: Any, processor: Any) -> dict[str, Any]:
    """Describe the inputs and outputs of a classifier: a dictionary for JSON."""
    clip = {name: getattr(processor, name) for name in ("frame_stride", "fps", "sampling", "position")}
    pixels = {name: getattr(processor, name) for name in PIXEL_SETTINGS}
    pixels |= {name: dict(pixels[name]) for name in ("size", "crop_size") if pixels[name]}
    tubelet = {"tubelet_size": config.tubelet_size, "patch_size": list(to_2tuple(config.patch_size))}
    return {
        "model_type": config.model_type,
        "inputs": INPUTS,
        "outputs": {"logits": "(batch, classes) float32"},
        "scores": score_kind(config),
        "labels": [config.id2label[number] for number in range(config.num_labels)],
        "clip": {"num_frames": processor.num_frames or DEFAULT_NUM_FRAMES, **clip},
        "pixels": {**pixels, "resample": int(processor.resample)},
        "rule": rule_settings(processor),
        **tubelet,
        "grid": list(config.grid),
    }
