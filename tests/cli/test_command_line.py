# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What `hf-rlt` prints where: narrow terminals, full disks, closed pipes, and names that are no text."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.paths import ROOT
from hf_rlt.cli import app, token_tables
from hf_rlt.cli.console import user_errors
from hf_rlt.errors import printable

SPACE = ROOT / "examples" / "space"
CLIP = SPACE / "clips" / "city_at_night.mp4"


def hf_rlt(shell: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Returns what a shell line came to; in it, "$@" is the command."""
    command = ["bash", "-c", shell, "bash", sys.executable, "-m", "hf_rlt", *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
def test_a_full_disk_is_one_line():
    done = hf_rlt('"$@" > /dev/full', "tokens", CLIP, "--image-size", 64)
    assert done.returncode == 2
    assert done.stderr.strip() == "hf-rlt: error: [Errno 28] No space left on device"


def test_a_closed_stdout_is_no_error():
    done = hf_rlt('"$@" >&-', "tokens", CLIP)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_gone_is_no_unreadable_video():
    done = hf_rlt('"$@" | true; exit ${PIPESTATUS[0]}', "classify", CLIP, CLIP, "--model", SPACE / "digits")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", [["tokens"], ["classify", "--model", str(SPACE / "digits")]])
def test_names_that_are_no_text_or_would_move_the_cursor(tmp_path, command):
    names = [b"a\xff.mp4", b"b\x1b[31m.mp4", b"c\n\x07.mp4", b"d  [red].mp4"]
    for name in names:
        shutil.copy(CLIP, os.fsencode(tmp_path) + b"/" + name)
    paths = [f"{tmp_path}/{os.fsdecode(name)}" for name in names]
    broken = f"{tmp_path}/broken  \x1b.mp4"
    Path(broken).write_text("no video")
    done = CliRunner().invoke(app, [command[0], *paths, broken, *command[1:]])
    assert done.exit_code == 1
    folded = "".join(line.split(" stride ")[0].rstrip(" ") for line in done.stdout.splitlines())
    for shown in ("a�.mp4", r"b\x1b[31m.mp4", r"c\n\x07.mp4", "d  [red].mp4"):
        assert shown in folded
    assert "\x1b" not in done.stdout + done.stderr
    assert r"broken  \x1b.mp4: not a video" in done.stderr
    assert done.stderr.count("broken") == 1


def test_printable():
    assert printable("é ö ‍ 日本 a b") == "é ö ‍ 日本 a b"
    assert printable("\udcff\ud800\x1b\x9b\u2028\u202e") == "��\\x1b\\x9b\\u2028\\u202e"


def test_a_narrow_terminal_gets_every_number(tmp_path, monkeypatch):
    long = shutil.copy(CLIP, tmp_path / f"{'n' * 70}.mp4")
    tables = token_tables.Console

    def narrow(**settings):
        return tables(**{"width": 40, "force_terminal": True, "color_system": None, **settings})

    monkeypatch.setattr(token_tables, "Console", narrow)
    arguments = ["tokens", str(CLIP), str(long), "--threshold", "0.1", "--threshold", "0.25"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "…" not in done.output
    for count in map(json.loads, CliRunner().invoke(app, [*arguments, "--json"]).stdout.splitlines()):
        wanted = [f"{count['tokens_after']:,.0f}", f"{count['share']:.1%}", f"({count['longest_run_seconds']:.2f} s)"]
        rows = [line.split() for line in done.output.splitlines() if f" {count['threshold']:g} " in line]
        assert any(" ".join(wanted[:2]) in " ".join(row) and wanted[2] in " ".join(row) for row in rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": ["a", "b"]}, "expected id2label .* found a list"),
        ({"id2label": {}}, "expected id2label .* found nothing in it"),
        ({"id2label": {"1": "a", "2": "b"}}, "expected id2label .* found 1, 2"),
        ({"id2label": {"x": "a"}}, "expected id2label .* found x"),
        ({"id2label": None, "num_labels": 0}, "expected num_labels .* found 0"),
        ({"patch_size": 0}, "expected patch_size .* found 0"),
        ({"tubelet_size": 0}, "expected tubelet_size .* found 0"),
        ({"num_frames": "8"}, "expected num_frames .* found '8'"),
        ({"image_size": [64]}, r"expected image_size .* found \[64\]"),
        ({"threshold": "0.1"}, "expected threshold .* found '0.1'"),
    ],
)
def test_an_edited_config_is_one_line(tmp_path, changes, message):
    folder = Path(shutil.copytree(SPACE / "digits", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    for arguments in (
        ["classify", CLIP, "--model", folder],
        ["tokens", CLIP, "--model", folder],
        ["convert", folder, tmp_path / "out"],
        ["card", folder, "--output", tmp_path / "card.md"],
    ):
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 2, done.output
        assert re.fullmatch(f"hf-rlt: error: {re.escape(str(folder))}: {message}.*\n", done.stderr), done.stderr


def test_too_few_labels_for_the_weights_are_one_line(tmp_path):
    folder = Path(shutil.copytree(SPACE / "digits", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a"}}))
    done = CliRunner().invoke(app, ["classify", str(CLIP), "--model", str(folder)])
    assert done.exit_code == 2
    assert f"{folder}: expected weights of the shapes that its config.json says" in done.stderr


@pytest.mark.parametrize(
    "allocate", [lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 50), lambda: (1 << 5000) / 3.0]
)
def test_no_memory_is_one_line(capsys, allocate):
    with pytest.raises(SystemExit) as stopped, user_errors():
        allocate()
    assert stopped.value.code == 2
    assert re.fullmatch(r"hf-rlt: error: not enough memory \(.+\): ask for less\.\n", capsys.readouterr().err)
    with pytest.raises(RuntimeError, match="shapes"), user_errors():
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("command", ["tokens", "draw", "classify"])
def test_a_threshold_is_a_number(tmp_path, command):
    options = {"draw": ["-o", tmp_path / "a.png"], "classify": ["--model", SPACE / "digits"]}.get(command, [])
    done = CliRunner().invoke(app, list(map(str, [command, CLIP, "--threshold", "inf", "--json", *options])))
    assert done.exit_code == 2
    assert re.search("--threshold: expected a number.*, received '?inf", done.stderr)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_rlt.drawing.draw_clip", lambda *arguments, **settings: pytest.fail("was opened"))
        done = CliRunner().invoke(app, ["draw", str(tmp_path / "pipe.mp4"), "-o", str(tmp_path / "a.png")])
    assert done.exit_code == 2
    assert "pipe.mp4: expected a video file, found something else" in done.stderr
