# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The folder of `hf-rlt predict`: resumed after anything, written by several processes, never somebody else's."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from helpers.paths import ROOT
from helpers.predictions import files, lines, names, run
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.inference import Options, Rank, predict, read_features
from hf_rlt.inference.loading import load
from hf_rlt.inference.results import Folder, digest

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


@pytest.mark.parametrize(("moment", "features"), [(0, None), (9, None), (17, "pooled")])
def test_stopped_at_any_moment_it_ends_with_the_same_files(videos, network, processor, tmp_path, moment, features):
    options = Options(batch_size=2, max_tokens_per_batch=700, num_workers=0, features=features)
    list(predict([videos], network, processor, tmp_path / "whole", options))
    found = predict([videos], network, processor, tmp_path / "out", options)
    for _number in range(moment):
        next(found)
    found.close()
    assert not (tmp_path / "out" / "predictions.jsonl").exists()
    parts = tmp_path / "out" / "parts" / "0.jsonl"
    known = parts.read_text().count('"tokens"') if parts.exists() else 0
    assert known >= moment - 1
    if parts.exists():
        with open(parts, "ab") as torn:
            torn.write(b'{"video": "/half')
    processor.take_log()
    again = list(predict([videos], network, processor, tmp_path / "out", options))
    assert sum(video.cached for video in again) == known
    assert len(processor.take_log()) == 24 - known  # the bad one is tried again
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    list(predict([videos], network, processor, tmp_path / "out", options))
    assert processor.take_log() == ["04.mp4"]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_changed_video_and_a_new_one_are_computed_and_features_used_no_longer_go(
    videos, network, processor, tmp_path
):
    list(predict([videos], network, processor, tmp_path / "out", POOLED))
    (videos / "a" / "00.mp4").unlink()
    os.link(videos / "b" / "01.mp4", videos / "a" / "005.mp4")
    os.utime(videos / "b" / "21.mp4", ns=(1, 1))
    (videos / "a" / "04.mp4").unlink()
    processor.take_log()
    list(predict([videos], network, processor, tmp_path / "out", POOLED))
    assert sorted(processor.take_log()) == ["005.mp4", "21.mp4"]
    assert names(tmp_path / "out")[:2] == ["005.mp4", "02.mp4"]
    vectors = dict(read_features(tmp_path / "out"))
    assert torch.allclose(vectors[str(videos / "a" / "005.mp4")], vectors[str(videos / "b" / "01.mp4")], atol=1e-5)
    used = {line["features"] for line in lines(tmp_path / "out")}
    assert {f"features/{path.name}" for path in (tmp_path / "out" / "features").iterdir()} == used
    for name in used:
        last = max(line["row"] for line in lines(tmp_path / "out") if line["features"] == name)
        with safe_open(tmp_path / "out" / name, "pt") as file:
            assert last < len(file.get_tensor("features"))


def test_features_written_anew_count_for_more_than_the_lines_of_those_that_are_gone(
    videos, network, processor, tmp_path
):
    list(predict([videos], network, processor, tmp_path / "out", POOLED))
    wanted = dict(read_features(tmp_path / "out"))
    for file in (tmp_path / "out" / "features").iterdir():
        file.unlink()
    (videos / "a" / "00.mp4").unlink()
    os.link(videos / "b" / "21.mp4", videos / "b" / "24.mp4")  # rows and blocks are others now
    waits = iter([lambda: None, lambda: 1 / 0])  # the second of two processes writes, then the run ends
    with pytest.raises(ZeroDivisionError):
        list(predict([videos], network, processor, tmp_path / "out", POOLED, Rank(1, 2, lambda: next(waits)())))
    list(predict([videos], network, processor, tmp_path / "out", POOLED))
    found = dict(read_features(tmp_path / "out"))
    assert len(found) == 23
    for name in wanted.keys() & found.keys():
        torch.testing.assert_close(found[name], wanted[name], atol=1e-5, rtol=0)


