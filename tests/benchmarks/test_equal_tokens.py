# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Methods compared at equal tokens: arguments of the runs, resuming, evaluations, tables, and one whole comparison."""

import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.common import decoded_job, record
from benchmarks.common.finetune_job import Job, Variant, load_result, train
from benchmarks.common.methods import METHODS, RLT
from benchmarks.common.token_evaluations import Use, evaluate_run, known_evaluations
from benchmarks.common.token_runs import Plan, check_shares
from helpers.stub_job import calls, write_stub
from hf_rlt.data import EvalDataset, VideoList, from_folder
from hf_rlt.errors import HfRltError
from hf_rlt.inference import Options
from hf_rlt.inference.evaluate import evaluate_model
from hf_rlt.inference.loading import load

THRESHOLDS = {"threshold": {0.2: 0.0912345678, 0.3: 0.05}, "anchor": {0.2: 0.07, 0.3: 0.04}}
STUB = """
if "--fail" in words or out.with_name("fail").exists() and "--num_frames" in words:
    sys.exit("it failed")
result = {"eval_accuracy": 0.5, "eval_tokens_computed": 0.25, "train_runtime": 120.0}
(out / "all_results.json").write_text(json.dumps(result))
(out / "trainer_state.json").write_text(json.dumps({"global_step": 9}))
(out / "per_class.csv").write_text("class,clips,accuracy\\nwaits_long,1,1.0\\nwaits_short,1,0.5\\n")
"""


@pytest.fixture
def stub(tmp_path):
    return write_stub(tmp_path, STUB)


def ran(stub):
    return [words[words.index("--output_dir") + 1].rpartition("/")[2] for words in calls(stub)]


def test_the_arguments_of_each_run():
    methods = ("threshold", "anchor", "num_tokens", "by_difference", "random", "optimal")
    plan = Plan((8, 64), 64, methods, (0.2, 0.3), THRESHOLDS)
    trained = {name: " ".join(variant.arguments) for name, variant in plan.part("trained").items()}
    assert trained == {
        "dense": "--threshold none",
        "threshold-0.2": "--rule threshold --threshold 0.0912346",
        "anchor-0.2": "--rule anchor --threshold 0.07",
        "num_tokens-0.2": "--num_tokens 0.2",
        "by_difference-0.2": "--num_tokens 0.2 --method by_difference",
        "random-0.2": "--threshold none --token_keep_ratio 0.2",
        "optimal-0.2": "--num_tokens 0.2 --rule optimal",
        "threshold-0.3": "--rule threshold --threshold 0.05",
        "anchor-0.3": "--rule anchor --threshold 0.04",
        "num_tokens-0.3": "--num_tokens 0.3",
        "by_difference-0.3": "--num_tokens 0.3 --method by_difference",
        "random-0.3": "--threshold none --token_keep_ratio 0.3",
        "optimal-0.3": "--num_tokens 0.3 --rule optimal",
    }
    budgets = {name: " ".join(variant.arguments) for name, variant in plan.part("budgets").items()}
    assert budgets == {
        "num_tokens-0.2": "--num_tokens 0.2",
        "num_tokens-0.25": "--num_tokens 0.25",
        "num_tokens-0.3": "--num_tokens 0.3",
        "num_tokens-0.4": "--num_tokens 0.4",
        "budget_range": "--budget_range 0.2 0.6",
    }
    frames = {name: " ".join(variant.arguments) for name, variant in plan.part("frames").items()}
    assert frames == {
        "num_tokens-0.2": "--num_tokens 0.2",
        "frames-32": "--num_frames 32 --frame_stride 2 --num_tokens 102",
        "frames-64": "--num_frames 64 --frame_stride 1 --num_tokens 102",
    }
    assert list(plan.part("matrix")) == [name for name in trained if "0.3" not in name and "random" not in name]
    assert [plan.num_frames(name) for name in frames] == [16, 32, 64]
    assert list(Plan((8, 64), 32, (), (0.2,)).part("frames")) == ["num_tokens-0.2", "frames-32"]
    assert [variant.random_share for variant in plan.part("trained").values()].count(0.2) == 1


