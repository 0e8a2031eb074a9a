# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The benchmark of readers: what it compares, what it says of readers that fail, and that its table comes back."""

import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import reading, record
from benchmarks.__main__ import app
from helpers.videos import decode_all, write


@pytest.fixture
def without_others(monkeypatch):
    for module in ("torchcodec", "torchcodec.decoders", "decord"):
        monkeypatch.setitem(sys.modules, module, None)


def test_readers_that_are_not_installed_are_named(without_others):
    found, absent = reading.readers()
    assert list(found) == ["hf_rlt", "transformers, PyAV"]
    assert absent == ["torchcodec", "torchcodec, all threads", "torchcodec, approximate", "decord2"]


def test_what_is_measured(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", 60)
    pictures = np.stack(decode_all(path)[0])
    asked = []

    def slow(path, indices):
        asked.append(indices.tolist())
        time.sleep(0.02)
        return pictures[indices]

    def broken(path, indices):
        raise KeyError("no\nframe")

    def other(path, indices):
        frames = pictures[indices].copy()
        frames[1, 0, 0, 0] ^= 4
        return frames

    calls = []

    def flaky(path, indices):
        calls.append(path)
        if len(calls) == 3:
            raise RuntimeError("now and then")
        return pictures[indices]

    found = {
        "flaky": flaky,
        "torchcodec": slow,
        "decord2": broken,
        "transformers, PyAV": other,
        "small": lambda *_: pictures[:2],
    }
    monkeypatch.setattr(reading, "readers", lambda: (found, ["torchcodec, all threads"]))
    settings, rows = reading.measure([path], [1, 3], num_frames=8, frame_stride=2, rounds=3)
    assert settings["absent"] == ["torchcodec, all threads"]
    one, three = rows
    assert (one["file"], one["codec"], one["height"], one["width"]) == ("a.mp4", "h264", 48, 64)
    assert (one["frames"], one["keyframes"], one["clips"], one["frames_read"]) == (60, 5, 1, 8)
    assert asked[:4] == 4 * [list(range(22, 37, 2))]
    assert asked[4] == [*range(0, 15, 2), *range(22, 37, 2), *range(45, 60, 2)]
    assert three["frames_read"] == 24
    measured = one["readers"]
    assert measured["hf_rlt"]["equal"] == measured["hf_rlt, index known"]["equal"] == 1
    assert len(measured["torchcodec"]["seconds"]) == 3
    assert reading.milliseconds(one, "torchcodec") >= 20
    assert (measured["decord2"]["round"], set(measured["decord2"])) == (0, {"problem", "round"})
    assert measured["flaky"] == {"problem": "now and then", "round": 2}
    assert (measured["transformers, PyAV"]["equal"], measured["transformers, PyAV"]["difference"]) == (7 / 8, 4)
    assert measured["small"]["shape"] == [2, 48, 64, 3]


def test_the_table_comes_back_from_the_record(tmp_path, without_others):
    path, folder = write(tmp_path / "a.mp4", 60), tmp_path / "out"
    result = CliRunner().invoke(app, ["reading", str(path), "--rounds", "1", "--output-dir", str(folder)])
    assert result.exit_code == 0, result.output
    text = (folder / "reading.md").read_text()
    assert "| a.mp4 | h264 | 64 x 48 | 25 | 60 | 5 | 1 |" in text
    assert "Not installed: torchcodec, torchcodec, all threads, torchcodec, approximate, decord2." in text
    assert "| a.mp4 | 5 | 100 %, 0 |" in text
    assert [row["clips"] for row in record.load(folder / "reading.json")["rows"]] == [1, 5]
    (folder / "reading.md").unlink()
    assert CliRunner().invoke(app, ["report", str(folder / "reading.json")]).exit_code == 0
    assert (folder / "reading.md").read_text() == text


def test_wrong_numbers_and_files(tmp_path):
    with pytest.raises(ValueError, match="from 1 on"):
        reading.measure([write(tmp_path / "a.mp4", 20)], [0])
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"b\.mp4"):
        reading.measure([tmp_path / "b.mp4"])
