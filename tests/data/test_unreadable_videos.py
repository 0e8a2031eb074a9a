# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A video that cannot be read stops the work, or is skipped and keeps its place; a bug never passes for one."""

import logging
from itertools import islice

import fsspec
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.videos import write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.data import (
    ClipCollator,
    ClipMix,
    EvalDataset,
    TrainDataset,
    TrainStream,
    UnreadableClipError,
    VideoList,
)

NO_VIDEOS = (None, 3, object(), {}, {"path": None, "bytes": None}, {"path": "", "bytes": None}, {"bytes": b"x"}, "")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_skipped_video_is_reported_once_by_name_and_keeps_its_place(with_bad, digits_processor, capfd, workers):
    to_stderr = logging.StreamHandler()
    logging.getLogger("hf_rlt").addHandler(to_stderr)
    data = EvalDataset(with_bad, digits_processor, on_bad_video="skip")
    loader = DataLoader(data, batch_size=4, num_workers=workers, collate_fn=ClipCollator(digits_processor))
    for _ in range(2):
        labels = torch.cat([batch["labels"] for batch in loader]).tolist()
        assert [i for i, label in enumerate(labels) if label == -100] == [2, 5]
        assert len(labels) == 8
    assert [name.split("/")[-1] for name in data.unreadable()] == ["damaged.mp4", "gone.mp4"]
    logging.getLogger("hf_rlt").removeHandler(to_stderr)
    said = capfd.readouterr().err
    assert said.count("damaged.mp4: ") == said.count("gone.mp4'") == 1


@pytest.mark.parametrize("kind", [TrainDataset, EvalDataset])
def test_a_video_that_is_not_to_be_skipped_stops(with_bad, digits_processor, kind):
    data = kind(with_bad, digits_processor)
    assert data[1]["labels"] >= 0
    with pytest.raises(UnreadableClipError, match=r"Clip 2 .*damaged\.mp4.* --on-bad-video skip"):
        data[2]
    with pytest.raises(UnreadableClipError, match=r"Clip 5 .*gone\.mp4"):
        data[5]


@pytest.mark.parametrize("kind", [TrainDataset, EvalDataset])
def test_sources_that_are_no_videos(train, digits_processor, kind):
    clips = VideoList([*NO_VIDEOS, "a\0b", train.sources[0]], [0] * 10, ["a", "b"])
    data = kind(clips, digits_processor, on_bad_video="skip")
    assert [int(data[index]["labels"]) for index in range(10)] == [-100] * 9 + [0]
    assert len(data.unreadable()) == 9
    with pytest.raises(UnreadableClipError, match="Clip 2 of the data set cannot be read: Expected a video file"):
        kind(clips, digits_processor)[2]


def test_views_that_do_not_fit_and_what_augmentation_refuses_are_skipped_but_bugs_are_not(tmp_path):
    settings = {"num_frames": 2, "patch_size": 8, "do_resize": False, "crop_size": {"height": 64, "width": 64}}
    processor = RLTVideoProcessor(**settings)
    sources = [write_video(tmp_path / f"{side}.mp4", np.zeros((4, side, side, 3), np.uint8)) for side in (32, 96)]
    clips = VideoList(sources, [0, 0], ["a", "b"])
    data = EvalDataset(clips, processor, num_crops=3, on_bad_video="skip")
    assert [int(data[index]["labels"]) for index in range(2)] == [-100, 0]

    def refuse(frames):
        raise ValueError("too dark")

    def stumble(frames):
        raise TypeError("a bug")

    assert int(TrainDataset(clips, processor, refuse, on_bad_video="skip")[0]["labels"]) == -100
    with pytest.raises(TypeError, match="a bug"):
        TrainDataset(clips, processor, stumble, on_bad_video="skip")[0]


def test_streams_report_each_video_once(train, digits_processor, caplog, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")

    class Rows:
        def read(self, epoch):
            bad = [(None, 0), ({"path": None, "bytes": None}, 1), (str(tmp_path / "broken.mp4"), 0)]
            return iter([*bad, (train.sources[0], 1)])

    stream = TrainStream(Rows(), digits_processor, on_bad_video="skip")
    assert [int(item["labels"]) for item in islice(stream, 12)] == [-100, -100, -100, 1] * 3
    assert caplog.text.count("broken.mp4: ") == 1
    assert caplog.text.count("Skipped, it cannot be read") == int(stream.unreadable_count) == 2  # two have no name
    with pytest.raises(UnreadableClipError, match=r"a clip of the data set cannot be read.* --on-bad-video skip"):
        next(iter(TrainStream(Rows(), digits_processor)))


def test_skipped_videos_are_not_mixed_into_others(with_bad, digits_processor):
    data = TrainDataset(with_bad, digits_processor, on_bad_video="skip")
    batch = ClipCollator(digits_processor, ClipMix(8), num_classes=8)([data[i] for i in (1, 2, 3, 5)])
    bad = (batch["labels"] == -100).all(1)
    assert bad.tolist() == [False, True, False, True]
    assert (batch["pixel_values"][bad] == 0).all()
    assert ((batch["run_lengths"][bad] > 0).sum(1) == 64).all()  # one run for each place
    assert torch.allclose(batch["labels"][~bad].sum(1), torch.ones(2))


def test_files_that_lie_elsewhere_are_fetched(train, digits_processor):
    with fsspec.open("memory://set/clip.mp4", "wb") as file:
        file.write(train.sources[0].read_bytes())
    there = ["memory://set/clip.mp4", {"path": "memory://set/clip.mp4", "bytes": None}, "memory://set/gone.mp4"]
    data = EvalDataset(VideoList([train.sources[0], *there], [0] * 4, ["a"]), digits_processor)
    for index in (1, 2):
        assert data[index]["pixel_values"].equal(data[0]["pixel_values"])
    with pytest.raises(UnreadableClipError, match=r"memory://set/gone\.mp4: could not be downloaded"):
        data[3]
