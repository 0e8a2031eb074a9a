# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tuning in variants: runs that resume, timings, tables."""

import csv
import json
import shlex
import sys

import numpy as np
import pytest

from benchmarks.common import record
from benchmarks.common.finetune_job import Job, paper_values, paper_variants, train
from benchmarks.common.finetune_timing import OpenedJob, time_steps
from helpers.paths import ROOT
from helpers.stub_job import calls, write_stub
from hf_rlt.data import EvalDataset, VideoList, from_folder, hard_digits, rendered

STUB = """
if "--fail" in words:
    sys.exit("first line\\nthe last line")
rate = 0.5 if "none" in words else 0.75
result = {"eval_accuracy": rate, "eval_tokens_computed": 0.3, "train_runtime": 12.0 if "none" in words else 6.0}
(out / "all_results.json").write_text(json.dumps(result))
(out / "trainer_state.json").write_text(json.dumps({"global_step": 600}))
if "--frame_stride" in words:
    classes = sorted(path.name for path in pathlib.Path(words[words.index("--validation_dir") + 1]).iterdir())
    lines = ["class,clips,accuracy", *(f"{name},20,{0.25 if name in ('darkens', 'stays') else 1}" for name in classes)]
    (out / "per_class.csv").write_text("\\n".join(lines))
"""

VARIANTS = paper_variants(paper_values(0.1, 1.0, 0))


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    return tmp_path / "videos"


@pytest.fixture
def stub(tmp_path):
    return write_stub(tmp_path, STUB)


def launch(stub):
    return shlex.join((sys.executable, str(stub)))


def test_the_finetune_command_starts_each_variant_and_goes_on_where_it_was(stub, videos, tmp_path, run):
    out = tmp_path / "out"
    words = ["finetune", "--train", videos, "--validation", videos, "--model", "m", "--launch", launch(stub)]
    words += ["--random-ratio", 0.25, "--tome-r", 64, "--seed", 3, "--seed", 4, "-o", out]
    done = run(*words, "--", "--bf16", "True")
    assert done.exit_code == 0, done.output
    shared = [
        "--train_dir",
        str(videos),
        "--validation_dir",
        str(videos),
        *["--model_name_or_path", "m", "--bf16", "True"],
    ]
    options = {
        "dense": ["--threshold", "none"],
        "ToMe": ["--threshold", "none", "--tome_r", "64"],
        "random": ["--threshold", "none", "--token_keep_ratio", "0.25"],
        "RLT": ["--threshold", "0.1"],
    }
    runs = out / "finetune" / "runs"
    assert calls(stub) == [
        [*shared, *more, "--length_embedding", "False", "--seed", seed, "--output_dir", str(runs / f"{name}-{seed}")]
        for seed in ("3", "4")
        for name, more in options.items()
    ]
    assert "| dense | 50.0 % (50.0 to 50.0) | 12.0 s | 80.1 %, 14.4 h, 1.0 x | 70.3 %, 10.1 h, 1.0 x |" in done.stdout
    assert "| ToMe, r = 64 | 50.0 % (50.0 to 50.0) | 12.0 s | 80.0 %, 13.4 h, 1.1 x |" in done.stdout
    assert "random, 25.0 % of the tokens | 50.0 %" in done.stdout
    assert "pair" not in done.stdout
    (runs / "RLT-4" / "result.json").unlink()
    again = run(*words, "--", "--bf16", "True")
    assert again.stdout == done.stdout
    assert len(calls(stub)) == 9
    assert calls(stub)[-1][-1] == str(runs / "RLT-4")
    other = run(*words, "--threshold", 0.2, "--variant", "RLT", "--", "--bf16", "True")
    assert other.exit_code == 2
    assert "RLT-3: expected a run of " in other.stderr
    assert len(calls(stub)) == 9


