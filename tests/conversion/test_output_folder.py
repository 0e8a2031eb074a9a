# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How a conversion writes: all or nothing, checked, and never over what hf_rlt did not save; and its command."""

import json
import os
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from helpers import reference_layouts as layouts
from helpers.checkpoints import save, save_stock, settings
from helpers.tiny import FRAMES, SIDE
from hf_rlt import RLTVideoMAEConfig, RLTVideoProcessor
from hf_rlt.cli import app
from hf_rlt.conversion import ConversionSettings, convert
from hf_rlt.conversion.checks import check
from hf_rlt.conversion.from_transformers import open_folder


@pytest.fixture
def source(tmp_path) -> Path:
    return save(tmp_path / "w.pth", {"model": layouts.finetuned()})


@pytest.fixture
def out(tmp_path, source) -> Path:
    """A converted model of threshold 0.3."""
    convert(source, tmp_path / "out", settings(rule={"threshold": 0.3}))
    return tmp_path / "out"


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def threshold_of(folder: Path) -> float | None:
    return RLTVideoMAEConfig.from_pretrained(folder).threshold


def test_the_folder_must_be_new_or_empty(tmp_path, source):
    (tmp_path / "empty").mkdir()
    convert(source, tmp_path / "empty", settings())
    convert(source, tmp_path / "new" / "deep", settings())
    assert (tmp_path / "new" / "deep" / "config.json").is_file()
    assert (tmp_path / "new" / "deep").stat().st_mode == (tmp_path / "new").stat().st_mode
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for out, overwrite, message in [
        ("file", True, "found a file"),
        ("mine", False, "pass --overwrite"),
        ("empty", False, "pass --overwrite"),
        ("mine", True, "this one holds no config.json"),
        (".", True, "holds the source"),
    ]:
        with pytest.raises(ValueError, match=message):
            convert(source, tmp_path / out, settings(), overwrite=overwrite)
    assert content_of(tmp_path / "mine") == {"thesis.txt": b"years of work"}
    with pytest.raises(ValueError, match="holds the source"):
        convert(tmp_path / "empty", tmp_path / "empty", overwrite=True)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_overwriting_replaces_the_model_and_nothing_else(out, source):
    own = set(content_of(out))
    theirs = ["README.md", ".git/HEAD", "checkpoint-8/model.safetensors", "my-model.safetensors"]
    stale = ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    for name in theirs + stale:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("theirs")
    convert(source, out, settings(), overwrite=True)
    assert threshold_of(out) == 0.1
    assert set(os.listdir(out)) == own | {name.split("/")[0] for name in theirs}
    assert {(out / name).read_text() for name in theirs} == {"theirs"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"port": 8080}', "has a config.json of something else"),
        ("config.json", "[1]", "has a config.json of something else"),
        ("config.json", "port = 8080", "has a config.json of something else"),
        ("config.json", '{"model_type": "rlt_videomae"}', "has a config.json of something else"),
        ("config.json", '{"model_type": "bert", "transformers_version": "5"}', "has a config.json of something else"),
        ("model.safetensors", None, "holds neither model.safetensors nor"),
        ("trainer_state.json", "{}", "is of a training"),
        ("sampling.py", "my_thesis = 1", r"sampling\.py: expected code that hf_rlt"),
    ],
)
def test_only_models_that_were_saved_are_replaced(out, source, name, content, message):
    (out / name).unlink() if content is None else (out / name).write_text(content)
    before = content_of(out)
    with pytest.raises(ValueError, match=message):
        convert(source, out, settings(), overwrite=True)
    assert content_of(out) == before


def test_a_folder_in_the_place_of_a_file_stays(out, source):
    (out / "preprocessor_config.json").unlink()
    (out / "preprocessor_config.json").mkdir()
    with pytest.raises(ValueError, match=r"preprocessor_config\.json: expected a file or nothing .* move it away"):
        convert(source, out, settings(), overwrite=True)
    assert (out / "preprocessor_config.json").is_dir()
    assert threshold_of(out) == 0.3


