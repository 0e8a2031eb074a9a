# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt benchmark processing` and `ratios`: what they compare, and that their records give their tables again."""

import json

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import processing, ratios
from benchmarks.__main__ import app
from helpers.tiny import FRAMES, SIDE, randomise
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.inference.measure import analytic_flops

runner = CliRunner()


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4", ramp(40))


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    folder = tmp_path / "model"
    randomise(RLTVideoMAEForVideoClassification(tiny_config())).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    RLTVideoProcessor(num_frames=FRAMES, patch_size=8, size=size, crop_size=size).save_pretrained(folder)
    return folder


def test_the_shares_are_kept():
    found = ratios.kept(4, 200, [1.0, 0.5])
    counts = {name: (lengths > 0).sum(1).tolist() for name, lengths in found.items()}
    assert counts["100%"] == [200] * 4
    assert counts["50%"] == [100] * 4
    assert counts[ratios.PACKED] == [199, 200, 200, 200]  # not dense: this one is packed
    assert counts[ratios.MIXED] == [30, 87, 143, 200]
    assert ratios.MIXED not in ratios.kept(1, 200, [1.0])
    rows = found["50%"]
    assert not torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("training", [False, True])
def test_achieved_is_speed_up_over_flop_ratio(checkpoint, clip, training, tmp_path):
    model = RLTVideoMAEForVideoClassification.from_pretrained(checkpoint)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    processor = RLTVideoProcessor.from_pretrained(checkpoint)
    rows = ratios.measure(model, processor, [clip], [1, 2], [1.0, 0.25], 2, training, lambda line: None)
    assert [(row["batch"], row["kept"]) for row in rows] == [
        *((1, name) for name in ("100%", "25%", ratios.PACKED)),
        *((2, name) for name in ("100%", "25%", ratios.PACKED, ratios.MIXED)),
    ]
    quarter = rows[4]
    dense = analytic_flops(model.config, 64)
    assert quarter["flop_ratio"] == pytest.approx(dense / analytic_flops(model.config, 16))
    assert rows[0]["flop_ratio"] == 1
    for row in rows:
        assert len(row["times"]) == len(row["dense_times"]) == 2
        assert row["achieved"] == pytest.approx(row["dense_seconds"] / row["seconds"] / row["flop_ratio"])
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_both_commands_leave_a_record_that_gives_the_table_again(checkpoint, clip, tmp_path):
    out = tmp_path / "out"
    words = ["ratios", str(clip), "--checkpoint", str(checkpoint), "--batch-sizes", "2", "--repeats", "1"]
    shown = runner.invoke(app, [*words, "--output-dir", str(out)])
    assert shown.exit_code == 0, shown.output
    assert "| 2 | mixed |" in shown.output
    words = ["processing", str(clip), "--clips", "2", "--num-frames", "4", "--rounds", "1"]
    shown = runner.invoke(app, [*words, "--output-dir", str(out)])
    assert shown.exit_code == 0, shown.output
    for name in ("ratios", "processing"):
        text = (out / f"{name}.md").read_text()
        assert json.loads((out / f"{name}.json").read_text())["rows"]
        again = runner.invoke(app, ["report", str(out / f"{name}.json"), "--output-dir", str(tmp_path / "again")])
        assert again.exit_code == 0
        assert (tmp_path / "again" / f"{name}.md").read_text() == text


def test_other_pixels_are_refused(clip, monkeypatch):
    monkeypatch.setattr(processing, "torchvision_alone", lambda clips, processor: torch.zeros(2, 4, 3, 224, 224))
    with pytest.raises(ValueError, match="expected the same pixels, those of torchvision differ"):
        processing.measure([clip], clips=2, num_frames=4, rounds=1, say=lambda line: None)
