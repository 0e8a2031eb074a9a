# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos that torchcodec, decord or `datasets` have opened, as inputs of the processor and of fine-tuning."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, Video

from helpers.videos import noise, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.data import EvalDataset, VideoList
from hf_rlt.models.video_reader import read_frames
from hf_rlt.tokens import CountConfig, count_video

SIZE = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}, "patch_size": 8}


class FakeTorchcodec:
    """What the processor uses of torchcodec's VideoDecoder."""

    def __init__(self, frames, order="NCHW"):
        self.frames, self.order, self.asked = frames, order, []
        self.metadata = SimpleNamespace(average_fps=10.0)

    def __len__(self):
        return len(self.frames)

    def get_frames_at(self, indices):
        self.asked += indices
        frames = torch.from_numpy(self.frames[indices])
        return SimpleNamespace(data=frames.permute(0, 3, 1, 2) if self.order == "NCHW" else frames)


class FakeDecord:
    """What the processor uses of decord's VideoReader."""

    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return len(self.frames)

    def get_avg_fps(self):
        return 10.0

    def get_batch(self, indices):
        return SimpleNamespace(asnumpy=lambda: self.frames[indices])


@pytest.fixture
def clip(tmp_path):
    path = write_video(tmp_path / "clip.mp4", noise(70))
    return path, read_frames(path, range(70))


@pytest.mark.parametrize(
    "opened", [FakeTorchcodec, lambda frames: FakeTorchcodec(frames, "NHWC"), FakeDecord], ids=["CHW", "HWC", "decord"]
)
@pytest.mark.parametrize("sampling", [{}, {"fps": 5.0}, {"sampling": "uniform"}, {"num_frames": 96}])
def test_an_open_video_is_read_as_its_file(clip, opened, sampling):
    path, frames = clip
    processor = RLTVideoProcessor(**{"num_frames": 16, **SIZE, **sampling})
    wanted, found = processor(path, return_tensors="pt"), processor(opened(frames), return_tensors="pt")
    assert found["pixel_values"].equal(wanted["pixel_values"])
    assert found["run_lengths"].equal(wanted["run_lengths"])
    both = processor([path, opened(frames)], return_tensors="pt")
    assert both["pixel_values"][0].equal(both["pixel_values"][1])


def test_only_the_clip_is_decoded_and_each_frame_once(clip):
    decoder = FakeTorchcodec(clip[1])
    processor = RLTVideoProcessor(num_frames=8, frame_stride=2, **SIZE)
    processor(decoder, return_tensors="pt")
    assert len(decoder.asked) == 1 + 8  # the first tells the size
    data = EvalDataset(VideoList([decoder, clip[0]], [0, 1], ["a", "b"]), processor)
    assert data[0]["pixel_values"].equal(data[1]["pixel_values"])
    assert count_video(decoder, CountConfig(processor)) == count_video(clip[0], CountConfig(processor))
    with pytest.raises(ValueError, match="Expected a video with frames"):
        processor(FakeTorchcodec(clip[1][:0]))


def test_rows_of_datasets(clip):
    path, processor = clip[0], RLTVideoProcessor(num_frames=16, **SIZE)
    wanted = processor(path, return_tensors="pt")["pixel_values"]
    rows = Dataset.from_dict({"video": [str(path)]}).cast_column("video", Video(decode=False))
    assert processor(rows[0]["video"], return_tensors="pt")["pixel_values"].equal(wanted)
    decoded = FakeTorchcodec(np.zeros((3, 8, 8, 3), np.uint8))
    decoded._hf_encoded = {"path": None, "bytes": path.read_bytes()}  # datasets leaves it on a decoder
    assert processor(decoded, return_tensors="pt")["pixel_values"].equal(wanted)


@pytest.mark.parametrize("library", ["torchcodec", "decord"])
def test_the_libraries_themselves(clip, library):
    try:
        if library == "decord":
            opened = __import__("decord").VideoReader(str(clip[0]))
        else:
            opened = __import__("torchcodec.decoders").decoders.VideoDecoder(str(clip[0]))
    except (ImportError, RuntimeError, OSError) as error:  # torchcodec needs FFmpeg's libraries
        pytest.skip(f"{library}: {str(error)[:60]}")
    processor = RLTVideoProcessor(num_frames=16, **SIZE)
    wanted = processor(clip[0], return_tensors="pt")["pixel_values"]
    found = processor(opened, return_tensors="pt")["pixel_values"]
    assert (found - wanted).abs().mean() < 0.05  # colours are converted in other ways
