# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The folder of `hf-rlt predict`: resumed after anything, written by several processes, never somebody else's."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy
import pandas
import pyarrow.parquet as pq
import pytest
import torch

from helpers.paths import ROOT
from helpers.predictions import features_in, files, known_in, lines, names, run
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.inference import Options, Rank, predict
from hf_rlt.inference.loading import load
from hf_rlt.inference.results import Folder, digest
from hf_rlt.inference.rows import row_schema

TWO = ROOT / "examples" / "accelerate_configs" / "cpu.yaml"
LAUNCH = [str(Path(sys.executable).with_name("accelerate")), "launch", "--config_file", str(TWO), "-m", "hf_rlt"]
LITTLE_ROOM = """
import resource, sys
import hf_rlt.cli
from hf_rlt.inference.decoder import SharedBuffers

def limited(self, *arguments):  # no file may grow beyond a limit once the shared memory is there
    make(self, *arguments)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

limit, make, SharedBuffers.__init__ = int(sys.argv.pop(1)), SharedBuffers.__init__, limited
hf_rlt.cli.main()
"""
UNGUARDED = """
from hf_rlt.inference import Options, predict
from hf_rlt.inference.loading import load
list(predict([{!r}], *load({!r}), {!r}, Options(num_workers=1)))
"""
POOLED = Options(batch_size=2, features="pooled", num_workers=0)


@pytest.fixture
def write_at_once(monkeypatch):
    """Write results after each batch, however little time has passed."""
    monkeypatch.setattr(sys.modules["hf_rlt.inference.predict"], "PATIENCE", 0)


@pytest.mark.usefixtures("write_at_once")
@pytest.mark.parametrize(("moment", "features"), [(0, None), (9, None), (17, "pooled"), (17, "tokens")])
def test_stopped_at_any_moment_it_ends_with_the_same_files(videos, network, processor, tmp_path, moment, features):
    options = Options(batch_size=2, max_tokens_per_batch=700, num_workers=0, features=features)
    list(predict([videos], network, processor, tmp_path / "whole", options, jsonl=True))
    found = predict([videos], network, processor, tmp_path / "out", options)
    for _number in range(moment):
        next(found)
    found.close()
    assert not (tmp_path / "out" / "predictions.parquet").exists()
    known = known_in(tmp_path / "out")
    assert known >= moment - 1
    if moment:
        torn = tmp_path / "out" / "parts" / f"{'0' * 32}.parquet"  # as a loss of power leaves it
        torn.write_bytes(next((tmp_path / "out" / "parts").glob("*.parquet")).read_bytes()[:100])
        (tmp_path / "out" / "parts" / ".some.parquet.1.part").write_text("killed while it was written")
    processor.take_log()
    again = list(predict([videos], network, processor, tmp_path / "out", options, jsonl=True))
    assert sum(video.cached for video in again) == known
    assert len(processor.take_log()) == 24 - known  # the bad one is tried again
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    list(predict([videos], network, processor, tmp_path / "out", options, jsonl=True))
    assert processor.take_log() == ["04.mp4"]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_changed_video_and_a_new_one_are_computed(videos, network, processor, tmp_path):
    list(predict([videos], network, processor, tmp_path / "out", POOLED))
    wanted = features_in(tmp_path / "out")
    (videos / "a" / "00.mp4").unlink()
    os.link(videos / "b" / "01.mp4", videos / "a" / "005.mp4")
    os.utime(videos / "b" / "21.mp4", ns=(1, 1))
    (videos / "a" / "04.mp4").unlink()
    processor.take_log()
    list(predict([videos], network, processor, tmp_path / "out", POOLED))
    assert sorted(processor.take_log()) == ["005.mp4", "21.mp4"]
    assert names(tmp_path / "out")[:2] == ["005.mp4", "02.mp4"]
    found = features_in(tmp_path / "out")
    assert len(found) == 23
    other = found.pop(str(videos / "a" / "005.mp4"))
    torch.testing.assert_close(other, found[str(videos / "b" / "01.mp4")], atol=2e-3, rtol=0)
    for name, vector in found.items():
        torch.testing.assert_close(vector, wanted[name], atol=2e-3, rtol=0)


def test_a_video_that_changes_meanwhile_is_an_error(videos, network, processor, tmp_path):
    found = predict([videos], network, processor, tmp_path / "out", Options(num_workers=0))
    next(found)
    os.utime(videos / "a" / "00.mp4", ns=(1, 1))
    list(found)
    assert "came or changed while the others" in lines(tmp_path / "out")[0]["error"]
    list(predict([videos], network, processor, tmp_path / "out", Options(num_workers=0)))
    assert "error" not in lines(tmp_path / "out")[0]


