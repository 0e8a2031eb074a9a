# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The views of an evaluation."""

import numpy as np
import pytest
import torch

from helpers.videos import write_video
from hf_rlt import RLTVideoProcessor, find_runs
from hf_rlt.data import EvalDataset, VideoList


def test_views_are_the_crops_and_clips_of_the_definition(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 32, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "noise.mp4", pixels)
    crop = {"height": 32, "width": 32}
    processor = RLTVideoProcessor(
        num_frames=4, frame_stride=2, size={"shortest_edge": 32}, crop_size=crop, patch_size=8, threshold=0.6
    )
    clips = VideoList([path], [1], ["a", "b"])
    item = EvalDataset(clips, processor, num_clips=3, num_crops=3)[0]
    assert item["pixel_values"].shape == (9, 4, 3, 32, 32)
    whole = RLTVideoProcessor(num_frames=40, frame_stride=1).decode(str(path))[0]  # all 40 frames
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    for clip, start in enumerate((0, 16, 33)):  # 33 free places: 0, 16.5 (down) and 33
        for place, left in enumerate((0, 16, 32)):
            frames = whole[start : start + 7 : 2, :, left : left + 32] / 255
            expected = torch.from_numpy((frames - mean) / std).permute(0, 3, 1, 2)
            assert (item["pixel_values"][3 * clip + place] - expected).abs().max() < 1e-5
    assert torch.equal(item["run_lengths"], find_runs(item["pixel_values"], 0.6, 2, 8))
    assert torch.equal(
        EvalDataset(clips, processor)[0]["pixel_values"], processor(str(path), return_tensors="pt")["pixel_values"][0]
    )
    squeezed = EvalDataset(clips, RLTVideoProcessor(**processor.to_dict() | {"size": crop}))[0]
    assert squeezed["pixel_values"].shape == (4, 3, 32, 32)


def test_views_that_are_impossible_are_refused(train, digits_processor):
    size = {"height": 96, "width": 96}
    larger = RLTVideoProcessor(num_frames=16, size={"shortest_edge": 64}, crop_size=size)
    with pytest.raises(ValueError, match="Expected frames of at least 96x96 to crop from, received 64x64"):
        EvalDataset(train, larger, num_crops=3)[0]
    for changes in ({"num_clips": 0}, {"num_crops": 0}):
        with pytest.raises(ValueError, match="received 0"):
            EvalDataset(train, digits_processor, **changes)


def test_frames_are_not_sampled_a_second_time(train, digits_processor):
    again = RLTVideoProcessor(**digits_processor.to_dict() | {"do_sample_frames": True})
    first, second = (EvalDataset(train, processor)[0] for processor in (digits_processor, again))
    assert torch.equal(first["pixel_values"], second["pixel_values"])
