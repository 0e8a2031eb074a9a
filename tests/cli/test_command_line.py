# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What `hf-rlt` imports, and what it prints where: help, errors, narrow terminals, full disks, closed pipes."""

import io
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
from rich.console import Console
from transformers import HfArgumentParser, TrainingArguments
from typer.testing import CliRunner

import hf_rlt
from helpers.paths import ROOT
from hf_rlt.cli import app, token_tables
from hf_rlt.cli.console import VideoProgress, user_errors
from hf_rlt.cli.finetune import known_options
from hf_rlt.errors import TRACEBACK, HfRltError, printable
from hf_rlt.training.arguments import DataArguments, ModelArguments, RecipeArguments

SPACE = ROOT / "examples" / "space"
CLIP = SPACE / "clips" / "city_at_night.mp4"


LAZY = """
import sys
sys.argv[:] = ["hf-rlt", *sys.argv[1:]]
from hf_rlt.cli import main
try:
    main()
finally:
    print(sorted({"torch", "transformers", "numpy"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("command", [[], ["predict"], ["benchmark"]])
def test_help_imports_neither_torch_nor_transformers(command):
    done = subprocess.run([sys.executable, "-c", LAZY, *command, "--help"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "Usage: hf-rlt" in done.stdout


MISTAKES = [HfRltError("a mistake"), FileNotFoundError(2, "No such file", "a.mp4")]
BUGS = [KeyError("name"), ValueError("of a library"), RuntimeError("shapes differ"), ImportError("a name")]


@pytest.mark.parametrize("error", [*MISTAKES, *BUGS], ids=repr)
def test_a_users_mistake_is_one_line_and_a_bug_shows_its_traceback(monkeypatch, capsys, error):
    monkeypatch.delenv(TRACEBACK, raising=False)
    with pytest.raises(SystemExit if error in MISTAKES else type(error)) as stopped, user_errors():
        raise error
    if error in MISTAKES:
        assert (stopped.value.code, capsys.readouterr().err) == (2, f"hf-rlt: error: {error}\n")


@pytest.mark.parametrize("by_option", [True, False])
def test_a_traceback_can_be_asked_for(monkeypatch, by_option):
    monkeypatch.setenv(TRACEBACK, "0" if by_option else "1")
    done = CliRunner().invoke(app, [*(["--traceback"] if by_option else []), "classify", "nowhere.mp4"])
    assert isinstance(done.exception, HfRltError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
@pytest.mark.parametrize(
    ("shell", "words", "ending"),
    [
        (
            '"$@" > /dev/full',
            ["tokens", CLIP, "--num-workers", 0],
            (2, "hf-rlt: error: [Errno 28] No space left on device\n"),
        ),
        pytest.param('"$@" >&-', ["tokens", CLIP], (0, ""), marks=pytest.mark.slow),
        # a reader that has gone does not make a video unreadable
        pytest.param(
            '"$@" | true; exit ${PIPESTATUS[0]}',
            ["classify", CLIP, CLIP, "--model", SPACE / "digits"],
            (1, ""),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_stdout_that_takes_nothing(shell, words, ending):
    command = ["bash", "-c", shell, "bash", sys.executable, "-m", "hf_rlt", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == ending


@pytest.mark.parametrize("options", [["tokens"], ["classify", "--model", str(SPACE / "digits")]])
def test_names_that_are_no_text_or_would_move_the_cursor(tmp_path, options):
    names = [b"a\xff.mp4", b"b\x1b[31m.mp4", b"c\n\x07.mp4", b"d  [red].mp4"]
    for name in names:
        shutil.copy(CLIP, os.fsencode(tmp_path) + b"/" + name)
    broken = tmp_path / "broken  \x1b.mp4"
    broken.write_text("no video")
    paths = [f"{tmp_path}/{os.fsdecode(name)}" for name in names]
    done = CliRunner().invoke(app, [*options, *paths, str(broken)])
    assert done.exit_code == 1
    folded = "".join(line.split(" stride ")[0].rstrip(" ") for line in done.stdout.splitlines())
    for shown in ("a�.mp4", r"b\x1b[31m.mp4", r"c\n\x07.mp4", "d  [red].mp4"):
        assert shown in folded
    assert "\x1b" not in done.stdout + done.stderr
    assert r"broken  \x1b.mp4: not a video" in done.stderr
    assert done.stderr.count("broken") == 1


def test_printable():
    assert printable("é ö 日本 a\u00a0b") == "é ö 日本 a\u00a0b"
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
        ({"id2label": ["a", "b"]}, "expected id2label .* found \\['a"),
        ({"id2label": {}}, "expected id2label .* found {}"),
        ({"id2label": {"1": "a", "2": "b"}}, "expected id2label .* found {'1'"),
        ({"id2label": {"x": "a"}}, "expected id2label .* found {'x'"),
        ({"id2label": None, "num_labels": 0}, "expected num_labels .* found 0"),
        ({"patch_size": 0}, "expected patch_size .* found 0"),
        ({"tubelet_size": 0}, "expected tubelet_size .* found 0"),
        ({"num_frames": "8"}, "expected num_frames .* found '8'"),
        ({"image_size": [64]}, r"expected image_size .* found \[64\]"),
        ({"threshold": "0.1"}, ".* Expected threshold .* received '0.1'"),
        ({"threshold": True}, ".* Expected threshold .* received True"),
        ({"rule": "second"}, ".* Expected rule to be one of threshold, anchor, optimal, received 'second'"),
        ({"rule": ["anchor"]}, r".* Expected rule .* received \['anchor'\]"),
        ({"max_tokens": "0.2"}, ".* Expected max_tokens .* received '0.2'"),
        ({"num_tokens": 0}, ".* Expected num_tokens .* received 0"),
        ({"budget": None}, ".* Expected budget .* received None"),
        ({"budget_groups": 1.5}, ".* Expected budget_groups .* received 1.5"),
    ],
)
def test_an_edited_config_is_one_line(tmp_path, changes, message):
    folder = edited(tmp_path / "model", **changes)
    for arguments in (
        ["classify", CLIP, "--model", folder],
        ["tokens", CLIP, "--model", folder],
        ["convert", folder, "--output", tmp_path / "out"],
        ["card", "--model", folder, "--output", tmp_path / "card.md"],
    ):
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 2, done.output
        assert re.fullmatch(f"hf-rlt: error: {re.escape(str(folder))}: {message}.*\n", done.stderr), done.stderr


def edited(folder: Path, **changes) -> Path:
    """Copy a model to `folder`, with changes in its config.json."""
    shutil.copytree(SPACE / "digits", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "a"}}, "have other shapes"),
        ({"num_hidden_layers": 1}, "are not those of config.json's blocks"),
    ],
)
def test_a_config_for_other_weights_is_one_line(tmp_path, changes, message):
    folder = edited(tmp_path / "model", **changes)
    done = CliRunner().invoke(app, ["classify", str(CLIP), "--model", str(folder)])
    assert done.exit_code == 2
    assert re.fullmatch(f"hf-rlt: error: {folder}: the weights {message}.*\n", done.stderr), done.stderr


@pytest.mark.parametrize(
    "allocate", [lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 50), lambda: (1 << 5000) / 3.0]
)
def test_no_memory_is_one_line(capsys, allocate):
    with pytest.raises(SystemExit) as stopped, user_errors():
        allocate()
    assert stopped.value.code == 2
    assert re.fullmatch(r"hf-rlt: error: not enough memory \(.+\): ask for less\.\n", capsys.readouterr().err)


@pytest.mark.parametrize("words", [["tokens"], ["draw", "-o", "a.png"], ["classify", "--model", SPACE / "digits"]])
def test_a_threshold_is_a_number(words):
    done = CliRunner().invoke(app, list(map(str, [*words, CLIP, "--threshold", "inf"])))
    assert done.exit_code == 2
    assert re.search("--threshold: expected a number.*, received '?inf", done.stderr)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_rlt.drawing.draw_clip", lambda *arguments, **settings: pytest.fail("was opened"))
        done = CliRunner().invoke(app, ["draw", str(tmp_path / "pipe.mp4"), "-o", str(tmp_path / "a.png")])
    assert done.exit_code == 2
    assert "pipe.mp4: expected a video file, found something else" in done.stderr


def test_progress_says_how_far_and_how_long(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("hf_rlt.cli.console.time.monotonic", lambda: clock[0])
    file = io.StringIO()
    progress = VideoProgress(Console(file=file, force_terminal=False))
    with progress:
        clock[0] += 50  # of loading, which the rate leaves out
        progress.expect(500)
        for number in range(120):
            clock[0] += 0.5
            progress.add(known=number < 20, bad=number == 3)
    assert str(progress) == "120 of 500 videos, 20 known, 1 unreadable, 1.7 per second, 0:03:48 left"
    assert len(file.getvalue().splitlines()) == 1  # a line each minute where there is no terminal
    clock[0] += 1000
    assert "10.6 seconds each" in str(progress)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "nowhere", "--model", "a/b", "-o", "x"), "nowhere: no such file or folder."),
        (("predict", __file__, "--model", "./gone", "-o", "x"), "./gone: expected a model folder or a Hub id"),
        (("predict", __file__, "--model", "a/b", "-o", "x", "--format", "csv"), "--format: expected parquet or jsonl"),
        (("predict", __file__, "--model", "a/b", "-o", "x", "--engine", "spark"), "--engine: expected local or ray"),
        (("predict", __file__, "--model", "a/b", "-o", "x", "--address", "auto"), "--address: expected --engine ray"),
        (("finetune", "--train_dri", "x"), "received 'train_dri': did you mean 'train_dir'?"),
        (("finetune", "--learning-rat", "1"), "received 'learning_rat': did you mean 'learning_rate'?"),
        (("finetune", "--train_dir", "nowhere"), "nowhere: no such file or folder."),
        (("finetune", "--validation_file=gone.csv"), "gone.csv: no such file or folder."),
        (("finetune", "--model_name_or_path", "./gone"), "./gone: expected a model folder or a Hub id"),
        (
            ("classify", "/tmp", "--model", "a/b"),
            "/tmp: expected a video file, received a folder: use `hf-rlt predict`",
        ),
        (("benchmark", __file__, "--model", "a/b", "--dtype", "int8"), "--dtype: expected float32"),
        (("--version",), None),
    ],
)
def test_what_can_be_said_at_once_is_said_without_pytorch(words, message, tmp_path):
    argv = [sys.executable, "-c", LAZY, *words]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    *said, imported = done.stderr.splitlines()
    assert imported == "[]"
    if message is None:
        assert (done.returncode, done.stdout) == (0, f"hf_rlt {hf_rlt.__version__}\n")
    else:
        assert (done.returncode, len(said)) == (2, 1), done.stderr
        assert message in said[0]


def test_every_option_of_fine_tuning_is_known_before_it_is_parsed():
    parser = HfArgumentParser((ModelArguments, DataArguments, RecipeArguments, TrainingArguments))
    words = [word for action in parser._actions for word in action.option_strings if word.startswith("--")]
    assert len(words) > 150
    assert {word[2:].replace("-", "_") for word in words} <= known_options()