def test_rows_keep_their_order_through_any_row_groups(videos, network, processor, tmp_path, monkeypatch):
    options = Options(batch_size=2, num_workers=0)
    list(predict([videos], network, processor, tmp_path / "whole", options))
    monkeypatch.setattr("hf_rlt.inference.results.ROWS", 5)
    list(predict([videos], network, processor, tmp_path / "out", options))
    processor.take_log()
    shuffled = sorted(map(str, videos.rglob("*.mp4")), key=lambda path: hash(path[-6:]))
    for order in (sorted(shuffled), shuffled):
        list(predict(order, network, processor, tmp_path / "out", options))
        wanted = {line["video"]: line for line in lines(tmp_path / "whole")}
        assert lines(tmp_path / "out") == [wanted[path] for path in order]
    assert set(processor.take_log()) == {"04.mp4"}


def test_one_line_reads_the_table(videos, network, processor, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    list(predict([videos], network, processor, tmp_path / "out", POOLED, jsonl=True))
    table = str(tmp_path / "out" / "predictions.parquet")
    found = [
        pandas.read_parquet(table),
        datasets.Dataset.from_parquet(table, cache_dir=str(tmp_path / "cache")).to_pandas(),
        duckdb.sql(f"select * from '{table}'").df(),
    ]
    wanted = lines(tmp_path / "out")
    for frame in found:
        assert list(frame["video"]) == [line["video"] for line in wanted]
        assert numpy.stack(frame["features"].dropna()).shape == (23, 48)
        assert frame["label"].dropna().tolist() == [line["label"] for line in wanted if "label" in line]
        assert frame["error"].notna().sum() == 1
    written = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert written == wanted


def test_a_process_that_dies_costs_its_video_only(videos, network, processor, tmp_path):
    (videos / "a" / "06.mp4").rename(videos / "a" / "06_kill.mp4")
    list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=4, num_workers=1)))
    errors = {Path(line["video"]).name: line["error"] for line in lines(tmp_path / "out") if "error" in line}
    assert errors.keys() == {"04.mp4", "06_kill.mp4"}
    assert "SIGKILL" in errors["06_kill.mp4"]
    opened = processor.take_log()
    assert (len(opened), opened.count("06_kill.mp4")) == (25, 2)


