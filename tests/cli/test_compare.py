# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt compare`: what it says equals what the two models say, one clip at a time."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from helpers.tiny import make_model
from helpers.videos import noise, write_video
from hf_rlt.cli import app
from hf_rlt.inference.compare import compare
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import analytic_flops


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("compare") / "model"))


@pytest.fixture
def clips(tmp_path):
    """Seven clips of noise that moves more and more, and one that is no video."""
    (tmp_path / "clips").mkdir()
    for number in range(7):
        frames = noise(40, number)
        frames[:, : 6 * number] = np.random.default_rng(number).integers(0, 255, frames[:, : 6 * number].shape)
        write_video(tmp_path / "clips" / f"{number}.mp4", frames)
    (tmp_path / "clips" / "bad.mp4").write_text("no video")
    return tmp_path / "clips"


def run(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)])


@pytest.mark.parametrize("settings", [{"threshold": 0.1}, {"num_tokens": 0.2}, {"rule": "anchor", "threshold": 0.3}])
@torch.inference_mode()
def test_figures_are_those_of_each_clip_alone(model, clips, settings):
    network, processor = load(model, **settings)
    dense, plain = load(model, threshold=None)
    videos, told = sorted(map(str, clips.iterdir())), []
    found = compare(videos, network, processor, batch_size=3, on_progress=told.append)
    assert told == [False] * 7 + [True]
    assert list(found.errors) == [str(clips / "bad.mp4")]
    assert found.rule == processor.run_rule.describe()
    counts = []
    for clip, video in zip(found.clips, videos, strict=False):
        inputs = processor(video, return_tensors="pt")
        counts.append(int((inputs["run_lengths"] > 0).sum()))
        few = network(**inputs).logits[0].softmax(-1)
        whole = dense(**plain(video, return_tensors="pt")).logits[0].softmax(-1)
        labels = network.config.id2label
        assert (clip.video, clip.tokens_computed, clip.tokens) == (video, counts[-1], 512)
        assert (clip.dense, clip.rlt) == (labels[int(whole.argmax())], labels[int(few.argmax())])
        assert (clip.dense_score, clip.rlt_score) == pytest.approx((float(whole.max()), float(few.max())), abs=1e-5)
        assert clip.change == pytest.approx(float((few - whole).abs().max()), abs=1e-5)
        assert clip.agrees == (clip.dense == clip.rlt)
    assert found.flops["rlt"] == sum(analytic_flops(network.config, count) for count in counts)
    assert found.flops["dense"] == 7 * analytic_flops(network.config, 512)
    assert found.share == pytest.approx(sum(counts) / (7 * 512))
    assert min(found.peak_bytes.values()) > 0
    assert min(found.seconds.values()) > 0


def test_the_table_the_json_and_a_picture_of_each_change(model, clips, tmp_path):
    words = [clips, "--model", model, "--num-tokens", 0.125, "-o", tmp_path / "out"]
    printed, as_json = run(*words), run(*words, "--json")
    assert printed.exit_code == as_json.exit_code == 1  # one could not be read
    result = json.loads(as_json.stdout)
    assert result["agreement"] < 1  # so few tokens change an answer
    kept = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {**kept, "seconds": 0, "speed_up": 0} == {**result, "seconds": 0, "speed_up": 0}
    changed = [clip for clip in result["clips"] if not clip["agrees"]]
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert len(pictures) == len(changed)
    for picture in pictures:
        assert np.asarray(Image.open(picture)).std() > 10
    lines = printed.stdout.splitlines()
    assert lines[0] == "7 clips; RLT: 12.5 % of the tokens"
    assert any(line.startswith("Same answer: ") for line in lines)
    assert max(map(len, lines[:-1])) <= 80
    for clip in changed:
        assert any(f"{clip['dense']} " in line and f"-> {clip['rlt']} " in line for line in lines)
    assert "bad.mp4: not a video" in printed.stderr


def test_mistakes_are_one_line(model, clips, tmp_path):
    encoder = tmp_path / "encoder"
    load(model)[0].base_model.save_pretrained(encoder)
    load(model)[1].save_pretrained(encoder)
    for words, message in (
        ((clips / "bad.mp4", "--model", model), "Expected a video that can be read, received 1 that cannot"),
        ((clips, "--model", encoder), "expected a classifier"),
        ((clips / "gone.mp4", "--model", model), "no such file or folder"),
    ):
        done = run(*words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert message in done.stderr
