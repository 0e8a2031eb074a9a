# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The metric, multi-view evaluation and its command line."""

import csv
import json
import logging
import subprocess
import sys

import evaluate
import numpy as np
import pytest
import torch
from transformers import TrainingArguments
from typer.testing import CliRunner

import hf_rlt.inference.metrics
from helpers.paths import ROOT
from helpers.tiny import TINY, randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification
from hf_rlt.cli import app
from hf_rlt.data import EvalDataset, VideoList, from_folder
from hf_rlt.inference.evaluate import evaluate_model, write_per_class
from hf_rlt.inference.metrics import VideoAccuracy

TWO_PROCESSES = ROOT / "examples" / "accelerate_configs" / "cpu.yaml"


@pytest.fixture(scope="module")
def names(rendered_digits):
    return from_folder(rendered_digits / "validation").names


@pytest.fixture(scope="module")
def model(names):
    shape = {key: value for key, value in TINY.items() if key != "num_labels"} | {"image_size": 64, "num_frames": 16}
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    config = RLTVideoMAEConfig(**shape, **labels)
    return randomise(RLTVideoMAEForVideoClassification(config))


@pytest.fixture(scope="module")
def folder(model, digits_processor, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    model.save_pretrained(path)
    digits_processor.save_pretrained(path)
    return path


def test_accuracies_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(60, 7)).astype(np.float32), rng.integers(0, 6, 60)  # class 6 has no clip
    labels[[3, 40]] = -100
    top, five, hits = 0, 0, {k: [] for k in range(6)}
    for row, label in zip(scores, labels, strict=True):
        if label < 0:
            continue
        better = sum(value > row[label] for value in row)
        top += better == 0
        five += better < 5
        hits[int(label)].append(better == 0)
    result = VideoAccuracy().compute(predictions=scores, references=labels)
    assert result["clips"] == 58
    assert result["accuracy"] == pytest.approx(top / 58)
    assert result["top_5_accuracy"] == pytest.approx(five / 58)
    assert result["mean_class_accuracy"] == pytest.approx(np.mean([np.mean(values) for values in hits.values()]))
    assert result["per_class"] == {k: (len(values), sum(values)) for k, values in hits.items()}
    assert "top_5_accuracy" not in VideoAccuracy().compute(predictions=scores[:, :5], references=labels % 5)
    loaded = evaluate.load(hf_rlt.inference.metrics.__file__)
    assert loaded.compute(predictions=scores, references=labels)["accuracy"] == result["accuracy"]
    with pytest.raises(ValueError, match="at least one clip with a label"):
        VideoAccuracy().compute(predictions=scores[:2], references=[-100, -100])


def test_views_are_averaged_as_probabilities_one_by_one(model, rendered_digits, digits_processor, tmp_path):
    clips = from_folder(rendered_digits / "validation")
    data = EvalDataset(clips, digits_processor, num_clips=3)
    hits, shares = [], []
    with torch.no_grad():
        for i in range(len(data)):
            views = data[i]["pixel_values"]
            probabilities = torch.stack([model(view[None]).logits[0].softmax(-1) for view in views]).mean(0)
            hits.append(int(probabilities.argmax()) == clips.labels[i])
            shares.append(float((data[i]["run_lengths"] > 0).float().mean()))
    args = TrainingArguments(str(tmp_path), per_device_eval_batch_size=3, use_cpu=True, report_to=[])
    result = evaluate_model(model, digits_processor, clips, num_clips=3, args=args)
    assert result["accuracy"] == pytest.approx(np.mean(hits))
    assert result["tokens_computed"] == pytest.approx(np.mean(shares), abs=1e-6)
    assert (result["clips"], result["unreadable"], result["num_clips"]) == (8, 0, 3)
    again = evaluate_model(model, digits_processor, clips, num_clips=3, args=args)
    timeless = [{k: v for k, v in r.items() if k != "clips_per_second"} for r in (result, again)]
    assert timeless[0] == timeless[1]


def test_random_masking_at_evaluation_is_the_same_each_time(rendered_digits, digits_processor):
    clips = from_folder(rendered_digits / "validation")
    full = EvalDataset(clips, digits_processor)
    masked = [EvalDataset(clips, digits_processor, token_keep_ratio=0.25) for _ in range(2)]
    for i in range(8):
        lengths = masked[0][i]["run_lengths"]
        assert torch.equal(lengths, masked[1][i]["run_lengths"])
        assert int((lengths > 0).sum()) == round(0.25 * int((full[i]["run_lengths"] > 0).sum()))