@pytest.mark.usefixtures("write_at_once")
def test_ctrl_c(videos, processor, network, tmp_path, monkeypatch):
    (videos / "b" / "15.mp4").rename(videos / "b" / "15_stop.mp4")
    monkeypatch.setattr("hf_rlt.inference.loading.load", lambda *_, **__: (network, processor))
    arguments = (videos, "--model", "a/model", "--output", tmp_path / "out", "--num-workers", 1, "--batch-size", 2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        done = run(*arguments)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130, done.output
    assert f"what was found is in {tmp_path / 'out'}, and the same command goes on.\n" in done.stderr
    assert multiprocessing.active_children() == []
    known = known_in(tmp_path / "out")
    written = sum(pq.read_metadata(part).num_rows for part in (tmp_path / "out" / "parts").glob("*.parquet"))
    assert f"Interrupted after {written} videos" in done.stderr
    assert 12 <= known < 20
    (videos / "b" / "15_stop.mp4").rename(videos / "b" / "15.mp4")
    processor.take_log()
    done = run(*arguments)
    assert done.exit_code == 1
    assert f"{known} known before" in done.stdout
    assert len(processor.take_log()) == 24 - known


@pytest.mark.slow
def test_killed(videos, model, tmp_path):
    command = [sys.executable, "-m", "hf_rlt", "predict", str(videos), "--model", str(model), "--batch-size", "2"]
    process = subprocess.Popen([*command, "--output", str(tmp_path / "out")], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((tmp_path / "out" / "parts").glob("[0-9a-f]*.parquet")):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert run(*command[4:], "--output", tmp_path / "out").exit_code == 1
    assert run(*command[4:], "--output", tmp_path / "whole").exit_code == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("features", [(), ("--features", "tokens")])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(videos, model, tmp_path, features):
    arguments = [str(videos), "--model", str(model), "--batch-size", "2", *features]
    limit = 30_000 if features else 3000  # bytes of a file
    command = [sys.executable, "-c", LITTLE_ROOM, str(limit), "predict", *arguments, "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert str(tmp_path / "out") in done.stderr.split("cannot be written")[0]
    assert run(*arguments, "--output", tmp_path / "out").exit_code == 1
    assert run(*arguments, "--output", tmp_path / "whole").exit_code == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_write_what_one_does(videos, model, tmp_path):
    arguments = [videos, "--model", model, "--batch-size", 2, "--max-tokens-per-batch", 700, "--features", "pooled"]
    arguments += ["--num-workers", 1, "--format", "jsonl"]
    command = [*LAUNCH, "predict", *map(str, arguments), "--output", str(tmp_path / "two"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    printed, problems = process.communicate()
    assert process.returncode == 0, problems  # one is bad, but launchers take any other code for a crash
    assert problems.count("1 of 24 videos could not be read (see above).") == 1
    assert run(*arguments, "--output", tmp_path / "one").exit_code == 1
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert printed == (tmp_path / "one" / "predictions.jsonl").read_text()


def test_what_one_process_wrote_is_kept_when_another_dies(videos, network, processor, tmp_path):
    options = Options(batch_size=2, num_workers=0)
    list(predict([videos], network, processor, tmp_path / "whole", options))
    waits = iter([lambda: None, lambda: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        list(predict([videos], network, processor, tmp_path / "out", options, Rank(1, 2, lambda: next(waits)())))
    assert known_in(tmp_path / "out") == 8  # the second block: what is left of 24 videos after 8 batches of 2
    processor.take_log()
    list(predict([videos], network, processor, tmp_path / "out", options))
    assert len(processor.take_log()) == 24 - 8
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.slow
def test_processes_that_cannot_start_end_the_run(videos, model, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED.format(str(videos), str(model), str(tmp_path / "out")))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "The worker processes cannot start, see above" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out" / "predictions.parquet").exists()


def test_a_model_may_be_kept_elsewhere_and_its_labels_count(model, tmp_path):
    shutil.copytree(model, tmp_path / "moved")
    here, there = (load(str(name))[0] for name in (model, tmp_path / "moved"))
    assert digest(here) == digest(there)
    there.config.id2label = {**there.config.id2label, 0: "another name"}
    assert digest(here) != digest(there)


def test_another_runs_files_stay_as_they_are(tmp_path):
    theirs, schema = tmp_path / "out" / "parts" / f".{'1' * 32}.parquet.1.part", row_schema(True, Options())
    theirs.parent.mkdir(parents=True)
    theirs.write_text("half")
    with Folder(tmp_path / "out", {"top_k": 1}, schema, rank=0):
        assert theirs.read_text() == "half"
        (tmp_path / "out" / "settings.json").rename(tmp_path / "hidden")  # as if both had begun at once
        with pytest.raises(ValueError, match="another run writes it"):
            Folder(tmp_path / "out", {"top_k": 2}, schema)
        assert not (tmp_path / "out" / "settings.json").exists()


def test_other_settings_are_refused(videos, model, tmp_path):
    words = (videos / "b", "--output", tmp_path / "out", "--model")
    assert run(*words, model).exit_code == 0
    before = files(tmp_path / "out")
    other = RLTVideoMAEForVideoClassification.from_pretrained(model)
    with torch.no_grad():
        other.classifier.bias[0] += 1e-3
    for part in (other, RLTVideoProcessor.from_pretrained(model)):
        part.save_pretrained(tmp_path / "other")
    changes = ("--top-k", 2), ("--num-clips", 2), ("--threshold", 0.2), ("--features", "pooled"), ("--bf16",)
    rules = {"--rule": "anchor", "--max-tokens": "0.5", "--num-tokens": "0.5"}
    for options in (*((model, *change) for change in (*changes, *rules.items())), (tmp_path / "other",)):
        done = run(*words, *options)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert f"{tmp_path / 'out'}: holds predictions with" in done.stderr
    told = "holds predictions with rule 'threshold 0.1', received '50 % of the tokens': choose another folder."
    assert told in run(*words, model, "--num-tokens", "0.5").stderr
    assert files(tmp_path / "out") == before
    assert run(*words, model, "--batch-size", 3, "--num-workers", 1).exit_code == 0


@pytest.mark.parametrize(
    ("foreign", "content", "message"),
    [
        ("parts/one.mp4", "mine", "no prediction"),
        ("parts/0.lock/a.mp4", "mine", "no prediction"),
        ("predictions.parquet", "mine", "of something else"),
        ("predictions.jsonl", "text\n", "of something else"),
        ("settings.json", "[1]", "of something else"),
        ("settings.json", "{", "settings.json: expected a JSON file"),
    ],
)
def test_files_of_something_else_are_refused_and_stay(videos, model, tmp_path, foreign, content, message):
    mine = tmp_path / "out" / foreign
    mine.parent.mkdir(parents=True)
    mine.write_text(content)
    done = run(videos, "--model", model, "--output", tmp_path / "out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert message in done.stderr
    assert files(tmp_path / "out") == {foreign: content.encode()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("EMPTY",), "expected videos (.mp4, .avi"),
        (("VIDEOS", "--features", "both"), "Expected features to be one of pooled, tokens or None, received 'both'"),
        (("VIDEOS", "--output", "FILE"), "cannot be written (Not a directory)"),
        (("VIDEOS", "--output", "/proc/no"), "/proc/no: cannot be written (No such file or directory)"),
        (("VIDEOS", "--threshold", "x"), "--threshold: expected a number, none or model"),
        (("VIDEOS", "--attn-implementation", "fastest"), "fastest"),
        (("VIDEOS", "--batch-size", 10**8), "MiB of shared memory for"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(videos, model, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr("hf_rlt.inference.decoder.RawArray", lambda *_: pytest.fail("memory was taken"))
    paths = {"VIDEOS": videos, "EMPTY": tmp_path / "empty", "FILE": tmp_path / "file"}
    paths["EMPTY"].mkdir()
    paths["FILE"].write_text("text")
    given = [paths.get(argument, argument) for argument in arguments]
    done = run(*(() if "--output" in given else ("--output", tmp_path / "out")), *given, "--model", model)
    assert (done.exit_code, done.stdout, len(done.stderr.strip().splitlines())) == (2, "", 1), done.output
    assert message in done.stderr
