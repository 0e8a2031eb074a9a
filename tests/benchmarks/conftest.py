# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A small model, videos from still to lively, and a way to run a benchmark."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.__main__ import app
from helpers.tiny import FRAMES, SIDE, TINY, randomise
from helpers.videos import write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor


def scene(path: Path, moving_rows: int, frames: int = 40, seed: int = 0) -> Path:
    """Write a video of 8 x 8 blocks of noise, the upper rows of which change with each frame."""
    random = np.random.default_rng(seed)
    pictures = np.stack([random.integers(0, 255, (4, 4, 1), dtype=np.uint8)] * frames)
    pictures[:, :moving_rows] = random.integers(0, 255, (frames, moving_rows, 4, 1), dtype=np.uint8)
    return write_video(path, pictures.repeat(8, 1).repeat(8, 2).repeat(3, 3), rate=10)


@pytest.fixture(scope="session")
def base() -> RLTVideoMAEForVideoClassification:
    return randomise(RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**TINY)))


@pytest.fixture(scope="session")
def processor() -> RLTVideoProcessor:
    size = {"height": SIDE, "width": SIDE}
    return RLTVideoProcessor(num_frames=FRAMES, frame_stride=1, patch_size=8, size=size, crop_size=size)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [scene(folder / f"{name}.mp4", rows) for name, rows in (("lively", 4), ("still", 0), ("mixed_up", 2))]


@pytest.fixture(scope="session")
def checkpoint(base, processor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    base.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def labelled(base, tmp_path_factory) -> tuple[Path, list[str]]:
    """Four videos in the classes that the model gives them, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("labelled")
    names = [base.config.id2label[i] for i in range(5)]
    for i, name in enumerate(names):
        (folder / name).mkdir()
        scene(folder / name / "clip.mp4", i % 4, seed=i)
    (folder / names[4] / "broken.mp4").write_bytes(b"no video")
    return folder, names


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def measured(run, tmp_path) -> Callable[..., tuple[dict, str]]:
    """Run a benchmark; check that `report` makes its table again; return record and table."""

    def measure(name: str, *words: object) -> tuple[dict, str]:
        done = run(name, *words, "-o", tmp_path / "out")
        assert done.exit_code == 0, done.output
        text = (tmp_path / "out" / f"{name}.md").read_bytes()
        again = run("report", tmp_path / "out" / f"{name}.json", "-o", tmp_path / "again")
        assert again.exit_code == 0, again.output
        assert (tmp_path / "again" / f"{name}.md").read_bytes() == text
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert record["environment"]["command"].startswith("python -m benchmarks")
        return record, text.decode()

    return measure