def test_the_working_directory_can_be_written(tmp_path, source, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    convert(source, ".", settings())
    assert Path("config.json").is_file()  # of the same folder that this process is in
    convert(source, ".", settings(rule={"threshold": 0.3}), overwrite=True)
    assert threshold_of(Path()) == 0.3


@pytest.mark.parametrize("there", [True, False])
def test_a_failure_while_writing_leaves_everything_as_it_was(tmp_path, out, source, monkeypatch, there):
    def full(self, folder, **kwargs):
        (Path(folder) / "half.json").write_text("{")
        raise OSError("No space left on device")

    monkeypatch.setattr(RLTVideoProcessor, "save_pretrained", full)
    before = content_of(out)
    with pytest.raises(OSError, match="No space left"):
        convert(source, out if there else tmp_path / "new" / "deep", settings(), overwrite=True)
    assert content_of(out) == before
    assert sorted(os.listdir(tmp_path)) == ["out", "w.pth"]


@pytest.mark.parametrize("at", ["config.json", "video_preprocessor_config.json"])
def test_a_model_that_cannot_be_replaced_stays(tmp_path, out, source, monkeypatch, at):
    (out / "README.md").write_text("mine")
    before, rename = content_of(out), os.rename

    def busy(old, new):
        if Path(old).parent.name == "model" and Path(old).name == at:
            raise OSError("Device or resource busy")
        rename(old, new)

    monkeypatch.setattr(os, "rename", busy)
    with pytest.raises(OSError, match="busy"):
        convert(source, out, settings(), overwrite=True)
    assert content_of(out) == before
    assert sorted(os.listdir(tmp_path)) == ["out", "w.pth"]


def test_what_was_written_is_compared(tmp_path):
    save_stock(tmp_path / "stock")
    opened = open_folder(str(tmp_path / "stock"), ConversionSettings())
    opened.model.save_pretrained(tmp_path / "out")
    opened.processor.save_pretrained(tmp_path / "out")
    assert len(check(opened, tmp_path / "out")) == 3
    weights = load_file(tmp_path / "out" / "model.safetensors")
    weights["classifier.bias"][1] += 1e-6
    save_file(weights, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 weights differ: classifier\.bias"):
        check(opened, tmp_path / "out")


def run(*words: object):
    return CliRunner().invoke(app, ["convert", *map(str, words)])


def test_the_command_prints_what_was_done(tmp_path, source):
    options = ["--num-attention-heads", 4, "--num-frames", FRAMES, "--image-size", SIDE, "--threshold", "none"]
    done = run(source, "-o", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    for text in (
        "3 blocks of width 24, 4 heads; 8 frames of 32 pixels",
        "Tokens dense",
        "LABEL_0 to LABEL_4",
        "own code cannot be run here",
    ):
        assert text in said
    assert RLTVideoMAEConfig.from_pretrained(tmp_path / "out").id2label[4] == "LABEL_4"
    printed = json.loads(run(source, "--output", tmp_path / "json", *options, "--json").stdout)
    assert (printed["num_labels"], printed["threshold"], printed["config"]["num_hidden_layers"]) == (5, None, 3)
    assert printed["parameters"] == sum(value.numel() for value in layouts.finetuned().values())
    assert set(printed) >= {"source", "out", "kind", "notes", "checks", "dtype", "architecture"}


def test_a_users_mistake_is_one_line_and_code_2(tmp_path, source):
    for words, message in {
        (source,): "--num-attention-heads",
        (tmp_path / "gone.pth",): "no such file",
        (source, "--threshold", "high"): "--threshold: expected a number, none or model",
        (source, "--dtype", "int8"): "Expected dtype to be one of float32",
        (source, "--labels", tmp_path / "gone.txt", "--num-attention-heads", 4): "gone.txt",
    }.items():
        done = run(*words, "--output", tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stdout == ""
    assert os.listdir(tmp_path) == ["w.pth"]