def test_a_share_below_a_frames_is_refused():
    check_shares([0.125, 1], 8)
    for share in (0.1, 1.2):
        with pytest.raises(HfRltError, match=rf"--share: expected 0.125 or more, .* received {share}\."):
            check_shares([0.3, share], 8)


@pytest.mark.slow
def test_runs_go_seed_by_seed_and_resume_and_what_is_missing_is_named(stub, tmp_path, run):
    out = tmp_path / "out"
    words = ["equal-tokens", "--digits-set", "standard", "--train-clips", 8, "--validation-clips", 8, "--share", 0.2]
    words += ["--method", "anchor", "--part", "trained", "--part", "frames", "--seed", 0, "--seed", 1]
    words += ["--launch", shlex.join((sys.executable, str(stub))), "--max-steps", 9, "-o", out]
    (out / "equal-tokens" / "standard-8-8" / "runs").mkdir(parents=True)
    (out / "equal-tokens" / "standard-8-8" / "runs" / "fail").touch()
    failed = run(*words)
    assert failed.exit_code == 2
    names = ["dense", "anchor-0.2", "num_tokens-0.2", "frames-32"]
    assert ran(stub) == [f"{name}-{seed}" for seed in (0, 1) for name in names]
    assert "Not run: frames-32-0, frames-32-1." in failed.stdout
    assert failed.stderr.strip().endswith("it failed")
    sent = " ".join(calls(stub)[1])
    assert "--num_train_epochs 2.5" in sent
    assert "--max_steps 9 --rule anchor --threshold 0." in sent
    (out / "equal-tokens" / "standard-8-8" / "runs" / "fail").unlink()
    done = run(*words, "--jobs", 2)
    assert done.exit_code == 0, done.output
    assert sorted(ran(stub)[8:]) == ["frames-32-0", "frames-32-1"]
    assert "Not run" not in done.stdout
    assert "| anchor | 20 % | 25.0 % | 50.0 % | 75.0 % | 2.0 |" in done.stdout
    tables = run(*words, "--seed", 5, "--tables")
    assert tables.exit_code == 0, tables.output
    assert "Not run: dense-5, anchor-0.2-5, num_tokens-0.2-5, frames-32-5." in tables.stdout
    assert len(calls(stub)) == 10


def test_an_unknown_method_is_refused(run):
    refused = run("equal-tokens", "--method", "tome")
    assert refused.exit_code == 2
    assert "--method: expected threshold, anchor, num_tokens" in refused.stderr


def test_one_failing_run_does_not_keep_the_others(stub, tmp_path):
    variants = {
        "bad": Variant(("--fail", "1")),
        "good": Variant(()),
        "own": Variant((), (sys.executable, str(stub), "own")),
    }
    job = Job((sys.executable, str(stub)), tmp_path / "jobs", variants=variants)
    with pytest.raises(HfRltError, match="it failed"):
        train(job, list(variants), [0, 1], processes=2)
    assert [load_result(job, name, seed) is None for name in variants for seed in (0, 1)] == [True] * 2 + [False] * 4
    assert sum("own" in words for words in calls(stub)) == 2
    (job.run_folder("good", 1) / "result.json").unlink()
    train(job, ["good", "own"], [0, 1], processes=2)
    assert ran(stub)[6:] == ["good-1"]


@pytest.fixture
def clips(base, processor, labelled):
    """Four clips with the labels that the dense model gives them, but for the last."""
    folder, names = labelled
    sources = from_folder(folder, names=names).sources[:4]
    data = EvalDataset(VideoList(sources, [0] * 4, names), processor)
    pixels = torch.stack([data[index]["pixel_values"] for index in range(4)])
    labels = Use({"threshold": None}, RLT).model(base)(pixels).logits.argmax(1).tolist()
    return VideoList(sources, [*labels[:3], (labels[3] + 1) % 5], names)


