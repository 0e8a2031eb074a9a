# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The rendered digits: reproducible, complete or not there, and no single frame gives the class away."""

import numpy as np
import pytest
import torch

from hf_rlt.data import DigitsSettings, EvalDataset, digits, from_folder, render_digits, rendered

SMALL = DigitsSettings(train_clips=16, validation_clips=8)


def test_same_settings_give_same_bytes_and_other_seeds_other_pixels(rendered_digits, tmp_path):
    assert len(list(rendered_digits.rglob("*.mp4"))) == 24
    for split, name, index in (("train", "turns", 13), ("validation", "grows", 0)):
        frames = digits.render_clip(name, split, index)
        rendered.write_video(tmp_path / "again.mp4", frames)
        file = rendered_digits / split / name / f"{index:05d}.mp4"
        assert (tmp_path / "again.mp4").read_bytes() == file.read_bytes()
        assert not np.array_equal(frames, digits.render_clip(name, split, index, DigitsSettings(seed=1)))


@pytest.mark.parametrize("name", digits.CLASSES)
def test_position_size_and_angle_of_every_single_frame_are_uniform_in_every_class(name):
    draws = [digits._path(name, SMALL, np.random.default_rng([7, i])) for i in range(400)]
    x, y, sizes, angles = (np.array(values) for values in zip(*draws, strict=True))
    phase = np.log(sizes / digits.SMALLEST) / np.log(digits.LARGEST / digits.SMALLEST)
    for values in (x / SMALL.side, y / SMALL.side, phase, angles % 360 / 360):
        ordered = np.sort(values, axis=0)  # (draws, frames)
        distance = np.abs(ordered - (np.arange(400)[:, None] + 0.5) / 400).max(0)
        assert distance.max() < 0.11  # Kolmogorov-Smirnov, p about 1e-4 at a frame


def test_rlt_computes_a_quarter_and_only_the_run_length_tells_how_long_a_digit_waits(rendered_digits, digits_processor):
    clips = from_folder(rendered_digits / "validation")  # one of each class
    data = EvalDataset(clips, digits_processor)
    kept = torch.stack([(data[i]["run_lengths"] > 0).float().mean() for i in range(8)])
    assert 0.15 < kept.mean() < 0.35
    labels = torch.tensor(clips.labels)
    long, short = (kept[labels == clips.names.index(name)].mean() for name in ("waits_long", "waits_short"))
    assert long < short


def test_a_set_is_complete_and_reused_with_the_same_settings_only_and_foreign_files_are_kept(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(digits, "render_clip", lambda *_: None)

    def write(path, frames, rate):
        written.append(path.name)
        if len(written) == 5:
            raise KeyboardInterrupt
        path.touch()

    monkeypatch.setattr(rendered, "write_video", write)
    folder = tmp_path / "digits"
    with pytest.raises(KeyboardInterrupt):
        render_digits(folder, SMALL)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        assert len(list(render_digits(folder, SMALL).rglob("*.mp4"))) == 24
    assert len(written) == 5 + 24
    render_digits(folder, DigitsSettings(train_clips=8, validation_clips=8))
    assert len(list(folder.rglob("*.mp4"))) == 16
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="pass another folder"):
        render_digits(tmp_path / "mine", SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.slow
def test_one_frame_does_not_give_the_class_away():
    from sklearn.linear_model import LogisticRegression

    settings = DigitsSettings(train_clips=8, validation_clips=8, frames=2)
    count = len(digits.CLASSES)
    labels = np.arange(1200) % count
    frames = [digits.render_clip(digits.CLASSES[k], "train", i, settings)[0] for i, k in enumerate(labels)]
    frames = np.array(frames).reshape(1200, 16, 4, 16, 4, 3).mean((2, 4, 5)).reshape(1200, -1) / 255
    model = LogisticRegression(max_iter=200).fit(frames[:800], labels[:800])
    assert model.score(frames[800:], labels[800:]) < 1 / count + 0.07  # four standard errors
