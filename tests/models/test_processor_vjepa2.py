# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2's processor: the original's pixels bit for bit, its sizes, and its sampling."""

import json

import numpy as np
import pytest
import torch
from transformers import VJEPA2VideoProcessor
from transformers.video_utils import VideoMetadata

from helpers.paths import ROOT
from helpers.videos import ramp, write_video
from hf_rlt import RLTVJEPA2VideoProcessor
from hf_rlt.models.video_reader import VideoReader

CLIP = ROOT / "examples" / "space" / "clips" / "city_at_night.mp4"


def frames(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("crop", [None, 64, {"height": 96, "width": 96}, {"height": 64, "width": 96}], ids=str)
@pytest.mark.parametrize(
    "clip",
    [
        frames(4, 90, 120, 3),
        frames(4, 3, 120, 90),
        torch.from_numpy(frames(2, 3, 300, 400)),
        frames(2, 64, 64, 3, dtype=np.float32),
    ],
    ids=["last", "first", "tensor", "float"],
)
def test_pixels_are_the_originals_bit_for_bit(clip, crop):
    settings = {} if crop is None else {"crop_size": crop}
    expected = VJEPA2VideoProcessor(**settings)(clip, return_tensors="pt")["pixel_values_videos"]
    found = RLTVJEPA2VideoProcessor(**settings)(clip, return_tensors="pt")["pixel_values"]
    assert torch.equal(found, expected)


def test_pixels_of_a_file_are_the_originals_on_the_same_frames():
    processor = RLTVJEPA2VideoProcessor(num_frames=16, crop_size=112, frame_stride=2)
    with VideoReader(str(CLIP)) as reader:
        metadata = VideoMetadata(total_num_frames=reader.index.num_frames, fps=reader.index.fps)
        indices = processor.sample_frames(metadata, timestamps=reader.index.timestamps)
        clip = reader.read(indices)
    expected = VJEPA2VideoProcessor(crop_size=112)(clip, return_tensors="pt")["pixel_values_videos"]
    found = processor(str(CLIP), return_tensors="pt")
    assert torch.equal(found["pixel_values"], expected)
    assert found["run_lengths"].shape == (1, 8 * 7 * 7)


@pytest.mark.parametrize(("crop", "side"), [(None, 292), (224, 256), (384, 438), (64, 73)])
def test_frames_are_resized_to_fit_the_crop(tmp_path, crop, side):
    settings = {} if crop is None else {"crop_size": crop}
    VJEPA2VideoProcessor(**settings).save_pretrained(tmp_path)
    crop = crop or 256
    for processor in (RLTVJEPA2VideoProcessor(**settings), RLTVJEPA2VideoProcessor.from_pretrained(tmp_path)):
        assert processor.size["shortest_edge"] == side
        assert processor.clip_shape == (64, 3, crop, crop)
    assert RLTVJEPA2VideoProcessor.from_pretrained(tmp_path, crop_size=288).size["shortest_edge"] == 329


@pytest.mark.parametrize(
    ("number", "stride"), [(8, 8), (16, 4), (24, 2), (32, 2), (64, 1), (128, 1)], ids=lambda value: str(value)
)
def test_a_clip_spans_64_frames_however_many_it_takes(tmp_path, number, stride):
    VJEPA2VideoProcessor(crop_size=64).save_pretrained(tmp_path / "stock")
    RLTVJEPA2VideoProcessor(crop_size=64, num_frames=32).save_pretrained(tmp_path / "saved")
    folders = [
        RLTVJEPA2VideoProcessor.from_pretrained(tmp_path / name, num_frames=number) for name in ("stock", "saved")
    ]
    video = write_video(tmp_path / "clip.mp4", ramp(150, 64, 64))
    for processor in (RLTVJEPA2VideoProcessor(crop_size=64, num_frames=number), *folders):
        assert (processor.num_frames, processor.frame_stride) == (number, stride)
        indices = processor.sample_frames(VideoMetadata(total_num_frames=150), timestamps=np.arange(150) / 25)
        span = (number - 1) * stride + 1
        start = (150 - span) // 2
        assert indices.tolist() == list(range(start, start + span, stride))
        assert processor(video, return_tensors="pt")["pixel_values"].shape[1] == number


def test_a_stride_that_was_chosen_stays(tmp_path):
    RLTVJEPA2VideoProcessor(num_frames=16, frame_stride=2).save_pretrained(tmp_path)
    assert RLTVJEPA2VideoProcessor.from_pretrained(tmp_path).frame_stride == 2
    assert RLTVJEPA2VideoProcessor.from_pretrained(tmp_path, num_frames=64).frame_stride == 2
    assert RLTVJEPA2VideoProcessor.from_pretrained(tmp_path, num_frames=64, frame_stride=3).frame_stride == 3
    again = RLTVJEPA2VideoProcessor.from_pretrained(tmp_path, frame_stride=4)
    again.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "video_preprocessor_config.json").read_text())["frame_stride"] == 4
    assert RLTVJEPA2VideoProcessor.from_pretrained(tmp_path).frame_stride == 4