def test_evaluations_agree_with_the_command_and_are_kept(checkpoint, clips, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for file in checkpoint.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    uses = {
        "half": Use({"num_tokens": 0.5}),
        "anchor": Use({"rule": "anchor", "threshold": 0.5}),
        "dense": Use({"threshold": None}),
    }
    uses["optimal"] = Use({"rule": "optimal", "num_tokens": 0.5})
    uses["by difference"] = Use({"num_tokens": 0.5}, METHODS["by difference"])
    evaluate_run(run, clips, uses)
    found = known_evaluations(run, uses)
    for name in ("half", "anchor", "dense"):
        network, processor = load(str(run), **uses[name].settings)
        wanted = evaluate_model(network.eval(), processor, clips, Options(num_workers=0))
        assert found[name]["accuracy"] == wanted["accuracy"]
        assert found[name]["tokens"] == pytest.approx(wanted["tokens_computed"])
    assert [found[name]["tokens"] for name in ("half", "dense", "optimal", "by difference")] == [0.5, 1, 0.5, 0.5]
    assert found["dense"]["accuracy"] == 0.75
    (run / "config.json").unlink()  # nothing is evaluated again
    evaluate_run(run, clips, uses)
    assert known_evaluations(run, {"half": Use({"num_tokens": 0.25}), "dense": uses["dense"]}).keys() == {"dense"}


def test_frames_are_decoded_once_and_are_those_of_the_data_set(rendered_digits, digits_processor, tmp_path):
    data = EvalDataset(from_folder(rendered_digits / "validation"), digits_processor)
    wanted = [data[index]["pixel_values"] for index in range(len(data))]
    frames = decoded_job.load_frames(tmp_path / "frames", data, resized=True)
    (kept,) = (tmp_path / "frames").iterdir()
    np.lib.format.open_memmap(kept, "r+")[0] = 7
    assert (decoded_job.load_frames(tmp_path / "frames", data, resized=True)[0] == 7).all()
    assert len(frames) == len(data) == 8
    data.cache = dict(enumerate(frames))
    assert all((data[index]["pixel_values"] == wanted[index]).all() for index in range(1, 8))
    decoded_job.load_frames(tmp_path / "frames", data, resized=False)
    assert len(list((tmp_path / "frames").iterdir())) == 2


def made_up():
    """Rows of two seeds, accuracies that can be told apart."""
    run = {
        "steps": 100,
        "tokens_at_evaluation": 0.2,
        "train_seconds": 60.0,
        "drift_accuracy": 0.05,
        "brief_accuracy": 0.9,
    }
    rows = []
    for seed in (0, 1):
        more = {"seed": seed, "num_frames": 16, **run}
        for part, method, accuracy in (
            ("trained", "threshold", 0.6),
            ("trained", "num_tokens", 0.7),
            ("budgets", "num_tokens", 0.7),
        ):
            name = f"{method}-0.2"
            rows.append(
                {
                    "part": part,
                    "method": method,
                    "share": 0.2,
                    "variant": name,
                    "accuracy": accuracy + seed / 10,
                    **more,
                }
            )
        rows.append(
            {
                "part": "budgets",
                "variant": "budget_range",
                "used": "num_tokens-0.2",
                "seed": seed,
                "accuracy": 0.69,
                "tokens": 0.2,
            }
        )
        rows.append(
            {
                "part": "matrix",
                "variant": "threshold-0.2",
                "used": "dense",
                "seed": seed,
                "accuracy": 0.4,
                "tokens": 1.0,
            }
        )
    more = {"seed": 0, **run}
    rows.append(
        {
            "part": "trained",
            "method": "dense",
            "share": 1.0,
            "variant": "dense",
            "num_frames": 16,
            "accuracy": 0.8,
            **more,
        }
    )
    rows.append(
        {
            "part": "trained",
            "method": "random",
            "share": 0.2,
            "variant": "random-0.2",
            "accuracy": 0.3,
            "accuracy_masked": 0.2,
            **more,
        }
    )
    rows.append(
        {
            "part": "frames",
            "variant": "frames-32",
            "num_frames": 32,
            "accuracy": 0.5,
            **more,
            "tokens_at_evaluation": 0.1,
        }
    )
    return rows


def test_tables_and_pictures_of_made_up_results(tmp_path):
    settings = {
        "data": "clips",
        "tokens": 512,
        "num_frames": 16,
        "shares": [0.2],
        "share": 0.2,
        "groups": ["drift", "brief"],
    }
    timing = {
        "seconds_per_step": {"threshold-0.2": [0.2, 0.3, 0.4], "frames-32": [0.5]},
        "steps": 60,
        "model_seconds": {},
    }
    settings["missing"] = ["anchor-0.2-0"]
    record.report(record.save(tmp_path, "equal-tokens", made_up(), settings, timing=timing))
    lines = (tmp_path / "equal-tokens.md").read_text().splitlines()
    for line in (
        "| method | 20 % | all tokens |",
        "| dense |  | 80.0 % (80.0 to 80.0) |",
        "| threshold | 65.0 % (60.0 to 70.0) |  |",
        "| random, masked at evaluation too | 20.0 % (20.0 to 20.0) |  |",
        "| method | tokens wanted | at evaluation | top-1 | drift | brief | s/step, median (quartiles) | training, min |",
        "| threshold | 20 % | 20.0 % | 65.0 % | 5.0 % | 90.0 % | 0.300 (0.250 to 0.350) | 1.0 |",
        "| 20 % | 20.0 % | 69.0 % (69.0 to 69.0) | 75.0 % (70.0 to 80.0) | -6.0 |",
        "| mean |  |  |  | -6.0 |",
        "| 32 | 102 | 10.0 % | 50.0 % (50.0 to 50.0) | 5.0 % | 90.0 % | 0.500 | 1.0 |",
        "| trained with | dense |",
        "| threshold | 40.0 % (40.0 to 40.0) |",
        "| tokens computed | 100.0 % |",
        "Not run: anchor-0.2-0.",
    ):
        assert line in lines, line
    assert {path.name for path in tmp_path.glob("*.png")} == {
        f"equal-tokens{group}.png" for group in ("", "_drift", "_brief")
    }


@pytest.mark.slow
def test_training_on_decoded_frames_is_the_same(rendered_digits, tmp_path):
    words = ["--train_dir", rendered_digits / "train", "--validation_dir", rendered_digits / "validation"]
    words += ["--max_steps", 3, "--per_device_train_batch_size", 8, "--report_to", "none", "--learning_rate", 1e-3]
    launches = {"plain": ["hf_rlt.training.finetune"]}
    launches |= {name: ["benchmarks.common.decoded_job", tmp_path / "frames"] for name in ("first", "second")}
    for name, launch in launches.items():
        command = [sys.executable, "-m", *launch, *words, "--output_dir", tmp_path / name]
        subprocess.run([*map(str, command)], check=True, capture_output=True)
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in launches}
    for name in ("first", "second"):
        assert all((weights[name][key] == value).all() for key, value in weights["plain"].items())


