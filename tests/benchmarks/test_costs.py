# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Processing, packed batches, readers, throughput: what is compared, and that records give their tables again."""

import os
import sys
import time

import numpy as np
import pytest
import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

from benchmarks import processing, ratios, reading, throughput, vjepa2
from helpers.tiny import TINY_VJEPA2, randomise
from helpers.videos import decode_all, ramp, write, write_video
from hf_rlt import RLTVJEPA2Config, RLTVJEPA2ForVideoClassification
from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import analytic_flops


def test_the_shares_are_kept():
    found = {name: (lengths > 0).sum(1).tolist() for name, lengths in ratios.kept(4, 200, [1.0, 0.5]).items()}
    most = [199, 200, 200, 200]  # not dense: this one is packed
    assert found == {"100%": [200] * 4, "50%": [100] * 4, ratios.PACKED: most, ratios.MIXED: [30, 87, 143, 200]}
    assert ratios.MIXED not in ratios.kept(1, 200, [1.0])


@pytest.mark.parametrize("words", [(), ("--training",)], ids=["forward", "training"])
def test_achieved_is_speed_up_over_flop_ratio(checkpoint, base, files, measured, words):
    options = ["--batch-size", 1, "--batch-size", 2, "--share", 1, "--share", 0.25, "--repeats", 2]
    record, text = measured("ratios", files[0], "--model", checkpoint, *options, *words)
    rows = record["rows"]
    names = ["100%", "25%", ratios.PACKED]
    assert [row["kept"] for row in rows] == [*names, *names, ratios.MIXED]
    assert rows[4]["flop_ratio"] == pytest.approx(analytic_flops(base.config, 64) / analytic_flops(base.config, 16))
    assert rows[0]["flop_ratio"] == 1
    for row in rows:
        assert row["achieved"] == pytest.approx(row["dense_seconds"] / row["seconds"] / row["flop_ratio"])
    assert "| 2 | mixed |" in text


def test_v_jepa_2_beside_transformers_own(tmp_path, files, measured, monkeypatch):
    config = RLTVJEPA2Config(**TINY_VJEPA2)
    randomise(RLTVJEPA2ForVideoClassification(config)).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(vjepa2, "SPAN", 8)
    record, text = measured("vjepa2", *files[:2], "--model", tmp_path / "model", "--num-frames", 8, "--repeats", 2)
    rows = {(row["file"], row["method"]): row for row in record["rows"]}
    lively, still = (rows[file.name, "RLT"] for file in files[:2])
    assert rows[files[0].name, "V-JEPA 2"]["tokens"] == rows[files[0].name, "dense"]["tokens"] == 64
    assert (lively["tokens"] > 16, still["tokens"]) == (True, 16)
    assert still["flop_ratio"] == pytest.approx(analytic_flops(config, 64) / analytic_flops(config, 16))
    assert still["peak_bytes"] < rows[files[1].name, "dense"]["peak_bytes"]
    assert f"| 8 | {files[1].name} | RLT | 16 |" in text
    monkeypatch.setattr(
        vjepa2, "make_stock", lambda ours: randomise(VJEPA2ForVideoClassification(VJEPA2Config(**TINY_VJEPA2)), 1)
    )
    with pytest.raises(HfRltError, match="expected the logits of V-JEPA 2 bit for bit"):
        vjepa2.vjepa2([files[0]], str(tmp_path / "model"), num_frames=[8], output=tmp_path)


def test_processing_refuses_other_pixels(tmp_path, measured, monkeypatch):
    clip = write_video(tmp_path / "clip.mp4", ramp(40))
    options = {"clips": 2, "num_frames": 4, "repeats": 1}
    record, _ = measured("processing", clip, "--clips", 2, "--num-frames", 4, "--repeats", 1)
    assert set(record["rows"][0]["times"]) == set(processing.NAMES)
    monkeypatch.setattr(processing, "torchvision_alone", lambda clips, processor: torch.zeros(2, 4, 3, 224, 224))
    with pytest.raises(HfRltError, match="expected the same pixels, those of torchvision differ"):
        processing.processing([clip], **options)


