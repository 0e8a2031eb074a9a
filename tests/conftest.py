# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fixtures that several test files share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes with threads of their own wait for each other

import numpy as np
import torch
from torch import Tensor

from helpers.tiny import TINY, moving_clips
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoProcessor
from hf_rlt.data import DigitsSettings, render_digits


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
