# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a data loader reads: training items, views, bad videos, token counts, batches."""

import logging
from itertools import islice

import fsspec
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoProcessor, find_runs
from hf_rlt.data import (
    ClipAugmentation,
    ClipCollator,
    ClipMix,
    ClipStream,
    EvalDataset,
    TrainDataset,
    TrainStream,
    UnreadableClipError,
    VideoList,
    from_folder,
    split_clips,
)
from hf_rlt.data.video_dataset import fetch_remote
from hf_rlt.tokens import count_tokens

AUGMENTATION = {"crop_scale": 0.3, "horizontal_flip": 0.5, "rand_augment_ops": 4, "erasing": 0.5}


@pytest.fixture
def train(rendered_digits):
    return from_folder(rendered_digits / "train")


@pytest.fixture
def with_bad(rendered_digits, tmp_path):
    """Eight readable clips; number 2 is damaged and number 5 does not exist."""
    good = from_folder(rendered_digits / "validation")
    sources = list(good.sources)
    sources[2], sources[5] = tmp_path / "damaged.mp4", tmp_path / "gone.mp4"
    sources[2].write_bytes(good.sources[2].read_bytes()[:2000])
    return VideoList(sources, good.labels, good.names)


def test_items_are_what_the_processor_makes_of_the_file_with_and_without_cache(train, digits_processor):
    expected = digits_processor(str(train.sources[3]), return_tensors="pt")
    frame_bytes = 16 * 64 * 64 * 3
    training = TrainDataset(train, digits_processor, cache_bytes=2 * frame_bytes)
    views = EvalDataset(train, digits_processor, cache_bytes=2 * frame_bytes)
    for _ in range(2):
        item = training[3]
        assert torch.equal(item["pixel_values"], expected["pixel_values"])
        assert item["labels"].tolist() == [train.labels[3]]
        view = views[3]
        assert torch.equal(view["pixel_values"], expected["pixel_values"][0])
        assert torch.equal(view["run_lengths"], expected["run_lengths"][0])
        assert view["labels"] == train.labels[3]
    assert len([views[i] for i in range(len(views))]) == 16
    assert len(views._cache) == 2


def test_everything_random_depends_on_seed_epoch_and_clip_only(train, digits_processor):
    data = TrainDataset(train, digits_processor, ClipAugmentation(digits_processor, **AUGMENTATION), True, seed=7)
    data.set_epoch(3)
    first = data[5]["pixel_values"]
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert torch.equal(data[5]["pixel_values"], first)
    assert torch.equal(torch.random.get_rng_state(), state)
    for change in ({"epoch": 4}, {"index": 6}, {"seed": 8}):
        other = TrainDataset(train, digits_processor, data.builder.augmentation, True, seed=change.get("seed", 7))
        other.set_epoch(change.get("epoch", 3))
        assert not torch.equal(other[change.get("index", 5)]["pixel_values"], first)


def test_running_loading_processes_learn_the_epoch(train, digits_processor):
    data = TrainDataset(train, digits_processor, ClipAugmentation(digits_processor, **AUGMENTATION))
    loader = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True)
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        loaded = [item["pixel_values"] for item in loader]
        assert all(torch.equal(loaded[i], data[i]["pixel_values"]) for i in (0, 7, 15))
    assert len(loaded) == 16


def test_a_clip_is_decoded_once_and_augmented_twice(train, digits_processor, monkeypatch):
    reads = []
    original = RLTVideoProcessor.decode
    monkeypatch.setattr(RLTVideoProcessor, "decode", lambda *args: reads.append(1) or original(*args))
    data = TrainDataset(train, digits_processor, ClipAugmentation(digits_processor, **AUGMENTATION), repeats=2)
    item = data[0]
    assert len(reads) == 1
    assert item["pixel_values"].shape == (2, 16, 3, 64, 64)
    assert not torch.equal(*item["pixel_values"])
    assert item["labels"].tolist() == [train.labels[0]] * 2
    batch = ClipCollator(digits_processor)([data[i] for i in range(3)])
    assert batch["pixel_values"].shape == (6, 16, 3, 64, 64)
    assert batch["labels"].tolist() == [train.labels[i % 3] for i in range(6)]