def test_the_readers_table_names_what_is_not_installed(tmp_path, measured, monkeypatch):
    for module in ("torchcodec", "torchcodec.decoders", "decord"):
        monkeypatch.setitem(sys.modules, module, None)
    record, text = measured("reading", write(tmp_path / "a.mp4", 60), "--repeats", 1)
    assert "| a.mp4 | h264 | 64 x 48 | 25 | 60 | 5 | 1 |" in text
    assert "Not installed: torchcodec, torchcodec, all threads, torchcodec, approximate, decord2." in text
    assert "| a.mp4 | 5 | 100 %, 0 |" in text
    assert [row["clips"] for row in record["rows"]] == [1, 5]


def test_readers_are_compared_frame_by_frame_and_may_fail(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", 60)
    pictures = np.stack(decode_all(path)[0])
    asked, calls, saved = [], [], []

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

    def flaky(path, indices):
        calls.append(path)
        if len(calls) == 3:
            raise RuntimeError("now and then")
        return pictures[indices]

    found = {"flaky": flaky, "torchcodec": slow, "decord2": broken, "transformers, PyAV": other}
    monkeypatch.setattr(reading, "readers", lambda: ({**found, "small": lambda *_: pictures[:2]}, []))
    monkeypatch.setattr(reading, "save", lambda output, name, rows, settings: saved.extend(rows))
    monkeypatch.setattr(reading, "report", lambda file: None)
    reading.reading([path], [1, 3], num_frames=8, frame_stride=2, repeats=3)
    assert [row["frames_read"] for row in saved] == [8, 24]
    assert asked[:4] == 4 * [list(range(22, 37, 2))]
    assert asked[4] == [*range(0, 15, 2), *range(22, 37, 2), *range(45, 60, 2)]
    measured = saved[0]["readers"]
    assert measured["hf_rlt"]["equal"] == measured["hf_rlt, index known"]["equal"] == 1
    assert len(measured["torchcodec"]["seconds"]) == 3
    assert reading.milliseconds(saved[0], "torchcodec") >= 20
    assert (measured["decord2"]["round"], set(measured["decord2"])) == (0, {"problem", "round"})
    assert measured["flaky"] == {"problem": "now and then", "round": 2}
    assert (measured["transformers, PyAV"]["equal"], measured["transformers, PyAV"]["difference"]) == (7 / 8, 4)
    assert measured["small"]["shape"] == [2, 48, 64, 3]


@pytest.mark.slow
def test_throughput_measures_the_parts_and_the_whole_on_the_cores_it_says(checkpoint, files, measured, monkeypatch):
    launched, where = [], []
    launch = throughput.Runner.launch

    def seen(self, clips):
        launched.append(len(clips))
        where.append((os.sched_getaffinity(0), torch.get_num_threads()))
        return launch(self, clips)

    monkeypatch.setattr(throughput.Runner, "launch", seen)
    before = os.sched_getaffinity(0), torch.get_num_threads()
    options = ["--batch-size", 4, "--repeat", 3, "--repeats", 2]
    record, text = measured("throughput", *files, "--model", checkpoint, *options)
    rows = record["rows"]
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == before
    assert len(rows) == (2 if len(before[0]) > 1 else 1)
    for row in rows:
        assert (row["videos"], row["batches"], row["workers"]) == (9, 3, len(before[0]) if row is rows[0] else 1)
        assert all(len(row[part]) == 2 and min(row[part]) > 0 for part in throughput.PARTS)
    assert launched == [4, 4, 1] * (len(rows) * 2 * 2)  # each round computes the batches alone, and end to end
    if len(rows) == 2:
        assert where[-1] == (set(sorted(before[0])[len(before[0]) // 2 :]), (len(before[0]) + 1) // 2)
    assert f"Videos per second, medians of 2 rounds; {checkpoint}, " in text


def test_what_the_cores_allow():
    row = {"videos": 100, "decode": [5.0, 2.0, 9.0], "model": [10.0], "end_to_end": [12.5]}
    apart, shared = (throughput.rates({"cores": name, **row}) for name in ("half for each", "all for both"))
    assert apart == {"decode": 20, "model": 10, "end_to_end": 8, "slower": 0.8, "bound": 0.8}
    assert shared["bound"] == pytest.approx(8 / (100 / 15))


def test_a_bad_video_is_refused_by_name(checkpoint, files, tmp_path, run):
    (tmp_path / "bad.mp4").write_text("no video")
    words = ("--model", checkpoint, "-o", tmp_path)
    done = run("throughput", files[0], tmp_path / "bad.mp4", *words)
    assert done.exit_code == 2
    assert "000001.mp4: " in done.stderr
    assert run("reading", tmp_path / "bad.mp4", "-o", tmp_path).exit_code == 2
