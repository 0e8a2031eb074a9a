# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The metric, multi-view evaluation and its command."""

import csv
import json
import logging
import os
import subprocess
import sys

import evaluate
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hf_rlt.inference.metrics
from helpers.paths import ROOT
from helpers.tiny import TINY, randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification
from hf_rlt.baselines import ByDifferenceVideoMAEConfig, ByDifferenceVideoMAEForVideoClassification
from hf_rlt.cli import app
from hf_rlt.data import EvalDataset, VideoList, from_folder
from hf_rlt.inference import Options, Rank
from hf_rlt.inference.evaluate import evaluate_model, write_per_class
from hf_rlt.inference.metrics import VideoAccuracy

TWO_PROCESSES = ROOT / "examples" / "accelerate_configs" / "cpu.yaml"
HERE = Options(num_workers=0)


@pytest.fixture(scope="module")
def clips(rendered_digits) -> VideoList:
    return from_folder(rendered_digits / "validation")


@pytest.fixture(scope="module")
def model(clips):
    shape = {key: value for key, value in TINY.items() if key != "num_labels"} | {"image_size": 64, "num_frames": 16}
    config = RLTVideoMAEConfig(**shape, id2label=dict(enumerate(clips.names)))
    return randomise(RLTVideoMAEForVideoClassification(config))


