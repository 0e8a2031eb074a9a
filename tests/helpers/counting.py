# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Counting tokens of small videos in tests."""

import json
import os
import signal
import time
from pathlib import Path

import torch
from typer.testing import CliRunner

from hf_rlt import RLTVideoProcessor
from hf_rlt.cli import app
from hf_rlt.tokens import (
    CountFile,
    VideoCounts,
    count_videos,
    find,
)

SMALL = ("--image-size", "32", "--num-frames", "4", "--frame-stride", "2")


class Fatal(RLTVideoProcessor):
    """Reading a video of 7 frames kills the process; one of 5 frames is Ctrl-C for the process `main`."""

    main = 0

    def sample_frames(self, metadata, **settings):
        if metadata.total_num_frames == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        if metadata.total_num_frames == 5:
            os.kill(self.main, signal.SIGINT)
            time.sleep(60)
        return super().sample_frames(metadata, **settings)


def small(kind=RLTVideoProcessor, **settings):
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return kind(**{"num_frames": 4, "frame_stride": 2, "patch_size": 16, **size, **settings})


def run_lengths(video: Path, **settings) -> torch.Tensor:
    return small(**settings)(str(video), return_tensors="pt")["run_lengths"]


def count_all(paths, output, config) -> list[VideoCounts]:
    with CountFile(output, config) as store:
        return list(count_videos(find(paths), config, 0, store))


def run(*arguments):
    return CliRunner().invoke(app, ["tokens", *map(str, arguments)])


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]