def test_random_clips_lie_anywhere_in_the_video(tmp_path):
    path = write_video(tmp_path / "ramp.mp4", ramp(40))  # frame i has the value 5 i + 10
    size = {"height": 32, "width": 32}
    processor = RLTVideoProcessor(num_frames=4, frame_stride=2, size=size, crop_size=size, do_normalize=False)
    clips = VideoList([path], [0], ["a", "b"])

    def frames(data):
        return np.round((data[0]["pixel_values"][0].mean((1, 2, 3)).numpy() * 255 - 10) / 5).astype(int)

    data = TrainDataset(clips, processor, random_clips=True)
    starts = []
    for epoch in range(60):
        data.set_epoch(epoch)
        indices = frames(data)
        assert np.diff(indices).tolist() == [2, 2, 2]
        starts.append(indices[0])
    assert min(starts) <= 3
    assert max(starts) >= 30
    processor.sampling = "uniform"
    seen = []
    for epoch in range(20):
        data.set_epoch(epoch)
        seen.append(frames(data))
    assert all((row // 10 == [0, 1, 2, 3]).all() for row in seen)  # each frame stays in its segment
    assert len({tuple(row) for row in seen}) > 10
    assert frames(TrainDataset(clips, processor)).tolist() == [5, 15, 25, 35]


def test_views_are_the_crops_and_clips_of_the_definition(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 32, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "noise.mp4", pixels)
    crop = {"height": 32, "width": 32}
    processor = RLTVideoProcessor(
        num_frames=4, frame_stride=2, size={"shortest_edge": 32}, crop_size=crop, patch_size=8, threshold=0.6
    )
    item = EvalDataset(VideoList([path], [1], ["a", "b"]), processor, num_clips=3, num_crops=3)[0]
    assert item["pixel_values"].shape == (9, 4, 3, 32, 32)
    whole = RLTVideoProcessor(num_frames=40, frame_stride=1).decode(str(path))[0]  # all 40 frames
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    for clip, start in enumerate((0, 16, 33)):  # 33 free places: 0, 16.5 (down) and 33
        for place, left in enumerate((0, 16, 32)):
            frames = whole[start : start + 7 : 2, :, left : left + 32] / 255
            expected = torch.from_numpy((frames - mean) / std).permute(0, 3, 1, 2)
            view = item["pixel_values"][3 * clip + place]
            assert (view - expected).abs().max() < 1e-5
    assert torch.equal(item["run_lengths"], find_runs(item["pixel_values"], 0.6, 2, 8))
    tall = EvalDataset(VideoList([path], [1], ["a", "b"]), RLTVideoProcessor(**processor.to_dict() | {"size": crop}))
    assert tall[0]["pixel_values"].shape == (4, 3, 32, 32)


def test_one_view_is_the_processors_and_views_too_large_are_refused(rendered_digits, digits_processor):
    clips = from_folder(rendered_digits / "validation")
    size = {"height": 96, "width": 96}
    larger = RLTVideoProcessor(num_frames=16, size={"shortest_edge": 64}, crop_size=size)
    with pytest.raises(ValueError, match="Expected frames of at least 96x96 to crop from, received 64x64"):
        EvalDataset(clips, larger, num_crops=3)[0]
    for changes in ({"num_clips": 0}, {"num_crops": 0}):
        with pytest.raises(ValueError, match="received 0"):
            EvalDataset(clips, digits_processor, **changes)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_video_is_reported_once_by_name_and_keeps_its_place(with_bad, digits_processor, capfd, workers):
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


def test_a_bad_video_stops_unless_it_is_to_be_skipped(with_bad, digits_processor):
    for data in (EvalDataset(with_bad, digits_processor), TrainDataset(with_bad, digits_processor)):
        assert data[1]["labels"] >= 0
        with pytest.raises(UnreadableClipError, match=r"Clip 2 .*damaged\.mp4.* --on-bad-video skip"):
            data[2]
        with pytest.raises(UnreadableClipError, match=r"Clip 5 .*gone\.mp4"):
            data[5]
    with pytest.raises(ValueError, match=r"Expected on_bad_video to be one of .*'ignore'"):
        EvalDataset(with_bad, digits_processor, on_bad_video="ignore")
    with pytest.raises(ValueError, match=r"Expected on_bad_video to be one of .*'ignore'"):
        TrainStream(None, digits_processor, on_bad_video="ignore")
    for kind in (TrainDataset, TrainStream):
        with pytest.raises(ValueError, match="Expected repeats >= 1, received 0"):
            kind(with_bad, digits_processor, repeats=0)


def test_a_stream_gives_the_clips_of_the_list_pass_after_pass(rendered_digits, digits_processor):
    augmentation = ClipAugmentation(digits_processor, **AUGMENTATION)
    listed = TrainDataset(from_folder(rendered_digits / "train"), digits_processor)
    summary = lambda item: (int(item["labels"]), float(item["pixel_values"].sum()))  # noqa: E731
    expected = {summary(listed[i]) for i in range(16)}
    for workers in (0, 2):
        stream = TrainStream(ClipStream(str(rendered_digits), "train", shuffle_buffer=8), digits_processor)
        items = [summary(item) for item in islice(DataLoader(stream, batch_size=None, num_workers=workers), 32)]
        if workers == 0:
            assert set(items[:16]) == set(items[16:]) == expected
            assert items[:16] != items[16:]
        assert set(items) == expected
    changed = TrainStream(ClipStream(str(rendered_digits), "train"), digits_processor, augmentation)
    first, again = (list(islice(changed, 32)) for _ in range(2))
    pixels = [item["pixel_values"] for item in first]
    assert all(torch.equal(a, b["pixel_values"]) for a, b in zip(pixels, again, strict=True))
    assert not torch.equal(pixels[0], pixels[16])  # another pass, another augmentation


def test_bad_videos_of_a_stream(rendered_digits, digits_processor, caplog):
    good = sorted((rendered_digits / "train" / "grows").glob("*.mp4"))
    bad = rendered_digits.parent / "stream"
    for split in ("train", "validation"):
        for name in ("a", "b"):
            (bad / split / name).mkdir(parents=True, exist_ok=True)
            (bad / split / name / "broken.mp4").write_bytes(b"no video")
            (bad / split / name / "whole.mp4").write_bytes(good[0].read_bytes())
    stream = TrainStream(ClipStream(str(bad), "train"), digits_processor, on_bad_video="skip")
    with caplog.at_level(logging.WARNING):
        items = list(islice(stream, 12))  # three passes
    assert sorted(int(item["labels"]) for item in items) == [-100] * 6 + [0] * 3 + [1] * 3
    assert caplog.text.count("a/broken.mp4: ") == 1
    assert int(stream.unreadable_count) == 2
    with pytest.raises(UnreadableClipError, match=r"broken\.mp4.* --on-bad-video skip"):
        list(islice(TrainStream(ClipStream(str(bad), "train"), digits_processor), 4))


def test_files_that_lie_elsewhere_are_fetched(rendered_digits, digits_processor):
    path = next(rendered_digits.rglob("*.mp4"))
    with fsspec.open("memory://set/clip.mp4", "wb") as file:
        file.write(path.read_bytes())
    expected = digits_processor.decode(fetch_remote(path))
    row = {"path": "memory://set/clip.mp4", "bytes": None}
    assert np.array_equal(digits_processor.decode(fetch_remote(row)), expected)
    with pytest.raises(OSError, match=r"memory://set/gone\.mp4: could not be fetched"):
        digits_processor.decode(fetch_remote({"path": "memory://set/gone.mp4", "bytes": None}))


def test_linked_folders_are_entered_and_parts_of_a_list_stay_unread(rendered_digits, tmp_path):
    for name in ("grows", "stays"):
        (tmp_path / name).symlink_to(rendered_digits / "train" / name)
    assert from_folder(tmp_path).names == ["grows", "stays"]

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.mp4").touch()
    (tmp_path / "own" / "round").symlink_to(tmp_path)
    assert len(from_folder(tmp_path)) == 5  # not in circles

    class Unread:
        def __getitem__(self, index):
            return f"video {index}" if index == 3 else pytest.fail("read")

    train, held = split_clips(VideoList(Unread(), [0, 1] * 5, ["a", "b"]), 0.3)
    part = next(part for part in (train, held) if 3 in part.sources.indices)
    assert part.sources[part.sources.indices.index(3)] == "video 3"
    assert len(train) + len(held) == 10


def test_neighbours_in_a_batch_are_different_clips_with_repeated_augmentation(train, digits_processor):
    data = TrainDataset(train, digits_processor, repeats=2)
    one_class_each = [next(i for i, label in enumerate(train.labels) if label == k) for k in range(4)]
    batch = ClipCollator(digits_processor, ClipMix(8, 0.8, 0), num_classes=8)([data[i] for i in one_class_each])
    assert ((batch["labels"] > 0).sum(1) == 2).all()


def test_frames_are_not_sampled_a_second_time(train, digits_processor):
    again = RLTVideoProcessor(**digits_processor.to_dict() | {"do_sample_frames": True})
    first, second = (EvalDataset(train, processor)[0] for processor in (digits_processor, again))
    assert torch.equal(first["pixel_values"], second["pixel_values"])


def test_mixing_happens_before_runs_are_found(train, digits_processor):
    data = TrainDataset(train, digits_processor)
    items = [data[i] for i in range(6)]
    plain = ClipCollator(digits_processor)(items)
    for alphas in ({"mixup": 0.8, "cutmix": 0}, {"mixup": 0, "cutmix": 1.0}, {}):
        collator = ClipCollator(digits_processor, ClipMix(8, **alphas), label_smoothing=0.1, num_classes=8)
        batch = collator(items)
        assert not torch.equal(batch["pixel_values"], plain["pixel_values"])
        assert torch.equal(batch["run_lengths"], find_runs(batch["pixel_values"], 0.1, 2, 8))
        assert batch["labels"].shape == (6, 8)
        assert torch.allclose(batch["labels"].sum(1), torch.ones(6))
        assert batch["labels"].min() >= 0.1 / 8 - 1e-6
        again = collator([data[i] for i in range(6)])
        assert torch.equal(again["pixel_values"], batch["pixel_values"])
    data.set_epoch(1)
    later = collator([data[i] for i in range(6)])
    assert not torch.equal(later["pixel_values"], batch["pixel_values"])


def test_mixup_and_its_targets_are_those_of_the_definition(train, digits_processor):
    data = TrainDataset(train, digits_processor)
    items = [data[i] for i in range(4)]
    clips = torch.cat([item["pixel_values"] for item in items])
    labels = [int(item["labels"]) for item in items]
    batch = ClipCollator(digits_processor, ClipMix(8, 0.8, 0.0), 0.1, 8)(items)
    one_hot = torch.eye(8)[labels]
    share = (batch["labels"][0, labels[0]] - 0.1 / 8) / 0.9
    for i in range(4):
        mixed = share * clips[i] + (1 - share) * clips[i - 1]
        assert (batch["pixel_values"][i] - mixed).abs().max() < 1e-5
        target = 0.9 * (share * one_hot[i] + (1 - share) * one_hot[i - 1]) + 0.1 / 8
        assert torch.allclose(batch["labels"][i], target, atol=1e-6)


def test_skipped_videos_are_not_mixed_into_others(with_bad, digits_processor):
    data = TrainDataset(with_bad, digits_processor, on_bad_video="skip")
    batch = ClipCollator(digits_processor, ClipMix(8), num_classes=8)([data[i] for i in range(8)])
    bad = (batch["labels"] == -100).all(1)
    assert bad.nonzero()[:, 0].tolist() == [2, 5]
    assert (batch["pixel_values"][bad] == 0).all()
    assert ((batch["run_lengths"][bad] > 0).sum(1) == 64).all()  # one run for each place
    assert torch.allclose(batch["labels"][~bad].sum(1), torch.ones(6))


def test_random_thresholds_and_random_masking_are_drawn_for_each_clip(train, digits_processor):
    data = TrainDataset(train, digits_processor)
    items = [data[i] for i in range(4)]
    clips = torch.cat([item["pixel_values"] for item in items])
    full = find_runs(clips, 0.1, 2, 8)
    kept = ClipCollator(digits_processor, token_keep_ratio=0.5)(items)["run_lengths"]
    assert ((kept == full) | (kept == 0)).all()
    assert (kept > 0).sum(1).tolist() == [round(0.5 * int(n)) for n in (full > 0).sum(1)]
    drawn = ClipCollator(digits_processor, threshold_range=(0.05, 0.4))(items)["run_lengths"]
    counts = [int((row > 0).sum()) for row in drawn]
    for clip, count in zip(clips, counts, strict=True):
        low, high = (int((find_runs(clip[None], t, 2, 8) > 0).sum()) for t in (0.4, 0.05))
        assert low <= count <= high
    assert counts != (full > 0).sum(1).tolist()
    alone = ClipCollator(digits_processor, token_keep_ratio=0.5, threshold_range=(0.05, 0.4))
    assert torch.equal(alone(items)["run_lengths"][2:3], alone(items[2:3])["run_lengths"])  # whatever the batch


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_keep_ratio": 0.0}, "Expected token_keep_ratio in .* received 0.0"),
        ({"threshold_range": (0.2, 0.1)}, "Expected threshold_range to be"),
        ({"label_smoothing": 1.0, "num_classes": 3}, "Expected label_smoothing in"),
        ({"label_smoothing": 0.1}, "Expected num_classes"),
    ],
)
def test_settings_of_the_collator_out_of_range(digits_processor, settings, message):
    with pytest.raises(ValueError, match=message):
        ClipCollator(digits_processor, **settings)


