# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt benchmark`: dense beside RLT with one model on somebody's clips."""

import json
import time

import pytest
from typer.testing import CliRunner

from helpers.tiny import make_model
from helpers.videos import noise, write_video
from hf_rlt.cli import app
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import analytic_flops
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor


def test_dense_and_rlt_are_compared_on_the_same_clips(tmp_path, monkeypatch):
    process = RLTVideoProcessor.__call__

    def slow(self, *args, **kwargs):
        time.sleep(0.05)
        return process(self, *args, **kwargs)

    monkeypatch.setattr(RLTVideoProcessor, "__call__", slow)
    model = make_model(tmp_path / "model")
    clips = [write_video(tmp_path / f"{i}.mp4", noise(40, i)) for i in range(2)]
    words = ["benchmark", *clips, "--model", model, "--batch-size", 1, "--batch-size", 3, "--repeats", 2]
    done = CliRunner().invoke(app, [*map(str, words), "--json", "-o", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "out.json").read_text())
    network, processor = load(str(model), threshold=0.1)
    runs = processor(list(map(str, [*clips, clips[0]])), return_tensors="pt")["run_lengths"]
    counts = (runs > 0).sum(1).tolist()
    rows = {(row["batch_size"], row["method"]): row for row in result["rows"]}
    assert rows[1, "dense"]["tokens"] == runs.shape[1] > rows[1, "RLT"]["tokens"] == counts[0]
    assert rows[3, "RLT"]["tokens"] == sum(counts)
    flops = sum(analytic_flops(network.config, count) for count in counts)
    assert rows[3, "RLT"]["gflops"] == pytest.approx(flops / 1e9)
    for row in rows.values():
        assert row["forward_seconds"] > 0
        assert row["file_to_logits_seconds"] > 0.05  # it includes the processor
        assert row["peak_bytes"] > 0


def test_dense_is_dense_whatever_the_model_carries(tmp_path):
    model, clip = make_model(tmp_path / "model"), write_video(tmp_path / "a.mp4", noise(40))
    words = ["benchmark", clip, "--model", model, "--batch-size", 1, "--repeats", 1]
    load(str(model), num_tokens=0.3, rule="anchor")[0].save_pretrained(model)
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert [row["tokens"] for row in json.loads(done.stdout)["rows"]] == [512, 154]
    assert "RLT: anchor, 30 % of the tokens." in CliRunner().invoke(app, list(map(str, words))).stdout


@pytest.mark.parametrize(
    ("words", "message"), [(("--dtype", "int8"), "--dtype: expected float32"), ((), "no such file or folder")]
)
def test_mistakes_are_one_line(tmp_path, words, message):
    clips = __file__ if words else "nowhere"
    done = CliRunner().invoke(app, ["benchmark", clips, "--model", str(tmp_path), *words])
    assert done.exit_code == 2
    assert message in done.stderr
