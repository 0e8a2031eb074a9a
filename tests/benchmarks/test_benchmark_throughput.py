# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The benchmark of throughput: that it measures what it says, and that its table comes back."""

import os
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import record, throughput
from benchmarks.__main__ import app
from helpers.tiny import make_model
from helpers.videos import noise, write_video
from hf_rlt.inference import Options


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return [write_video(tmp_path / f"{i}.mp4", noise(20, i)) for i in range(3)]


def test_what_is_measured(tmp_path, files, monkeypatch):
    network, processor = throughput.open_shape_or_model(str(make_model(tmp_path / "model")))
    launched, where = [], []
    launch = throughput.Runner.launch

    def seen(self, clips):
        launched.append(len(clips))
        where.append((os.sched_getaffinity(0), torch.get_num_threads()))
        return launch(self, clips)

    monkeypatch.setattr(throughput.Runner, "launch", seen)
    before = os.sched_getaffinity(0), torch.get_num_threads()
    settings, rows = throughput.measure(network, processor, files, Options(batch_size=4), repeat=3, rounds=2)
    assert settings["files"] == ["0.mp4", "1.mp4", "2.mp4"]
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == before
    assert len(rows) == (2 if len(before[0]) > 1 else 1)
    for row in rows:
        assert (row["videos"], row["batches"], row["workers"]) == (9, 3, len(before[0]) if row is rows[0] else 1)
        assert all(len(row[part]) == 2 and min(row[part]) > 0 for part in throughput.PARTS)
    # Each round computes the batches alone, and end to end.
    assert launched == [4, 4, 1] * (len(rows) * 2 * 2)
    if len(rows) == 2:
        assert where[-1] == (set(sorted(before[0])[len(before[0]) // 2 :]), (len(before[0]) + 1) // 2)


def test_shares():
    times = {"decode": [5.0, 2.0, 9.0], "model": [10.0], "end_to_end": [12.5]}
    apart, shared = ({"cores": name, "videos": 100, **times} for name in ("half for each", "all for both"))
    assert [throughput.rate(apart, part) for part in throughput.PARTS] == [20, 10, 8]
    assert throughput.bound(apart) == 10
    assert throughput.bound(shared) == pytest.approx(100 / 15)


def test_the_table_comes_back_from_the_record(tmp_path, files):
    model, folder = make_model(tmp_path / "model"), tmp_path / "out"
    result = CliRunner().invoke(
        app,
        ["throughput", str(model), *map(str, files), "--rounds", "1", "--workers", "1", "--output-dir", str(folder)],
    )
    assert result.exit_code == 0, result.output
    text = (folder / "throughput.md").read_text()
    assert "| all for both | 1 |" in text
    assert f"Videos per second, medians of 1 rounds; {model}, " in text
    assert record.load(folder / "throughput.json")["rows"][0]["videos"] == 3
    (folder / "throughput.md").unlink()
    assert CliRunner().invoke(app, ["report", str(folder / "throughput.json")]).exit_code == 0
    assert (folder / "throughput.md").read_text() == text


def test_a_bad_video_is_refused_by_name(tmp_path, files):
    files[1].write_text("no video")
    network, processor = throughput.open_shape_or_model(str(make_model(tmp_path / "model")))
    with pytest.raises(ValueError, match=r"000001\.mp4: .*not a video"):
        throughput.measure(network, processor, files, Options())
