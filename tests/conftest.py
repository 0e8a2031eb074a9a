# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Small models and clips that several test files share."""

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import av
import numpy as np
import torch
from torch import Tensor, nn

from hf_rlt import RLTVideoMAEConfig, RLTVideoProcessor
from hf_rlt.data import DigitsSettings, render_digits

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(2)

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


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Makes every parameter of `model` random and non-zero, biases and norms too; returns it in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if is_norm else 0.15 * noise)
    return model.eval()


def moving_clips(batch: int = 4, seed: int = 0) -> Tensor:
    """Returns `(batch, 8, 3, 32, 32)` clips: still noise; clip b changes in b rows of patches at each tubelet."""
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(batch, 1, 3, SIDE, SIDE, generator=generator).repeat(1, FRAMES, 1, 1, 1)
    for b in range(batch):
        rows = min(b, 4) * 8
        for frame in range(FRAMES):
            clips[b, frame, :, :rows] = torch.randn(3, rows, SIDE, generator=generator)
    return clips


@pytest.fixture
def tiny_config() -> Callable[..., RLTVideoMAEConfig]:
    def make(**changes) -> RLTVideoMAEConfig:
        backend = changes.pop("attn_implementation", "sdpa")
        config = RLTVideoMAEConfig(**{**TINY, **changes})
        config._attn_implementation = backend
        return config

    return make


@pytest.fixture
def clips() -> Tensor:
    return moving_clips()


@pytest.fixture(scope="session")
def rendered_digits(tmp_path_factory) -> Path:
    """A small rendered set: 16 training and 8 validation clips."""
    return render_digits(tmp_path_factory.mktemp("data") / "digits", DigitsSettings(train_clips=16, validation_clips=8))


@pytest.fixture(scope="session")
def digits_processor() -> RLTVideoProcessor:
    size = {"height": 64, "width": 64}
    return RLTVideoProcessor(num_frames=16, frame_stride=2, patch_size=8, size=size, crop_size=size)


def write_video(path: Path, frames: np.ndarray, rate: int = 10, pts: list[int] | None = None) -> Path:
    """Writes `(F, H, W, 3)` uint8 frames as an mp4, `pts` (1/100 s) for a variable rate. Returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.bit_rate = 4_000_000
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[i], Fraction(1, 100)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def ramp(frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Returns `(frames, height, width, 3)` uint8 grey frames; frame i has the value `5 * i + 10`."""
    values = (5 * np.arange(frames) + 10).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (frames, height, width, 3)).copy()


@pytest.fixture
def video_file(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "clip.mp4", frames: int = 20, **options) -> Path:
        return write_video(tmp_path / name, ramp(frames), **options)

    return make


NAMES = [
    "caf\u00e9",
    "cafe\u0301",
    os.fsdecode(b"caf\xe9"),
    os.fsdecode(b"caf\xe8"),
    "caf\ufffd",
    "caf%E9",
    "caf\n",
    "caf\u2028",
]


@pytest.fixture
def alike(tmp_path: Path) -> list[str]:
    """Paths of different videos of one size and time, whose names are taken for each other easily."""
    (tmp_path / "alike").mkdir()
    paths = [tmp_path / "alike" / f"{name}.mp4" for name in NAMES]
    for number, path in enumerate(paths):
        frames = np.zeros((20, 64, 64, 3), np.uint8)
        frames[[i for i in range(20) if i % 4 > 1], :, : 8 * number + 4] = 255
        write_video(path, frames)
    size = max(path.stat().st_size for path in paths) + 8
    for path in paths:
        room = size - path.stat().st_size
        with path.open("ab") as file:
            file.write(room.to_bytes(4, "big") + b"free" + bytes(room - 8))
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return list(map(str, paths))