def test_the_ablation_has_its_own_variants(stub, videos, tmp_path, run):
    words = ["--train", videos, "--launch", launch(stub), "--seed", 0, "--max-steps", 9, "-o", tmp_path / "out"]
    done = run("ablation", *words)
    assert done.exit_code == 0, done.output
    sent = [" ".join(words[2 : words.index("--seed")]) for words in calls(stub)]
    assert sent == [
        "--max_steps 9 --threshold 0.1 --length_embedding False",
        "--max_steps 9 --threshold 0.1 --length_embedding True",
        "--max_steps 9 --threshold 0.1 --token_keep_ratio 0.7 --length_embedding False",
        "--max_steps 9 --threshold 0.1 --token_keep_ratio 0.7 --length_embedding True",
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "| variant | top-1, mean (lowest to highest) | whole job | paper: ViT-L, K400 |"
    assert "| RLT + length | 75.0 % (75.0 to 75.0) | 6.0 s |  |" in lines
    assert "| RLT + random 0.7 | 75.0 % (75.0 to 75.0) | 6.0 s | 84.2 % or 83.3 %, disputed |" in lines


def test_the_hard_set_is_rendered_and_told_group_by_group(stub, tmp_path, run, monkeypatch):
    monkeypatch.setattr(hard_digits, "render_clip", lambda *_: None)
    monkeypatch.setattr(rendered, "write_video", lambda path, *_: path.touch())
    words = ["finetune", "--digits-set", "hard", "--train-clips", 42, "--variant", "dense", "--launch", launch(stub)]
    words += ["--random-ratio", 0.2, "--tome-r", 8, "--seed", 0, "-o", tmp_path / "out"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "out" / "finetune" / "digits-hard"
    assert len(list(folder.glob("train/*/*.mp4"))) == 42
    assert len(list(folder.glob("validation/*/*.mp4"))) == 400
    (sent,) = calls(stub)
    assert sent[sent.index("--frame_stride") + 1] == "4"
    head, _, row = done.stdout.splitlines()[:3]
    assert head.startswith("| variant | top-1, mean (lowest to highest) | brief | drift | flicker | pan | ")
    drift = (2 * 0.25 + 1) / 3  # two of three classes are not told apart
    assert f"| 100.0 % (100.0 to 100.0) | {100 * drift:.1f} % (" in row
    assert "Built-in digits-hard, 42 training and 400 validation clips" in done.stdout
    other = run("finetune", "--digits-set", "soft", "--launch", launch(stub), "-o", tmp_path / "out")
    assert other.exit_code == 2
    assert "--digits_set: expected standard or hard, received 'soft'" in other.stderr


def test_an_interrupted_runs_clock_is_not_believed(stub, tmp_path):
    job = Job((sys.executable, str(stub)), tmp_path / "jobs", data=("--data", "x"), variants=VARIANTS)
    (job.run_folder("RLT", 0) / "checkpoint-5").mkdir(parents=True)
    train(job, ["RLT"], [0])
    assert json.loads((job.run_folder("RLT", 0) / "result.json").read_text())["train_seconds"] is None


def test_a_script_that_fails_is_quoted_and_its_run_is_done_again(stub, videos, tmp_path, run):
    words = ["ablation", "--train", videos, "--launch", launch(stub), "--variant", "RLT", "--seed", 0]
    failed = run(*words, "-o", tmp_path / "out", "--", "--fail", "1")
    assert failed.exit_code == 2
    assert failed.stderr.strip().endswith("RLT-0.log, at the end: the last line")
    run(*words, "-o", tmp_path / "out", "--", "--fail", "1")
    assert len(calls(stub)) == 2


def test_steps_are_timed_in_turn_with_every_training_clip_and_few_others(stub, tmp_path):
    clips = VideoList([tmp_path / f"{i}.mp4" for i in range(6)], [0, 0, 1, 1, 1, 0], ["no", "yes"])
    data = ("--train_dir", "x", "--model_name_or_path", "m")
    extra = ("--bf16", "True", "--eval_strategy", "epoch")
    job = Job((sys.executable, str(stub)), tmp_path / "jobs", data=data, extra=extra, variants=VARIANTS)
    seconds = time_steps(job, ["dense", "RLT"], (clips, clips), steps=3, rounds=2)
    assert seconds == {"dense": [4.0, 4.0], "RLT": [2.0, 2.0]}
    assert [words[words.index("--threshold") + 1] for words in calls(stub)] == ["none", "0.1", "none", "0.1"]
    words = calls(stub)[0]
    assert words[words.index("--max_steps") + 1] == "3"
    assert words[-1 - words[::-1].index("--eval_strategy") + 1] == "no"
    assert words[words.index("--model_name_or_path") + 1] == "m"
    assert "--train_dir" not in words
    folder = tmp_path / "jobs" / "timing"
    listed = [list(csv.reader((folder / f"{name}.csv").open())) for name in ("train", "validation")]
    assert [len(rows) for rows in listed] == [7, 3]
    assert listed[1][1:] == [[str(tmp_path / "0.mp4"), "no"], [str(tmp_path / "2.mp4"), "yes"]]


def test_the_real_script_tells_share_of_tokens_and_seconds_of_a_step(rendered_digits, digits_processor, tmp_path):
    data = ("--train_dir", str(rendered_digits / "train"), "--validation_dir", str(rendered_digits / "validation"))
    extra = ("--per_device_train_batch_size", "2")
    script = OpenedJob(Job((), tmp_path, data=data, extra=extra, variants=VARIANTS))
    items = EvalDataset(from_folder(rendered_digits / "train"), digits_processor)
    shares = [float((items[i]["run_lengths"] > 0).float().mean()) for i in range(len(items))]
    assert script.share_and_tome_r(tmp_path)[0] == pytest.approx(np.mean(shares))
    seconds = script.model_seconds(["RLT", "RLT+random"], repeats=1)
    assert all(0 < value < 10 for value in seconds.values())


def test_the_table_of_timings_has_medians_quartiles_and_speed_ups(tmp_path):
    run = {"seed": 0, "accuracy": 0.5, "steps": 100, "train_seconds": 1.0}
    rows = [{"variant": name, **run} for name in ("dense", "RLT")]
    timing = {"seconds_per_step": {"dense": [0.8, 0.9, 1.2], "RLT": [0.3]}, "steps": 60}
    timing["model_seconds"] = {"dense": 0.6, "RLT": 0.2}
    settings = {"data": "clips", "threshold": 0.1, "random_ratio": 0.5, "keep_of_runs": 0.7}
    record.report(record.save(tmp_path, "finetune", rows, settings, timing=timing))
    text = (tmp_path / "finetune.md").read_text()
    assert "| dense | 50.0 % (50.0 to 50.0) | 0.900 (0.850 to 1.050) | 1.5 min | 1.0 x | 0.600 s | 1.0 x |" in text
    assert "| RLT | 50.0 % (50.0 to 50.0) | 0.300 | 30.0 s | 3.0 x | 0.200 s | 3.0 x |" in text
    assert "disputed" not in text


def test_the_table_in_the_docs_is_made_of_the_kept_record(tmp_path, run):
    kept = ROOT / "benchmarks" / "results" / "finetune.json"
    assert run("report", kept, "-o", tmp_path).exit_code == 0
    assert (tmp_path / "finetune.md").read_bytes() == kept.with_suffix(".md").read_bytes()
    table = (tmp_path / "finetune.md").read_text().split("\n\n")[0]
    assert table in (ROOT / "docs" / "fine_tuning.md").read_text()