@pytest.fixture(scope="module")
def folder(model, digits_processor, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    model.save_pretrained(path)
    digits_processor.save_pretrained(path)
    return path


@pytest.fixture
def with_a_missing_video(clips, tmp_path):
    """An annotation file of nine videos, the sixth of which does not exist."""
    rows = [(path, clips.names[label]) for path, label in zip(clips.sources, clips.labels, strict=True)]
    with (tmp_path / "clips.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("path", "label"), *rows[:5], (tmp_path / "gone.mp4", clips.names[0]), *rows[5:]])
    return tmp_path / "clips.csv"


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def assert_same(result, wanted):
    assert result.keys() == wanted.keys()
    assert result["per_class"] == wanted["per_class"]
    for name in result.keys() - {"per_class", "clips_per_second"}:
        assert result[name] == pytest.approx(wanted[name], abs=1e-6), name


def test_accuracies_follow_their_definition():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(60, 7)).astype(np.float32), rng.integers(0, 6, 60)  # class 6 has no clip
    labels[[3, 40]] = -100
    hits, five = {k: [] for k in range(6)}, 0
    for row, label in zip(scores[labels >= 0], labels[labels >= 0], strict=True):
        better = sum(value > row[label] for value in row)
        hits[int(label)].append(better == 0)
        five += better < 5
    result = VideoAccuracy().compute(predictions=scores, references=labels)
    assert result["clips"] == 58
    assert result["accuracy"] == pytest.approx(sum(map(sum, hits.values())) / 58)
    assert result["top_5_accuracy"] == pytest.approx(five / 58)
    assert result["mean_class_accuracy"] == pytest.approx(np.mean([np.mean(values) for values in hits.values()]))
    assert result["per_class"] == {k: (len(values), sum(values)) for k, values in hits.items()}
    assert "top_5_accuracy" not in VideoAccuracy().compute(predictions=scores[:, :5], references=labels % 5)
    loaded = evaluate.load(hf_rlt.inference.metrics.__file__)
    assert loaded.compute(predictions=scores, references=labels)["accuracy"] == result["accuracy"]
    with pytest.raises(ValueError, match="at least one clip with a label"):
        VideoAccuracy().compute(predictions=scores[:2], references=[-100, -100])


@pytest.mark.parametrize(("views", "ratio"), [(1, 0.25), (3, None)])
def test_views_are_averaged_as_probabilities_and_each_clip_counts_once(model, clips, digits_processor, views, ratio):
    data = EvalDataset(clips, digits_processor, num_clips=views, token_keep_ratio=ratio)
    hits, shares = [], []
    with torch.no_grad():
        for i in range(len(data)):
            pixels, runs = (data[i][name] for name in ("pixel_values", "run_lengths"))
            pixels, runs = (pixels, runs) if views > 1 else (pixels[None], runs[None])
            each = [model(pixels[v : v + 1], run_lengths=runs[v : v + 1]).logits[0].softmax(-1) for v in range(views)]
            hits.append(int(torch.stack(each).mean(0).argmax()) == clips.labels[i])
            shares.append(float((runs > 0).float().mean()))
    options = Options(num_clips=views, batch_size=3 * views, num_workers=0, token_keep_ratio=ratio)
    result = evaluate_model(model, digits_processor, clips, options)
    assert result["accuracy"] == pytest.approx(np.mean(hits))
    assert result["tokens_computed"] == pytest.approx(np.mean(shares), abs=1e-6)
    assert (result["clips"], result["unreadable"], result["num_clips"]) == (8, 0, views)


def test_the_result_says_how_a_method_that_chooses_by_itself_spent_its_tokens(model, clips, digits_processor):
    config = ByDifferenceVideoMAEConfig(**{**model.config.to_diff_dict(), "threshold": None, "num_tokens": 0.25})
    chooses = ByDifferenceVideoMAEForVideoClassification(config)
    dense = type(digits_processor)(**{**digits_processor.to_dict(), "threshold": None})
    result = evaluate_model(chooses, dense, clips, HERE)
    assert (result["num_tokens"], result["threshold"], result["tokens_computed"]) == (0.25, None, 0.25)
    result = evaluate_model(model, digits_processor, clips, HERE)
    assert (result["num_tokens"], result["threshold"]) == (None, 0.1)


def test_each_of_two_ranks_gets_the_result_of_one(model, clips, digits_processor):
    wanted, shares = evaluate_model(model, digits_processor, clips, HERE), []
    for number in range(2):  # the first pass only records what each rank would send
        rank = Rank(number, 2, gather=lambda rows: shares.append(rows) or [])
        with pytest.raises(ValueError, match="None of the 8 videos"):
            evaluate_model(model, digits_processor, clips, HERE, rank=rank)
    assert [[row[0] for row in rows] for rows in shares] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    rank = Rank(1, 2, gather=lambda rows: [*shares[0], *rows])
    assert_same(evaluate_model(model, digits_processor, clips, HERE, rank=rank), wanted)


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(folder, with_a_missing_video):
    words = ["evaluate", str(with_a_missing_video), "--model", str(folder), "--max-tokens-per-batch", "400"]
    words += ["--on-bad-video", "skip", "--num-workers", "1", "--json"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(TWO_PROCESSES), "-m", "hf_rlt"]
    both = subprocess.run([*launch, *words], capture_output=True, text=True, timeout=240, check=False)
    assert both.returncode == 0, both.stderr
    alone = run(*words[1:])
    assert alone.exit_code == 0, alone.output
    printed = json.loads(both.stdout[both.stdout.index("{") :])
    assert_same(printed, json.loads(alone.stdout))
    assert (printed["clips"], printed["unreadable"]) == (8, 1)


def test_rows_of_a_data_set_are_read_where_they_are_decoded(model, clips, digits_processor):
    rows = tuple({"path": None, "bytes": path.read_bytes()} for path in clips.sources)
    listed = VideoList(rows, clips.labels, clips.names)
    found, wanted = (evaluate_model(model, digits_processor, each, Options(num_workers=1)) for each in (listed, clips))
    assert_same(found, wanted)


def test_the_command_reports_a_table_json_and_bad_videos(folder, clips, with_a_missing_video, tmp_path, caplog):
    command = [with_a_missing_video, "--model", folder, "--num-workers", "0", "--num-clips", "2"]
    with caplog.at_level(logging.WARNING):
        done = run(*command, "--on-bad-video", "skip", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "8, each in 2 x 1 views" in done.output
    assert "Skipped, unreadable" in done.output
    assert caplog.text.count("gone.mp4 (") == 1
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (result["clips"], result["unreadable"]) == (8, 1)
    with (tmp_path / "out" / "per_class.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["class"] for row in table] == clips.names
    assert sum(int(row["clips"]) * float(row["accuracy"]) for row in table) == pytest.approx(8 * result["accuracy"])
    assert_same(json.loads(run(*command, "--on-bad-video", "skip", "--json").stdout), result)
    stopped = run(*command)
    assert stopped.exit_code == 2
    assert "Clip 5 of the data set cannot be read" in stopped.stderr
    assert len(stopped.stderr.strip().splitlines()) == 1


def test_a_threshold_and_bfloat16_can_be_chosen(folder, rendered_digits):
    command = [rendered_digits / "validation", "--model", folder, "--num-workers", "0", "--json"]
    shares = []
    for threshold in ("none", "0.05", "model", "0.5"):
        done = run(*command, "--threshold", threshold, *(["--bf16"] if threshold == "none" else []))
        shares.append(json.loads(done.stdout)["tokens_computed"])
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[1] > shares[2] > shares[3]
    rule = ("--rule", "anchor", "--num-tokens", "0.3")
    found = json.loads(run(*command, *rule).stdout)
    assert [found[name] for name in ("rule", "num_tokens", "tokens_computed")] == ["anchor", 0.3, 154 / 512]
    assert "anchor, 30 % of the tokens" in run(*command[:-1], *rule).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.csv", "MODEL"), "nowhere.csv: expected a CSV file"),
        (("DATA", "nowhere"), "nowhere: expected a model folder or a Hub id"),
        (("DATA", "ENCODER"), "expected a classifier, found weights without classifier.bias, classifier.weight"),
        (("DATA", "TORN"), "TORN: "),
        (("FOREIGN", "MODEL"), "received 'flies'"),
        (("DATA", "MODEL", "--threshold", "high"), "--threshold: expected a number, none or model, received 'high'"),
        (("DATA", "MODEL", "--on-bad-video", "ignore"), "Expected on_bad_video to be one of"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    folder, model, digits_processor, rendered_digits, tmp_path, words, message
):
    for name in {"ENCODER", "TORN"} & set(words):
        model.base_model.save_pretrained(tmp_path / name)
        digits_processor.save_pretrained(tmp_path / name)
        if name == "TORN":
            os.truncate(tmp_path / name / "model.safetensors", 1000)
    (tmp_path / "FOREIGN" / "flies").mkdir(parents=True)
    (tmp_path / "FOREIGN" / "flies" / "a.mp4").touch()
    places = {"MODEL": folder, "DATA": rendered_digits / "validation"}
    places |= {name: tmp_path / name for name in ("ENCODER", "TORN", "FOREIGN")}
    data, name, *options = (places.get(word, word) for word in words)
    done = run(data, "--model", name, *options)
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1), done.output
    assert message in done.stderr


def test_spreadsheets_take_no_class_for_a_formula(tmp_path):
    formulas = ["=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"]
    others = ["run", "-5", "+1.5", "a=b"]
    path = write_per_class([(name, 3, 0.5) for name in (*formulas, *others)], tmp_path)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))[1:]
    assert [row[0] for row in rows] == [f"'{name}" for name in formulas] + others
    assert {tuple(row[1:]) for row in rows} == {("3", "0.5")}
