# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The hard set: reproducible, balanced, no single frame tells the class, and drift is what the threshold never sees."""

import json

import numpy as np
import pytest

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import DigitsSettings, HardDigitsSettings, hard_digits, render_digits, rendered
from hf_rlt.data.hard_digits import CLASSES, FADES, GROUPS
from hf_rlt.models.run_rule import RunRule

SHORT = HardDigitsSettings(train_clips=40, validation_clips=20, frames=16)
FULL = HardDigitsSettings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return render_digits(tmp_path_factory.mktemp("hard") / "digits-hard", SHORT)


def test_classes_are_balanced_and_the_same_settings_give_the_same_bytes(folder, tmp_path):
    assert len(CLASSES) == len(set(CLASSES)) == 20
    for split, wanted in (("train", 2), ("validation", 1)):
        counts = {path.name: len(list(path.glob("*.mp4"))) for path in (folder / split).iterdir()}
        assert counts == dict.fromkeys(CLASSES, wanted)
    for split, index in (("train", 39), ("validation", 3)):
        name = CLASSES[index % 20]
        frames = hard_digits.render_clip(name, split, index, SHORT)
        rendered.write_video(tmp_path / "again.mp4", frames, 50)
        assert (tmp_path / "again.mp4").read_bytes() == (folder / split / name / f"{index:05d}.mp4").read_bytes()
        other = HardDigitsSettings(frames=16, seed=1)
        assert not np.array_equal(frames, hard_digits.render_clip(name, split, index, other))


def test_the_sets_do_not_take_each_others_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rendered, "_render_all", lambda *_: None)
    assert render_digits(None, FULL) == tmp_path / "hf_rlt" / "digits-hard"
    assert render_digits() == tmp_path / "hf_rlt" / "digits"
    before = (folder / "settings.json").read_text()
    with pytest.raises(ValueError, match="expected an empty folder or the rendered set 'standard', found other files"):
        render_digits(folder, DigitsSettings())
    assert json.loads(before)["set"] == "hard"
    assert (folder / "settings.json").read_text() == before


@pytest.mark.parametrize("changes", [{"train_clips": 19}, {"validation_clips": 19}, {"frames": 1}, {"side": 33}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="Expected at least 20 clips, 2 frames and an even side from 32 on, received"):
        HardDigitsSettings(**changes)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in FADES])
def test_place_and_brightness_of_a_digit_are_uniform_in_every_frame_of_every_class(name, monkeypatch):
    monkeypatch.setattr(hard_digits, "digit_image", lambda *_: None)
    pan = np.arange(64) * {"pans_l": -0.4, "pans_r": 0.4}.get(name[:6], 0)
    drawn = []
    for seed in range(400):
        rng = np.random.default_rng([7, seed])
        drawn.append(hard_digits._digit(name, "train", *rng.uniform(0, 64, 2), pan, 64, rng))
    darkest = 0.2 if name in GROUPS["flicker"] else 0.7
    brightness = [(digit.alpha - darkest) / (1 - darkest) for digit in drawn]
    places = [[digit.x % 64 / 64 for digit in drawn], [digit.y % 64 / 64 for digit in drawn]]
    if name in GROUPS["flicker"]:  # on or off, each as often
        assert np.abs(np.mean(brightness, axis=0) - 0.5).max() < 0.1
    for values in places if name in GROUPS["flicker"] else [*places, brightness]:
        distance = np.abs(np.sort(values, axis=0) - (np.arange(400)[:, None] + 0.5) / 400).max(0)
        assert distance.max() < 0.11  # Kolmogorov-Smirnov, p about 1e-4 at a frame


@pytest.mark.parametrize("name", FADES)
def test_drift_stays_below_the_threshold_from_tubelet_to_tubelet_and_passes_it_in_all(name, tmp_path, monkeypatch):
    monkeypatch.setattr(hard_digits.Thing, "draw", lambda *_: None)
    size, rule = {"height": 64, "width": 64}, RunRule(0.1, tubelet_size=2, patch_size=8)
    processor = RLTVideoProcessor(num_frames=16, frame_stride=4, patch_size=8, size=size, crop_size=size)
    for index in range(4):
        rendered.write_video(tmp_path / "clip.mp4", hard_digits.render_clip(name, "train", index), 50)
        pixels = processor(str(tmp_path / "clip.mp4"), return_tensors="pt")["pixel_values"]
        assert rule.differences(pixels).max() < 0.1
        assert (rule.find(pixels) > 0).sum() == 64  # nothing but the first tubelets
        in_all = (pixels[0, -2:].mean(0) - pixels[0, :2].mean(0)).abs()
        in_all = in_all.reshape(3, 8, 8, 8, 8).mean((0, 2, 4)).max()
        anchored = (RunRule(0.1, 2, 8, rule="anchor").find(pixels) > 0).sum()
        if name == "stays":
            assert in_all < 0.05
            assert anchored == 64
        else:
            assert in_all > 0.2
            assert anchored > 70


@pytest.mark.parametrize("name", FADES)
def test_nothing_drifts_in_the_frames_of_the_first_tubelet(name):
    light = hard_digits._drift(name, 20, 20, FULL, np.random.default_rng(0))
    assert (light[:6] == light[0]).all()  # at strides 1, 2 and 4: frames 0 to 1, 0 to 2 and 1 to 5
    assert (light[63] == light[0]).all() == (name == "stays")


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_one_frame_does_not_give_the_class_away(group):
    from sklearn.linear_model import LogisticRegression

    names = GROUPS[group]
    labels = np.arange(900) % len(names)
    clips = [hard_digits.render_clip(names[k], "train", i, SHORT) for i, k in enumerate(labels)]
    for frame in (0, 8, 15):
        frames = np.array([clip[frame] for clip in clips]).reshape(900, 16, 4, 16, 4, 3).mean((2, 4)).reshape(900, -1)
        model = LogisticRegression(max_iter=200).fit(frames[:600] / 255, labels[:600])
        assert model.score(frames[600:] / 255, labels[600:]) < 1 / len(names) + 0.1  # about four standard errors
