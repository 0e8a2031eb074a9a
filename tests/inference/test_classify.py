# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt classify`: labels, scores and tokens of videos, with every kind of classifier."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from helpers.tiny import NAMES, make_model
from hf_rlt.cli import app


@pytest.fixture(scope="module")
def clips(rendered_digits) -> list[Path]:
    return sorted((rendered_digits / "validation").rglob("*.mp4"))


def run(*arguments):
    return CliRunner().invoke(app, ["classify", *map(str, arguments)])


def classified(*arguments) -> dict:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_scores_are_the_models_and_a_bad_clip_is_one_line(model, network, processor, clips, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    done = run(clips[0], bad, clips[1], "--model", model, "--top-k", 2, "--json")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{bad}: not a video that can be opened")
    assert len(done.stderr.strip().splitlines()) == 1
    first, error, second = map(json.loads, done.stdout.splitlines())
    assert error.keys() == {"video", "error"}
    for clip, found in zip(clips, (first, second), strict=False):
        inputs = processor(str(clip), return_tensors="pt")
        with torch.no_grad():
            best = network(**inputs).logits[0].softmax(-1).topk(2)
        assert found["video"] == str(clip)
        assert [score["label"] for score in found["scores"]] == [NAMES[i] for i in best.indices]
        assert [score["score"] for score in found["scores"]] == pytest.approx(best.values.tolist(), abs=1e-6)
        assert found["tokens_computed"] == int((inputs["run_lengths"] > 0).sum()) < found["tokens"] == 512


def test_a_person_reads_scores_and_tokens(model, clips):
    done = run(clips[0], "--model", model, "--top-k", 99)
    *scores, tokens = done.stdout.strip().splitlines()
    assert {line.split()[1] for line in scores} == set(NAMES)
    assert sum(float(line.split()[0].rstrip("%")) for line in scores) == pytest.approx(100, abs=0.3)
    assert tokens.split()[1:5] == ["of", "512", "tokens", "computed"]
    assert tokens.endswith("%, threshold 0.1)")
    exact = run(clips[0], "--model", model, "--rule", "anchor", "--num-tokens", "0.3").stdout.splitlines()[-1]
    assert exact == "154 of 512 tokens computed (30.1%, anchor, 30 % of the tokens)"
    several = run(clips[0], clips[1], "--model", model, "--top-k", 1).stdout.splitlines()
    assert [several[0], several[3]] == [str(clips[0]), str(clips[1])]


@pytest.mark.parametrize(
    ("kind", "computed", "left"), [("random", 128, 128), ("tome", 512, 512 - 3 * 60), ("sta", 512, 372)]
)
def test_baselines_say_what_they_compute_and_what_they_leave(tmp_path, clips, kind, computed, left):
    found = classified(clips[0], "--model", make_model(tmp_path, kind))
    assert (found["tokens_computed"], found["tokens_left"], found["tokens"]) == (computed, left, 512)


def test_a_videomae_checkpoint_with_other_patches_gets_rlt(tmp_path, clips):
    folder = make_model(tmp_path, "videomae")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    assert "patch_size" not in settings  # what an ordinary VideoMAE folder knows about patches: nothing
    for name in ("video_preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    found = classified(clips[0], "--model", folder, "--threshold", 0.1)
    assert found["tokens"] == 8 * 8 * 8 > found["tokens_computed"]  # patches of 8 pixels
    assert classified(clips[0], "--model", folder, "--threshold", "none")["tokens_computed"] == 512


def test_threshold_frames_and_stride(model, clips):
    def tokens(*options):
        found = classified(clips[0], "--model", model, *options)
        return found["tokens_computed"], found["tokens"]

    usual, more, close = (tokens(*options) for options in ((), ("--num-frames", 32), ("--frame-stride", 1)))
    assert (usual[1], more[1], close[1]) == (512, 1024, 512)
    assert close[0] < usual[0]  # neighbouring frames differ less
    assert tokens("--threshold", 9.0, "--fps", 5) == (64, 512)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nowhere.mp4",), "nowhere.mp4: no such file or folder"),
        ((__file__,), "outputs/digits: found no such folder: train a model with"),
        ((__file__, "--model", "nomodel"), "nomodel: expected a model folder"),
        ((__file__, "--model", "MODEL", "--frame-stride", 2, "--fps", 8), "Expected --frame-stride or --fps, received"),
        ((__file__, "--model", "MODEL", "--fps", 0), "--fps: expected frames per second above 0"),
        ((__file__, "--model", "MODEL", "--threshold", "low"), "--threshold: expected a number, none or model"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(tmp_path, monkeypatch, model, options, message):
    monkeypatch.chdir(tmp_path)
    done = run(*(model if option == "MODEL" else option for option in options))
    assert (done.exit_code, done.stdout, len(done.stderr.strip().splitlines())) == (2, "", 1)
    assert message in done.stderr