def test_a_collator_without_seeds_says_what_to_do(digits_processor):
    with pytest.raises(ValueError, match="remove_unused_columns=False"):
        ClipCollator(digits_processor)([{"pixel_values": torch.zeros(1), "labels": torch.zeros(1)}])


class TestSkippingIsOneRule:
    """What is wrong with one item, in reading it or in making it, skips that one; a bug does not."""

    SOURCES = (
        None,
        3,
        object(),
        {},
        {"path": None, "bytes": None},
        {"path": "", "bytes": None},
        {"bytes": b"x"},
        "",
        "a\0b",
    )

    def data(self, kind, sources, processor, **changes):
        clips = VideoList(sources, [0] * len(sources), ["a", "b"])
        return kind(clips, processor, on_bad_video="skip", **changes)

    @pytest.mark.parametrize("kind", [TrainDataset, EvalDataset])
    def test_sources_that_are_no_videos(self, train, digits_processor, kind, tmp_path):
        data = self.data(kind, [*self.SOURCES, train.sources[0]], digits_processor)
        labels = [int(data[index]["labels"]) for index in range(len(data))]
        assert labels == [-100] * len(self.SOURCES) + [0]
        assert len(data.unreadable()) == len(self.SOURCES)
        loud = kind(data.clips, digits_processor)
        with pytest.raises(UnreadableClipError, match="Clip 2 of the data set cannot be read: Expected a video file"):
            loud[2]
        counts = count_tokens(data.clips, digits_processor, on_bad_video="skip", cache_dir=tmp_path)
        assert counts[:-1].tolist() == [0] * len(self.SOURCES)

    def test_views_that_do_not_fit(self, tmp_path, digits_processor):
        settings = {"num_frames": 2, "patch_size": 8, "do_resize": False, "crop_size": {"height": 64, "width": 64}}
        processor = RLTVideoProcessor(**settings)
        small, large = (
            write_video(tmp_path / f"{side}.mp4", np.zeros((4, side, side, 3), np.uint8)) for side in (32, 96)
        )
        data = self.data(EvalDataset, [small, large], processor, num_crops=3)
        assert [int(data[index]["labels"]) for index in range(2)] == [-100, 0]

    def test_what_augmentation_refuses(self, train, digits_processor):
        def refuse(frames):
            raise ValueError("too dark")

        def stumble(frames):
            raise TypeError("a bug")

        assert int(self.data(TrainDataset, train.sources, digits_processor, augmentation=refuse)[0]["labels"]) == -100
        with pytest.raises(TypeError, match="a bug"):
            self.data(TrainDataset, train.sources, digits_processor, augmentation=stumble)[0]

    def test_streams(self, train, digits_processor, caplog):
        class Rows:
            def read(self, epoch):
                return iter([(None, 0), ({"path": None, "bytes": None}, 1), (train.sources[0], 1)])

        stream = TrainStream(Rows(), digits_processor, on_bad_video="skip")
        assert [int(item["labels"]) for item in islice(stream, 6)] == [-100, -100, 1] * 2
        assert caplog.text.count("Skipped, it cannot be read") == int(stream.unreadable_count)
