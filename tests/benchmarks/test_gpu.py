# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The GPU command in its reduced form: its rows and tables, what it does when a way to attend is wrong or fails."""

import json

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from typer.testing import CliRunner

from benchmarks import gpu
from benchmarks.__main__ import app
from benchmarks.common import gpu_checks
from helpers.videos import noise, write_video


@pytest.fixture
def measured(tmp_path):
    def run(*words):
        done = CliRunner().invoke(app, ["gpu", *map(str, words), "--device", "cpu", "-o", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return json.loads((tmp_path / "gpu.json").read_text()), (tmp_path / "gpu.md").read_text()

    return run


@pytest.mark.slow
def test_its_reduced_form(measured, tmp_path):
    video = write_video(tmp_path / "clip.mp4", noise(80))
    record, text = measured(video)
    checks, times, files = (
        [row for row in record["rows"] if row["part"] == part] for part in ("check", "time", "files")
    )
    assert [row["backend"] for row in checks] == ["sdpa"] * 4
    assert all(row["right"] and 0 < row["forward"] < 0.05 for row in checks)
    assert [row["way"] for row in times] == 4 * ["transformers, dense", "ours, dense", "RLT, sdpa"]
    for stock, dense, rlt in zip(*(iter(times),) * 3, strict=True):
        assert stock["tokens"] == dense["tokens"] > 2 * rlt["tokens"]
        assert stock["flops"] == dense["flops"] > 2 * rlt["flops"]
        assert all(len(row["times"]) == gpu.REPEATS and row["peak_bytes"] > 0 for row in (stock, dense, rlt))
    dense, rlt = files
    assert dense["tokens"] == 8 * 8 * 16 > rlt["tokens"]
    assert dense["bad"] == rlt["bad"] == 0
    assert "| VideoMAE | tiny | 16 | 4 | True | RLT, sdpa |" in text
    assert "Cut off" not in text


def test_what_there_is_no_time_for_is_named(measured):
    record, text = measured("--minutes", 0)
    assert record["settings"]["cut"] == [
        "checks",
        *(f"{cell.family} tiny 16 {cell.batch} {cell.training}" for cell in gpu.REDUCED),
    ]
    assert "Cut off after 0 minutes: checks; VideoMAE tiny 16 1 False; " in text


def test_a_wrong_and_a_failing_way_to_attend_are_found(measured, monkeypatch):
    def leaking(module, query, key, value, attention_mask, scaling=None, **kwargs):  # forgets the last token
        found = scaled_dot_product_attention(query, key[:, :, :-1], value[:, :, :-1], scale=scaling)
        return found.transpose(1, 2), None

    def failing(*inputs, **kwargs):
        raise RuntimeError("no kernel for this\nand more")

    for name, function in (("leaking", leaking), ("failing", failing)):
        monkeypatch.setitem(AttentionInterface._global_mapping, name, function)
    for module in (gpu, gpu_checks):
        monkeypatch.setattr(module, "backends", lambda device: ["sdpa", "failing", "leaking", "eager"])
    monkeypatch.setattr(gpu, "REDUCED", gpu.REDUCED[1:2])
    record, text = measured()
    found = {row["backend"]: row for row in record["rows"] if row["part"] == "check" and row["dtype"] == "float16"}
    assert [found[name].get("right") for name in found] == [True, None, False, True]
    assert found["failing"]["error"] == "RuntimeError: no kernel for this and more"
    ways = {row["way"]: row for row in record["rows"] if row["part"] == "time"}
    assert ways["RLT, failing"]["error"] == "RuntimeError: no kernel for this and more"
    assert "times" in ways["RLT, eager"]
    assert "no kernel for this" in text


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_run_lengths_are_unequal_and_complete(batch):
    runs = gpu_checks.unequal_runs((8, 10, 10), batch, "cpu")
    assert runs.shape == (batch, 800)
    assert (runs.sum(1) == 800).all()  # every place is covered
    assert (runs[:, :100] > 0).all()
    shares = (runs > 0).float().mean(1)
    assert abs(float(shares[:4].mean()) - 0.4) < 0.03
    assert batch == 1 or len(set(shares.tolist())) > 2
    assert torch.equal(runs, gpu_checks.unequal_runs((8, 10, 10), batch, "cpu"))
