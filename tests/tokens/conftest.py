# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos to count."""

from pathlib import Path

import pytest

from helpers.videos import noise, write_video


@pytest.fixture
def folder(tmp_path) -> Path:
    """Videos of 20 frames, 10 a second, at several depths."""
    path = tmp_path / "videos"
    for i, name in enumerate(("b.mp4", "a/2.mp4", "a/1.mp4", "a/c/3.MP4")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(path / name, noise(20, i))
    (path / "a" / "notes.txt").write_text("no video")
    return path
