# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A tiny model and 24 videos to predict."""

import os
from pathlib import Path

import pytest

from helpers.predictions import WatchedProcessor
from helpers.tiny import make_model
from hf_rlt.inference.loading import load


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("predict") / "model")


@pytest.fixture
def network(model):
    return load(str(model))[0].eval()


@pytest.fixture
def processor(model, tmp_path) -> WatchedProcessor:
    watched = WatchedProcessor.from_pretrained(model)
    watched.log, watched.main = str(tmp_path / "opened.log"), os.getpid()
    return watched


@pytest.fixture
def videos(tmp_path, rendered_digits) -> Path:
    """24 clips, one of them bad, in two folders; small batches make blocks of 8 or 16 of them."""
    for i, clip in enumerate(sorted(rendered_digits.rglob("*.mp4"))):
        folder = tmp_path / "videos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        os.link(clip, folder / f"{i:02}.mp4")
    bad = tmp_path / "videos" / "a" / "04.mp4"
    bad.unlink()
    bad.write_text("no video")
    return tmp_path / "videos"
