# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The rendered digits and the lists of clips."""

import csv

import numpy as np
import pytest
import torch

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import (
    ClipDataset,
    ClipList,
    DigitsSettings,
    UnreadableClipError,
    digits,
    from_csv,
    from_folder,
    from_hub,
    render_digits,
    split_clips,
)

SMALL = DigitsSettings(train_clips=16, validation_clips=8)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return render_digits(tmp_path_factory.mktemp("data") / "digits", SMALL)


@pytest.fixture(scope="module")
def processor():
    size = {"height": 64, "width": 64}
    return RLTVideoProcessor(num_frames=16, frame_stride=2, patch_size=8, size=size, crop_size=size)


def test_same_settings_give_same_bytes_and_other_seeds_other_bytes(rendered, tmp_path):
    again = render_digits(tmp_path / "again", SMALL)
    other = render_digits(tmp_path / "other", DigitsSettings(train_clips=16, validation_clips=8, seed=1))
    files = sorted(path.relative_to(rendered) for path in rendered.rglob("*.mp4"))
    assert len(files) == 24
    assert all((rendered / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert all((rendered / file).read_bytes() != (other / file).read_bytes() for file in files)


@pytest.mark.parametrize("name", digits.CLASSES)
def test_position_size_and_angle_of_every_single_frame_are_uniform_in_every_class(name):
    draws = [digits._path(name, SMALL, np.random.default_rng([7, i])) for i in range(400)]
    x, y, sizes, angles = (np.array(values) for values in zip(*draws, strict=True))
    phase = np.log(sizes / digits.SMALLEST) / np.log(digits.LARGEST / digits.SMALLEST)
    for values in (x / SMALL.side, y / SMALL.side, phase, angles % 360 / 360):
        ordered = np.sort(values, axis=0)  # (draws, frames)
        distance = np.abs(ordered - (np.arange(400)[:, None] + 0.5) / 400).max(0)
        assert distance.max() < 0.11  # Kolmogorov-Smirnov, p about 1e-4 at a frame


def test_one_frame_does_not_give_the_class_away():
    from sklearn.linear_model import LogisticRegression

    settings = DigitsSettings(train_clips=8, validation_clips=8, frames=2)
    count = len(digits.CLASSES)

    def first_frames(start, stop):
        clips = [digits.render_clip(digits.CLASSES[i % count], "train", i, settings)[0] for i in range(start, stop)]
        return np.array(clips).reshape(len(clips), 16, 4, 16, 4, 3).mean((2, 4, 5)).reshape(len(clips), -1) / 255

    labels = np.arange(1200) % count
    frames = first_frames(0, 1200)
    model = LogisticRegression(max_iter=200).fit(frames[:800], labels[:800])
    assert model.score(frames[800:], labels[800:]) < 1 / count + 0.07  # four standard errors


def test_rlt_computes_a_quarter_and_only_the_run_length_tells_how_long_a_digit_waits(rendered, processor):
    clips = from_folder(rendered / "train")
    data = ClipDataset(clips, processor)
    lengths = torch.stack([data[i]["run_lengths"] for i in range(len(data))]).view(len(data), 8, 64)
    kept = (lengths > 0).float().mean((1, 2))
    assert 0.15 < kept.mean() < 0.35
    labels = torch.tensor(clips.labels)
    long, short = (kept[labels == clips.names.index(name)].mean() for name in ("waits_long", "waits_short"))
    assert long < short


def test_an_interrupted_render_is_not_taken_for_a_complete_one(tmp_path, monkeypatch):
    written = []

    def interrupted(path, frames, rate=25):
        written.append(path)
        if len(written) == 5:
            raise KeyboardInterrupt

    folder = tmp_path / "digits"
    with monkeypatch.context() as patch:
        patch.setattr(digits, "write_video", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_digits(folder, SMALL)
    assert list(tmp_path.iterdir()) == []
    assert len(list(render_digits(folder, SMALL).rglob("*.mp4"))) == 24


def test_a_set_is_reused_only_with_the_same_settings_and_foreign_files_are_kept(tmp_path, monkeypatch):
    folder = render_digits(tmp_path / "digits", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(digits, "_render_all", lambda *_: pytest.fail("rendered again"))
        render_digits(folder, SMALL)
    render_digits(folder, DigitsSettings(train_clips=8, validation_clips=8))
    assert len(list(folder.rglob("*.mp4"))) == 16
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="pass another folder"):
        render_digits(tmp_path / "mine", SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_folder_csv_and_hub_layout_give_the_same_clips(rendered, tmp_path):
    folder = from_folder(rendered / "train")
    with (rendered / "train.csv").open("w", newline="") as stream:
        rows = [
            (path.relative_to(rendered), folder.names[i]) for path, i in zip(folder.sources, folder.labels, strict=True)
        ]
        csv.writer(stream).writerows([("path", "label"), *rows])
    table = from_csv(rendered / "train.csv")
    assert (table.labels, table.names) == (folder.labels, folder.names)
    assert [path.resolve() for path in table.sources] == [path.resolve() for path in folder.sources]
    (rendered / "train.csv").unlink()
    hub = from_hub(str(rendered), "train")
    assert (sorted(hub.labels), hub.names) == (sorted(folder.labels), folder.names)
    assert hub.sources[0]["path"].endswith(".mp4")
    with pytest.raises(ValueError, match="expected a split 'test', found 'train', 'validation'"):
        from_hub(str(rendered), "test")


def test_an_item_is_what_the_processor_makes_of_the_file_with_and_without_cache(rendered, processor):
    clips = from_folder(rendered / "validation")
    expected = processor(str(clips.sources[3]), return_tensors="pt")
    frame_bytes = 16 * 64 * 64 * 3
    data = ClipDataset(clips, processor, cache_bytes=2 * frame_bytes)
    for _ in range(2):
        item = data[3]
        assert torch.equal(item["pixel_values"], expected["pixel_values"][0])
        assert torch.equal(item["run_lengths"], expected["run_lengths"][0])
        assert item["labels"] == clips.labels[3]
    assert [len(data[i]) for i in range(len(data))] == [3] * 8
    assert len(data.cache) == 2


def test_an_unreadable_clip_is_named(tmp_path, processor):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(UnreadableClipError, match=r"Clip 0 .*broken\.mp4"):
        ClipDataset(ClipList([path], [0], ["a", "b"]), processor)[0]


def test_split_holds_out_a_share_and_loses_nothing():
    clips = ClipList([f"{i}.mp4" for i in range(20)], [i % 2 for i in range(20)], ["a", "b"])
    train, held = split_clips(clips, 0.15, seed=3)
    assert len(held) == 3
    assert sorted([*train.sources, *held.sources]) == sorted(clips.sources)
    assert all(int(s[:-4]) % 2 == label for s, label in zip(held.sources, held.labels, strict=True))
    assert split_clips(clips, 0.15, seed=3)[1].sources == held.sources


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns 'path' and 'label', found an empty file"),
        ("file,label\na.mp4,x\n", "expected the columns 'path' and 'label', found 'file', 'label'"),
        ("path,label\n", "expected a line per video"),
        ("path,label\na.mp4,\n", "line 2: expected a path and a label"),
        ("path,label\nb.mp4,x\n", "line 2: expected a video at"),
        ("path,label\na.mp4,x\n", "expected at least two classes"),
    ],
)
def test_errors_of_a_csv_file(tmp_path, text, message):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        from_csv(tmp_path / "clips.csv")


def test_errors_of_a_folder_and_of_unknown_labels(rendered, tmp_path):
    with pytest.raises(ValueError, match="found no such folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="found none"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match="received unknown 'waits_short': rename"):
        from_folder(rendered / "validation", names=list(digits.CLASSES[:-1]))
    (tmp_path / "loose.mp4").touch()
    with pytest.raises(ValueError, match=r"found loose.mp4 outside"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match="found no such file"):
        from_csv(tmp_path / "nowhere.csv")
