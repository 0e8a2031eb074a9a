# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The rendered digits and the lists of clips."""

import csv

import numpy as np
import pytest
import torch

from hf_rlt.data import (
    DigitsSettings,
    EvalDataset,
    VideoList,
    digits,
    from_file,
    from_folder,
    from_hub,
    render_digits,
    split_clips,
)

SMALL = DigitsSettings(train_clips=16, validation_clips=8)


def test_same_settings_give_same_bytes_and_other_seeds_other_bytes(rendered_digits, tmp_path):
    again = render_digits(tmp_path / "again", SMALL)
    other = render_digits(tmp_path / "other", DigitsSettings(train_clips=16, validation_clips=8, seed=1))
    files = sorted(path.relative_to(rendered_digits) for path in rendered_digits.rglob("*.mp4"))
    assert len(files) == 24
    assert all((rendered_digits / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert all((rendered_digits / file).read_bytes() != (other / file).read_bytes() for file in files)


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


def test_rlt_computes_a_quarter_and_only_the_run_length_tells_how_long_a_digit_waits(rendered_digits, digits_processor):
    clips = from_folder(rendered_digits / "train")
    data = EvalDataset(clips, digits_processor)
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


def test_folder_csv_and_hub_layout_give_the_same_clips(rendered_digits, tmp_path):
    folder = from_folder(rendered_digits / "train")
    with (rendered_digits / "train.csv").open("w", newline="") as stream:
        rows = [
            (path.relative_to(rendered_digits), folder.names[i])
            for path, i in zip(folder.sources, folder.labels, strict=True)
        ]
        csv.writer(stream).writerows([("path", "label"), *rows])
    table = from_file(rendered_digits / "train.csv")
    assert (table.labels, table.names) == (folder.labels, folder.names)
    assert [path.resolve() for path in table.sources] == [path.resolve() for path in folder.sources]
    (rendered_digits / "train.csv").unlink()
    hub = from_hub(str(rendered_digits), "train")
    assert (sorted(hub.labels), hub.names) == (sorted(folder.labels), folder.names)
    assert hub.sources[0]["path"].endswith(".mp4")
    with pytest.raises(ValueError, match="expected a split 'test', found 'train', 'validation'"):
        from_hub(str(rendered_digits), "test")


def test_split_holds_out_a_share_and_loses_nothing():
    clips = VideoList([f"{i}.mp4" for i in range(20)], [i % 2 for i in range(20)], ["a", "b"])
    train, held = split_clips(clips, 0.15, seed=3)
    assert len(held) == 3
    assert sorted([*train.sources, *held.sources]) == sorted(clips.sources)
    assert all(int(s[:-4]) % 2 == label for s, label in zip(held.sources, held.labels, strict=True))
    assert list(split_clips(clips, 0.15, seed=3)[1].sources) == list(held.sources)


def test_errors_of_a_folder_and_of_unknown_labels(rendered_digits, tmp_path):
    with pytest.raises(ValueError, match="found no such folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="found none"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match="received unknown 'waits_short': rename"):
        from_folder(rendered_digits / "validation", names=list(digits.CLASSES[:-1]))
    (tmp_path / "loose.mp4").touch()
    with pytest.raises(ValueError, match=r"found loose.mp4 outside"):
        from_folder(tmp_path)