def test_a_process_that_dies_costs_its_video_only(videos, network, processor, tmp_path):
    (videos / "a" / "06.mp4").rename(videos / "a" / "06_kill.mp4")
    list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=4, num_workers=1)))
    errors = {Path(line["video"]).name: line["error"] for line in lines(tmp_path / "out") if "error" in line}
    assert errors.keys() == {"04.mp4", "06_kill.mp4"}
    assert "SIGKILL" in errors["06_kill.mp4"]
    opened = processor.take_log()
    assert (len(opened), opened.count("06_kill.mp4")) == (25, 2)


def test_ctrl_c(videos, processor, network, tmp_path, monkeypatch):
    (videos / "b" / "15.mp4").rename(videos / "b" / "15_stop.mp4")
    monkeypatch.setattr("hf_rlt.inference.loading.load", lambda *_, **__: (network, processor))
    arguments = (videos, "--model", "x", "--output", tmp_path / "out", "--num-workers", 1, "--batch-size", 2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        done = run(*arguments)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130, done.output
    assert f"what was found is in {tmp_path / 'out'}, and the same command goes on.\n" in done.stderr
    assert multiprocessing.active_children() == []
    written = (tmp_path / "out" / "parts" / "0.jsonl").read_text()
    assert f"Interrupted after {written.count(chr(10))} videos" in done.stderr
    known = written.count('"tokens"')
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
    parts = tmp_path / "out" / "parts" / "0.jsonl"
    while process.poll() is None and (not parts.exists() or parts.read_bytes().count(b"\n") < 6):
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
    limit = 1_000_000 if features else 1500  # bytes of a file
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
    arguments += ["--num-workers", 1]
    command = [*LAUNCH, "predict", *map(str, arguments), "--output", str(tmp_path / "two"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = set()
    while process.poll() is None:
        with suppress(FileNotFoundError):  # the parts go at the end
            seen |= {path.name for path in (tmp_path / "two" / "parts").glob("*.jsonl") if path.stat().st_size}
        time.sleep(0.001)
    printed, problems = process.communicate()
    assert process.returncode == 0, problems  # one is bad, but launchers take any other code for a crash
    assert {"0.jsonl", "1.jsonl"} <= seen
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
    written = (tmp_path / "out" / "parts" / "1.jsonl").read_text()
    assert written.count("\n") == 8  # the second block: what is left of 24 videos after 8 batches of 2
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
    assert not (tmp_path / "out" / "predictions.jsonl").exists()


def test_a_model_may_be_kept_elsewhere_and_its_labels_count(model, tmp_path):
    shutil.copytree(model, tmp_path / "moved")
    here, there = (load(str(name))[0] for name in (model, tmp_path / "moved"))
    assert digest(here) == digest(there)
    there.config.id2label = {**there.config.id2label, 0: "another name"}
    assert digest(here) != digest(there)


def test_another_runs_files_stay_as_they_are(tmp_path):
    theirs = tmp_path / "out" / "parts" / "1.jsonl"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"video": "/half')
    with Folder(tmp_path / "out", {"top_k": 1}, rank=0):
        assert theirs.read_text() == '{"video": "/half'
        (tmp_path / "out" / "settings.json").rename(tmp_path / "hidden")  # as if both had begun at once
        with pytest.raises(ValueError, match="another run writes it"):
            Folder(tmp_path / "out", {"top_k": 2})
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
    for options in (*((model, *change) for change in changes), (tmp_path / "other",)):
        done = run(*words, *options)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert f"{tmp_path / 'out'}: holds predictions with" in done.stderr
    assert files(tmp_path / "out") == before
    assert run(*words, model, "--batch-size", 3, "--num-workers", 1).exit_code == 0


@pytest.mark.parametrize(
    ("foreign", "content", "message"),
    [
        ("parts/one.mp4", "mine", "no prediction"),
        ("features/mine.pt", "mine", "no prediction"),
        ("parts/0.jsonl/a.mp4", "mine", "no prediction"),
        ("features/000001.safetensors", "mine", "of something else"),
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
        (("nowhere",), "nowhere: expected a video or a folder of videos"),
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