def test_the_command_reports_a_table_json_and_bad_videos(folder, rendered_digits, names, tmp_path, caplog):
    good = from_folder(rendered_digits / "validation")
    rows = [(path, names[label]) for path, label in zip(good.sources, good.labels, strict=True)]
    with (tmp_path / "clips.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows, (tmp_path / "gone.mp4", names[0])])
    command = ["evaluate", str(folder), str(tmp_path / "clips.csv"), "--workers", "0", "--on-bad-video", "skip"]
    with caplog.at_level(logging.WARNING):
        done = CliRunner().invoke(app, [*command, "--num-clips", "2", "--output-dir", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "8, 2 clips x 1 crops each" in done.output
    assert "Skipped, unreadable" in done.output
    assert caplog.text.count("gone.mp4 (") == 1
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (result["clips"], result["unreadable"]) == (8, 1)
    with (tmp_path / "out" / "per_class.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["class"] for row in table] == names
    assert sum(int(row["clips"]) * float(row["accuracy"]) for row in table) == pytest.approx(8 * result["accuracy"])
    as_json = CliRunner().invoke(app, [*command, "--num-clips", "2", "--json"])
    printed = json.loads(as_json.stdout)
    assert printed["accuracy"] == result["accuracy"]
    stopped = CliRunner().invoke(app, command[:-2])
    assert stopped.exit_code == 2
    assert "gone.mp4" in stopped.stderr
    assert len(stopped.stderr.strip().splitlines()) == 1


def test_a_threshold_may_be_given(folder, rendered_digits):
    command = ["evaluate", str(folder), str(rendered_digits / "validation"), "--workers", "0", "--json"]
    shares = []
    for threshold in ("none", "0.05", "model", "0.5"):
        done = CliRunner().invoke(app, [*command, "--threshold", threshold])
        shares.append(json.loads(done.stdout)["tokens_computed"])
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[1] > shares[2] > shares[3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("MODEL", "nowhere.csv"), "nowhere.csv: expected a CSV file"),
        (("nowhere", "DATA"), "nowhere: expected a model folder or a Hub id"),
        (("MODEL", "DATA", "--threshold", "high"), "--threshold: expected a number, none or model, received 'high'"),
        (("MODEL", "DATA", "--on-bad-video", "ignore"), "Expected on_bad_video to be one of"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(folder, rendered_digits, words, message):
    places = {"MODEL": str(folder), "DATA": str(rendered_digits / "validation")}
    done = CliRunner().invoke(app, ["evaluate", *(places.get(word, word) for word in words)])
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_without_a_classifier_is_refused(model, digits_processor, rendered_digits, tmp_path):
    model.videomae.save_pretrained(tmp_path)
    digits_processor.save_pretrained(tmp_path)
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path), str(rendered_digits / "validation")])
    assert done.exit_code == 2
    assert "expected a classifier, found weights without classifier.bias, classifier.weight" in done.stderr
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path), str(rendered_digits / "validation")])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_clips_of_classes_that_the_model_lacks_are_refused(folder, rendered_digits, tmp_path):
    (tmp_path / "flies").mkdir()
    (tmp_path / "flies" / "a.mp4").touch()
    done = CliRunner().invoke(app, ["evaluate", str(folder), str(tmp_path)])
    assert "received unknown 'flies'" in done.stderr


def test_nothing_readable_is_an_error_not_a_score(folder, names, digits_processor, model, tmp_path):
    clips = VideoList([tmp_path / "gone.mp4"], [0], names)
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    with pytest.raises(ValueError, match="None of the 1 videos to evaluate on can be read"):
        evaluate_model(model, digits_processor, clips, on_bad_video="skip", args=args)


def assert_same(result, wanted):
    assert result.keys() == wanted.keys()
    assert result["per_class"] == wanted["per_class"]
    for name in result.keys() - {"per_class", "clips_per_second"}:
        assert result[name] == pytest.approx(wanted[name], abs=1e-6), name


@pytest.mark.parametrize("views", [1, 3])
def test_by_tokens_the_result_is_the_same_and_no_batch_has_more(
    model, rendered_digits, digits_processor, tmp_path, views
):
    clips = from_folder(rendered_digits / "validation")
    data = EvalDataset(clips, digits_processor, num_clips=views)
    counts = [int((item["run_lengths"] > 0).sum()) for item in data]
    limit = sorted(counts)[-2] + min(
        counts
    )  # the largest but one may have company; the largest may have to stand alone
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    wanted = evaluate_model(model, digits_processor, clips, num_clips=views, args=args)
    batches = []
    watched = model.register_forward_pre_hook(
        lambda _, args, kwargs: batches.append((kwargs["run_lengths"] > 0).flatten(1).sum(1).tolist()), with_kwargs=True
    )
    try:
        result = evaluate_model(model, digits_processor, clips, num_clips=views, args=args, max_tokens=limit)
    finally:
        watched.remove()
    assert_same(result, wanted)
    assert sorted(count for batch in batches for count in batch) == sorted(counts)
    assert all(sum(batch) <= limit or len(batch) == 1 for batch in batches)
    assert 1 < len(batches) < len(counts)
    assert result["clips_per_second"] > 0
    with pytest.raises(ValueError, match="max_tokens >= 1"):
        evaluate_model(model, digits_processor, clips, args=args, max_tokens=0)


def test_two_processes_evaluate_by_tokens_what_one_does(folder, rendered_digits, names, tmp_path):
    good = from_folder(rendered_digits / "validation")
    rows = [(path, names[label]) for path, label in zip(good.sources, good.labels, strict=True)]
    with (tmp_path / "clips.csv").open("w", newline="") as stream:  # nine: one process has one more
        csv.writer(stream).writerows([("path", "label"), *rows[:5], (tmp_path / "gone.mp4", names[0]), *rows[5:]])
    words = ["evaluate", str(folder), str(tmp_path / "clips.csv"), "--max-tokens", "400", "--on-bad-video", "skip"]
    words += ["--workers", "1", "--json"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(TWO_PROCESSES), "-m", "hf_rlt"]
    both = subprocess.run([*launch, *words], capture_output=True, text=True, timeout=240, check=False)
    assert both.returncode == 0, both.stderr
    alone = CliRunner().invoke(app, words)
    assert alone.exit_code == 0, alone.output
    printed = json.loads(both.stdout[both.stdout.index("{") :])
    assert_same(printed, json.loads(alone.stdout))
    assert (printed["clips"], printed["unreadable"]) == (8, 1)


def test_a_spreadsheet_takes_no_class_for_a_formula(tmp_path):
    names = [
        "=cmd|'/C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\uff1d1",
        "run",
        "-5",
        "+1.5",
        "a=b",
    ]
    path = write_per_class([(name, 3, 0.5) for name in names], tmp_path)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))[1:]
    assert [row[0] for row in rows] == [f"'{name}" for name in names[:8]] + names[8:]
    assert {tuple(row[1:]) for row in rows} == {("3", "0.5")}
