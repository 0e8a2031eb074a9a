# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Training items: what they hold, and what everything random depends on."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.data import ClipAugmentation, ClipStream, EvalDataset, TrainDataset, TrainStream, VideoList

AUGMENTATION = {"crop_scale": 0.3, "horizontal_flip": 0.5, "rand_augment_ops": 2, "erasing": 0.5}


@pytest.fixture(scope="module")
def augmentation(digits_processor):
    return ClipAugmentation(digits_processor, **AUGMENTATION)


def test_items_are_what_the_processor_makes_of_the_file_with_and_without_cache(train, digits_processor):
    expected = digits_processor(str(train.sources[3]), return_tensors="pt")
    cache = 16 * 64 * 64 * 3  # of one clip
    training = TrainDataset(train, digits_processor, cache_bytes=cache)
    evaluation = EvalDataset(train, digits_processor, cache_bytes=cache)
    for _ in range(2):
        item, view = training[3], evaluation[3]
        assert torch.equal(item["pixel_values"], expected["pixel_values"])
        assert item["labels"].tolist() == [train.labels[3]] == [view["labels"]]
        assert torch.equal(view["pixel_values"], expected["pixel_values"][0])
        assert torch.equal(view["run_lengths"], expected["run_lengths"][0])
    evaluation[4]
    assert list(evaluation.cache) == [3]


def test_everything_random_depends_on_seed_epoch_and_clip_only(train, digits_processor, augmentation):
    def pixels(seed=7, epoch=3, index=5):
        data = TrainDataset(train, digits_processor, augmentation, random_clips=True, seed=seed)
        data.set_epoch(epoch)
        return data[index]["pixel_values"]

    first = pixels()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert torch.equal(pixels(), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    for change in ({"epoch": 4}, {"index": 6}, {"seed": 8}):
        assert not torch.equal(pixels(**change), first)


@pytest.mark.slow
def test_running_loading_processes_learn_the_epoch(train, digits_processor, augmentation):
    data = TrainDataset(train, digits_processor, augmentation)
    loader = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True)
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        loaded = [item["pixel_values"] for item in loader]
        assert all(torch.equal(loaded[i], data[i]["pixel_values"]) for i in (0, 7, 15))


def test_a_clip_is_decoded_once_and_augmented_twice(train, digits_processor, augmentation, monkeypatch):
    reads = []
    decode = RLTVideoProcessor.decode
    monkeypatch.setattr(RLTVideoProcessor, "decode", lambda *args: reads.append(1) or decode(*args))
    item = TrainDataset(train, digits_processor, augmentation, repeats=2)[0]
    assert len(reads) == 1
    assert item["pixel_values"].shape == (2, 16, 3, 64, 64)
    assert not torch.equal(*item["pixel_values"])
    assert item["labels"].tolist() == [train.labels[0]] * 2


def test_random_clips_lie_anywhere_in_the_video(tmp_path):
    path = write_video(tmp_path / "ramp.mp4", ramp(40))  # frame i has the value 5 i + 10
    size = {"height": 32, "width": 32}
    processor = RLTVideoProcessor(num_frames=4, frame_stride=2, size=size, crop_size=size, do_normalize=False)
    clips = VideoList([path], [0], ["a", "b"])

    def frames(data, epoch=0):
        data.set_epoch(epoch)
        return np.round((data[0]["pixel_values"][0].mean((1, 2, 3)).numpy() * 255 - 10) / 5).astype(int)

    data = TrainDataset(clips, processor, random_clips=True)
    seen = [frames(data, epoch) for epoch in range(30)]
    assert (np.diff(seen) == 2).all()
    assert min(row[0] for row in seen) <= 3
    assert max(row[0] for row in seen) >= 30
    processor.sampling = "uniform"
    seen = [frames(data, epoch) for epoch in range(20)]
    assert all((row // 10 == [0, 1, 2, 3]).all() for row in seen)  # each frame stays in its segment
    assert len({tuple(row) for row in seen}) > 10
    assert frames(TrainDataset(clips, processor)).tolist() == [5, 15, 25, 35]


def summary(item):
    return int(item["labels"]), float(item["pixel_values"].sum())


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stream_gives_the_clips_of_the_list_pass_after_pass(rendered_digits, train, digits_processor, workers):
    listed = TrainDataset(train, digits_processor)
    expected = {summary(listed[index]) for index in range(16)}
    stream = TrainStream(ClipStream(str(rendered_digits), "train", shuffle_buffer=8), digits_processor)
    items = [summary(item) for item in islice(DataLoader(stream, batch_size=None, num_workers=workers), 32)]
    assert set(items) == expected
    if workers == 0:
        assert set(items[:16]) == set(items[16:])
        assert items[:16] != items[16:]


def test_another_pass_of_a_stream_is_another_augmentation_and_is_repeatable(train, digits_processor, augmentation):
    class Clips:
        def read(self, epoch):
            return iter([(train.sources[0], 0)])

    stream = TrainStream(Clips(), digits_processor, augmentation)
    first, again = ([item["pixel_values"] for item in islice(stream, 2)] for _ in range(2))
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(*first)


@pytest.mark.parametrize("kind", [TrainDataset, TrainStream])
def test_settings_out_of_range(train, digits_processor, kind):
    with pytest.raises(ValueError, match="Expected repeats >= 1, received 0"):
        kind(train, digits_processor, repeats=0)
    with pytest.raises(ValueError, match=r"Expected on_bad_video to be one of .*'ignore'"):
        kind(train, digits_processor, on_bad_video="ignore")
