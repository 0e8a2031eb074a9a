# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt predict --engine ray`: the local engine's table, though workers are lost and runs are killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from helpers.paths import SHARED
from helpers.predictions import files, known_in, run

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "hf_rlt", "predict"]


@pytest.fixture(autouse=True)
def _ray_is_there():
    pytest.importorskip("ray")


def command(*words, **environment):
    """Run the command in a process of its own, as a driver of a cluster is."""
    argv = [*COMMAND, *map(str, words), "--engine", "ray"]
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_the_table_is_that_of_the_local_engine(model, videos, tmp_path):
    shared = [SHARED / "clips" / name for name in ("real", "odd", "faults")] if (SHARED / "clips").is_dir() else []
    (videos / "gone.txt").write_text(f"{videos}/gone.mp4\n")
    words = [videos, videos / "gone.txt", *shared, "--model", model, "--batch-size", 4, "--num-clips", 2]
    words += ["--features", "pooled", "--format", "jsonl"]
    done = command(*words, "--output", tmp_path / "ray")
    assert done.returncode == 1, done.stderr
    local = run(*words, "--output", tmp_path / "local", "--num-workers", 1)
    assert local.exit_code == 1, local.output
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert done.stdout.splitlines()[1:3] == local.stdout.splitlines()[1:3]  # tokens, classes
    assert bad_videos(done.stderr) == bad_videos(local.stderr)


def bad_videos(text):
    """Lines about videos that could not be read: not Ray's own, which begin with a date, and not the progress."""
    return [line for line in text.splitlines() if not re.match(r"\[20|\d+ of \d+ videos, ", line)]


def workers():
    """Processes of workers that compute."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::MapWorker" in (place / "cmdline").read_bytes():
                yield int(place.name)
        except OSError:
            continue


def started(words, folder):
    """Start a run, and wait until it has written something."""
    # Not to a pipe, which Ray's own processes would keep open.
    process = subprocess.Popen([*COMMAND, *map(str, words), "--engine", "ray"], stderr=subprocess.DEVNULL)
    while process.poll() is None and not known_in(folder):
        time.sleep(0.05)
    return process


def test_a_lost_worker_costs_nothing(model, many, tmp_path):
    words = [many, "--model", model, "--batch-size", 2, "--output", tmp_path / "ray"]
    process = started(words, tmp_path / "ray")
    victim = next(iter(workers()))
    os.kill(victim, signal.SIGKILL)
    assert process.wait(300) == 0
    assert run(many, "--model", model, "--batch-size", 2, "--output", tmp_path / "local").exit_code == 0
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_a_killed_driver_goes_on(model, many, tmp_path):
    words = [many, "--model", model, "--batch-size", 2, "--output", tmp_path / "ray"]
    process = started(words, tmp_path / "ray")
    process.kill()
    process.wait()
    known = known_in(tmp_path / "ray")
    assert 0 < known < len(list(many.iterdir()))
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert f"{known_in_words(done.stdout)} known before" in done.stdout
    assert known_in_words(done.stdout) >= known
    rows = pq.read_table(tmp_path / "ray" / "predictions.parquet").to_pylist()
    assert [Path(row["video"]).name for row in rows] == sorted(path.name for path in many.iterdir())


def known_in_words(text):
    return int(text.split(" known before")[0].split()[-1].replace(",", ""))


@pytest.fixture
def many(videos, tmp_path):
    """160 links to good videos, ten blocks."""
    good = [path for path in sorted(videos.rglob("*.mp4")) if path.name != "04.mp4"]
    (tmp_path / "many").mkdir()
    for number in range(160):
        os.link(good[number % len(good)], tmp_path / "many" / f"{number:03}.mp4")
    return tmp_path / "many"


def test_mistakes_are_one_line(model, videos, tmp_path):
    done = command(videos, "--model", model, "--output", tmp_path / "out", "--address", "127.0.0.1:1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "found no cluster at 127.0.0.1:1" in done.stderr
