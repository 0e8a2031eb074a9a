# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt classify`: labels, scores and tokens of videos, with every kind of classifier."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from helpers.tiny import NAMES, make_model
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.cli import app


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clips(rendered_digits) -> list[Path]:
    return sorted((rendered_digits / "validation").rglob("*.mp4"))


def run(*arguments):
    return CliRunner().invoke(app, ["classify", *map(str, arguments)])


def test_the_answer_is_the_models(model, clips):
    done = run(clips[0], clips[1], "--model", model, "--top-k", 2, "--json")
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    network = RLTVideoMAEForVideoClassification.from_pretrained(model).eval()
    processor = RLTVideoProcessor.from_pretrained(model)
    for clip, answer in zip(clips, found, strict=False):
        inputs = processor(str(clip), return_tensors="pt")
        with torch.no_grad():
            scores = network(**inputs).logits[0].softmax(-1).tolist()
        best = sorted(range(len(NAMES)), key=lambda i: -scores[i])[:2]
        assert answer["video"] == str(clip)
        assert [score["label"] for score in answer["scores"]] == [NAMES[i] for i in best]
        assert [score["score"] for score in answer["scores"]] == pytest.approx([scores[i] for i in best], abs=1e-6)
        assert answer["tokens_computed"] == int((inputs["run_lengths"] > 0).sum()) < 512
        assert answer["tokens"] == 512
    assert len(found) == 2


def test_a_person_reads_scores_and_tokens(model, clips):
    done = run(clips[0], "--model", model, "--top-k", 99)
    *scores, tokens = done.stdout.strip().splitlines()
    assert {line.split()[1] for line in scores} == set(NAMES)
    assert sum(float(line.split()[0].rstrip("%")) for line in scores) == pytest.approx(100, abs=0.3)
    assert tokens.split()[1:5] == ["of", "512", "tokens", "computed"]
    several = run(clips[0], clips[1], "--model", model, "--top-k", 1).stdout.splitlines()
    assert [several[0], several[3]] == [str(clips[0]), str(clips[1])]


@pytest.mark.parametrize(
    ("kind", "computed", "left"), [("random", 128, 128), ("tome", 512, 512 - 3 * 60), ("sta", 512, None)]
)
def test_baselines_say_what_they_compute_and_what_they_leave(tmp_path, clips, kind, computed, left):
    done = run(clips[0], "--model", make_model(tmp_path, kind), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["tokens_computed"], found["tokens"]) == (computed, 512)
    assert found["tokens_left"] == left if left is not None else found["tokens_left"] < computed


def test_a_videomae_checkpoint_with_other_patches_gets_rlt(tmp_path, clips):
    folder = make_model(tmp_path, "videomae")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    assert "patch_size" not in settings  # what an ordinary VideoMAE folder knows about patches: nothing
    for name in ("video_preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    found = json.loads(run(clips[0], "--model", folder, "--json", "--threshold", 0.1).stdout)
    assert found["tokens"] == 8 * 8 * 8  # patches of 8 pixels
    assert found["tokens_computed"] < 512
    dense = json.loads(run(clips[0], "--model", folder, "--json", "--threshold", "none").stdout)
    assert dense["tokens_computed"] == 512


def test_threshold_frames_and_stride(model, clips):
    def tokens(*options):
        done = run(clips[0], "--model", model, "--json", *options)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        return found["tokens_computed"], found["tokens"]

    usual, more, close = (tokens(*options) for options in ((), ("--num-frames", 32), ("--frame-stride", 1)))
    assert (usual[1], more[1], close[1]) == (512, 1024, 512)
    assert close[0] < usual[0]  # neighbouring frames differ less
    assert tokens("--threshold", 9.0, "--fps", 5) == (64, 512)


def test_a_bad_clip_is_one_line_and_the_others_are_classified(model, clips, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    done = run(clips[0], bad, clips[1], "--model", model, "--json")
    assert done.exit_code == 1
    first, second, third = (json.loads(line) for line in done.stdout.splitlines())
    assert first["scores"]
    assert third["scores"]
    assert second.keys() == {"video", "error"}
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith(f"{bad}: not a video that can be opened")
    alone = run(bad, "--model", model)
    assert (alone.exit_code, alone.stdout, len(alone.stderr.strip().splitlines())) == (1, "", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nowhere.mp4",), "nowhere.mp4: expected a video file, found none"),
        ((__file__,), "outputs/digits: expected a model folder or a Hub id, found no such folder: train one with"),
        ((__file__, "--model", "nomodel"), "nomodel: expected a model folder"),
        ((__file__, "--frame-stride", 2, "--fps", 8), "Expected --frame-stride or --fps, received both"),
        ((__file__, "--fps", 0), "--fps: expected frames per second above 0"),
        ((__file__, "--model", "MODEL", "--threshold", "low"), "--threshold: expected a number, none or model"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(tmp_path, monkeypatch, model, options, message):
    monkeypatch.chdir(tmp_path)
    done = run(*(model if option == "MODEL" else option for option in options))
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
