# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Small random models and clips."""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.baselines import (
    RandomMaskingVideoMAEConfig,
    RandomMaskingVideoMAEForVideoClassification,
    STAVideoMAEConfig,
    STAVideoMAEForVideoClassification,
    ToMeVideoMAEConfig,
    ToMeVideoMAEForVideoClassification,
)

FRAMES, SIDE, GRID = 8, 32, (4, 4, 4)
TINY = {
    "image_size": SIDE,
    "patch_size": 8,
    "num_frames": FRAMES,
    "tubelet_size": 2,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 5,
    "decoder_hidden_size": 24,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
}
TINY_VJEPA2 = {
    "crop_size": SIDE,
    "patch_size": 8,
    "frames_per_clip": FRAMES,
    "tubelet_size": 2,
    "hidden_size": 64,  # heads of 32: 3 x 10 channels are rotated, 2 are not
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_pooler_layers": 2,
    "num_labels": 5,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 2,
}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Make every parameter of `model` random and non-zero, biases and norms too; return it in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if is_norm else 0.15 * noise)
    return model.eval()


def moving_clips(batch: int = 4, seed: int = 0) -> Tensor:
    """Return `(batch, 8, 3, 32, 32)` clips: still noise; clip b changes in b rows of patches at each tubelet."""
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(batch, 1, 3, SIDE, SIDE, generator=generator).repeat(1, FRAMES, 1, 1, 1)
    for b in range(batch):
        rows = min(b, 4) * 8
        for frame in range(FRAMES):
            clips[b, frame, :, :rows] = torch.randn(3, rows, SIDE, generator=generator)
    return clips


NAMES = ["falls", "grows", "hops", "rolls", "waits"]
SIZE = {"height": 64, "width": 64}
SETTINGS = {**TINY, "image_size": 64, "num_frames": 16, "id2label": dict(enumerate(NAMES))}
KINDS = {
    "rlt": (RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, {"length_embedding": True}),
    "videomae": (VideoMAEConfig, VideoMAEForVideoClassification, {}),
    "random": (RandomMaskingVideoMAEConfig, RandomMaskingVideoMAEForVideoClassification, {"token_keep_ratio": 0.25}),
    "tome": (ToMeVideoMAEConfig, ToMeVideoMAEForVideoClassification, {"r": 60}),
    "sta": (STAVideoMAEConfig, STAVideoMAEForVideoClassification, {"r": 10}),
}


def make_model(folder: Path, kind: str = "rlt", **changes) -> Path:
    config, model, settings = KINDS[kind]
    randomise(model(config(**{**SETTINGS, **settings, **changes}))).save_pretrained(folder)
    processor = RLTVideoProcessor(num_frames=16, frame_stride=2, patch_size=8, size=SIZE, crop_size=SIZE)
    processor.save_pretrained(folder)
    return folder