@pytest.mark.slow
def test_a_whole_comparison_of_two_steps(measured):
    words = ["--digits-set", "hard", "--train-clips", 42, "--validation-clips", 21, "--share", 0.2, "--seed", 0]
    words += ["--method", "by_difference", "--method", "random", "--method", "optimal", "--jobs", 2, "--max-steps", 2]
    found, text = measured("equal-tokens", *words)
    assert found["settings"]["missing"] == []
    trained = [row for row in found["rows"] if row["part"] == "trained"]
    assert [row["variant"] for row in trained] == ["dense", "by_difference-0.2", "random-0.2", "optimal-0.2"]
    assert [round(row["tokens_at_evaluation"], 2) for row in trained] == [1, 0.2, 1, 0.2]
    assert "accuracy_masked" in trained[2]
    used = [(row["variant"], row["used"]) for row in found["rows"] if row["part"] == "matrix"]
    names = ["dense", "by_difference-0.2", "optimal-0.2"]
    assert used == [(trained_with, way) for trained_with in names for way in names]
    budgets = {row["used"]: row["tokens"] for row in found["rows"] if row["part"] == "budgets" and "used" in row}
    assert budgets == {f"num_tokens-{share}": pytest.approx(share, abs=2e-3) for share in (0.2, 0.25, 0.4)}
    assert "| 64 | 102 | 5.0 % |" in text
