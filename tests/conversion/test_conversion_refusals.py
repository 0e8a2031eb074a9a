# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a conversion refuses, how it writes, and its command line."""

import argparse
import functools
import json
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_conversion import ASKED, HEADS, prefixed, save, save_stock, settings
from transformers import VideoMAEForVideoClassification
from typer.testing import CliRunner

from helpers import reference_layouts as layouts
from helpers.tiny import FRAMES, SIDE
from hf_rlt import RLTVideoMAEConfig, RLTVideoProcessor
from hf_rlt.cli import app
from hf_rlt.conversion import ConversionSettings, convert
from hf_rlt.conversion.checks import check, check_clip
from hf_rlt.conversion.from_transformers import open_folder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These models are so small that a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stock_folder(tmp_path):
    return tmp_path / "stock", save_stock(tmp_path / "stock")


class Harm:
    """Unpickled as usual, it runs a command or a piece of code."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class TestHostileFiles:
    @pytest.mark.parametrize(
        ("function", "argument", "name"),
        [
            (os.system, "touch {}", r"(posix|nt)\.system"),
            (subprocess.call, "touch {}", r"(subprocess|commands)\.call"),
            (eval, "open({!r}, 'w')", r"builtins\.eval"),
            (functools.partial, None, r"(posix|nt)\.system"),
        ],
        ids=["system", "subprocess", "eval", "inside a setting"],
    )
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_are_refused_and_never_run(self, tmp_path, function, argument, name, zipped):
        marker = tmp_path / "marker"
        if argument is None:
            harm = functools.partial(torch.optim.AdamW, lr=Harm(os.system, f"touch {marker}"))
        else:
            harm = Harm(function, argument.format(str(marker)))
        content = {"state_dict": prefixed("model.", layouts.finetuned()), "hyper_parameters": {"x": harm}}
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=rf"opening it would run {name}.*do not open this file. Nothing was exec"):
            convert(tmp_path / "w.ckpt", tmp_path / "out", ASKED)
        assert not marker.exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["w.ckpt"]
        # The same file does run when it is opened as files used to be: the test would see it.
        if function is os.system:
            torch.load(tmp_path / "w.ckpt", weights_only=False)
            assert marker.exists()

    def test_in_a_folder(self, tmp_path, stock_folder):
        folder, stock = stock_folder
        (folder / "model.safetensors").unlink()
        marker = tmp_path / "marker"
        state = {**stock.state_dict(), "x": Harm(os.system, f"touch {marker}")}
        torch.save(state, folder / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"its weights cannot be read .*Nothing in them was executed"):
            convert(folder, tmp_path / "out")
        assert not marker.exists()


def changed(**changes):
    """Returns a maker of a file with a state dict in which weights were replaced (None: removed)."""

    def make(path: Path) -> None:
        weights = {name.replace("__", "."): value for name, value in changes.items()}
        weights = {**layouts.finetuned(), **weights}
        torch.save({"model": {name: value for name, value in weights.items() if value is not None}}, path)

    return make


def cut_off(path: Path) -> None:
    torch.save({"model": layouts.finetuned()}, path)
    path.write_bytes(path.read_bytes()[:-2000])


def short_storage(path: Path) -> None:
    """A whole archive in which one tensor claims more numbers than its record holds."""
    torch.save({"model": {"patch_embed.proj.weight": torch.ones(4096)}}, path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[:64] if name.endswith("data/0") else content)


def empty_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")


NAN = torch.full((layouts.TINY["width"],), torch.nan)
MANY = {f"blocks__{i}__gamma_{k}": torch.ones(24) for i in range(3) for k in range(1, 5)}
FILES = {
    "cut off": (cut_off, "the end of the file is missing"),
    "text": (lambda path: path.write_text("hello"), "expected a checkpoint that torch.save wrote"),
    "empty": (lambda path: path.write_bytes(b""), "expected a checkpoint that torch.save wrote"),
    "git lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "zip without data": (empty_zip, "could not read it"),
    "short storage": (short_storage, "could not read it"),
    "a list": (lambda path: torch.save([torch.ones(2)], path), "expected a dictionary of weights, found list"),
    "other entries": (lambda path: torch.save({"epoch": 1}, path), "1 of 1 entries are something else: epoch"),
    "integers": (changed(head__bias=torch.ones(5, dtype=torch.int64)), "something else: head.bias"),
    "few bytes for many": (changed(head__bias=torch.ones(1).expand(1 << 50)), "something else: head.bias"),
    "float8": (changed(head__bias=torch.ones(5).to(torch.float8_e4m3fn)), "something else: head.bias"),
    "no VideoMAE": (lambda path: torch.save({"conv1.weight": torch.ones(2)}, path), "found conv1.weight"),
    "Hugging Face's": (
        lambda path: torch.save({"videomae.embeddings.patch_embeddings.projection.bias": torch.ones(2)}, path),
        "pass the folder with its config.json",
    ),
    "NaN": (changed(blocks__1__norm1__bias=NAN), "NaN or infinite values in 1 of .* weights: blocks.1.norm1.bias"),
    "missing": (changed(blocks__1__mlp__fc2__bias=None), "1 missing: blocks.1.mlp.fc2.bias"),
    "half a head": (changed(head__bias=None), "1 missing: head.bias"),
    "unexpected": (changed(**MANY), r"12 unexpected: (blocks\.\d\.gamma_\d, ){7}blocks\.1\.gamma_4 and 4 more\."),
    "both kinds of bias": (changed(blocks__0__attn__qkv__bias=torch.ones(72)), "1 unexpected: blocks.0.attn.qkv.bias"),
    "shape": (
        changed(blocks__2__attn__proj__weight=torch.ones(24, 23)),
        r"1 of another shape: blocks.2.attn.proj.weight \(24, 23\) instead of \(24, 24\)",
    ),
    "fused shape": (changed(blocks__0__attn__qkv__weight=torch.ones(70, 24)), r"\(70, 24\) instead of \(72, 24\)"),
    "flat patches": (changed(patch_embed__proj__weight=torch.ones(24, 384)), "to have 5 dimensions, found shape"),
    "two of a name": (changed(module__head__bias=torch.ones(5)), "two weights are called head.bias"),
}


class TestRefusedFiles:
    @pytest.mark.parametrize("which", FILES)
    def test_one_clear_error_and_nothing_left(self, tmp_path, which):
        make, message = FILES[which]
        make(tmp_path / "w.pth")
        with pytest.raises(ValueError, match=message) as caught:
            convert(tmp_path / "w.pth", tmp_path / "out", ASKED)
        assert str(caught.value).startswith(f"{tmp_path / 'w.pth'}: ")
        assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_attention_heads": None}, r"its width is 24.*--num-attention-heads"),
            ({"num_attention_heads": 5}, "5 attention heads do not divide its width 24"),
            ({"pooling": "first"}, "was trained with pooling 'mean'"),
        ],
    )
    def test_settings_that_are_needed_or_contradict(self, tmp_path, changes, message):
        path = save(tmp_path / "w.pth", {"model": layouts.finetuned()})
        with pytest.raises(ValueError, match=message):
            convert(path, tmp_path / "out", settings(**changes))

    def test_arguments_that_no_training_had_are_not_believed(self, tmp_path):
        arguments = argparse.Namespace(num_frames=10**12, input_size=10**12)
        path = save(tmp_path / "w.pth", {"model": layouts.finetuned(), "args": arguments})
        assert convert(path, tmp_path / "out", ASKED).config["num_frames"] == FRAMES

    def test_a_file_is_not_read_for_ever(self, tmp_path, monkeypatch):
        module = types.ModuleType("hydra.many")
        kinds = [type(f"C{i}", (), {"__module__": "hydra.many"}) for i in range(60)]
        for kind in kinds:
            setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, "hydra", types.ModuleType("hydra"))
        monkeypatch.setitem(sys.modules, "hydra.many", module)
        content = {"state_dict": layouts.finetuned(), "hyper_parameters": [kind() for kind in kinds]}
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=False)
        load, calls = torch.load, []
        monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(a) or load(*a, **k))
        with pytest.raises(ValueError, match=r"hydra\.many\.C32"):
            convert(tmp_path / "w.ckpt", tmp_path / "out", ASKED)
        assert len(calls) == 33

    def test_settings_of_no_meaning(self):
        for name, value in {"num_frames": 0, "dtype": "int8", "pooling": "max", "threshold": "high"}.items():
            with pytest.raises(ValueError, match=f"Expected {name} "):
                ConversionSettings(**{name: value})

    def test_sources_that_are_none(self, tmp_path):
        (tmp_path / "empty").mkdir()
        for source, message in {
            tmp_path / "gone.pth": "found none",
            "gone.pth": "found none",
            "gone/too.ckpt": "found none",
            tmp_path / "empty": "found neither",
        }.items():
            with pytest.raises(ValueError, match=message):
                convert(source, tmp_path / "out")
        (tmp_path / "empty" / "config.json").write_text('{"model_type": "vit"}')
        with pytest.raises(ValueError, match=r"expected model_type videomae or rlt_videomae .*found 'vit'"):
            convert(tmp_path / "empty", tmp_path / "out")


class TestLabels:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("l.txt", "ä\nb c\nc\nd\ne\n"),
            ("l.json", '["ä", "b c", "c", "d", "e"]'),
            ("l.json", '{"1": "b c", "0": "ä", "2": "c", "3": "d", "4": "e"}'),
            ("l.json", '{"b c": 1, "ä": "0", "c": 2, "d": 3, "e": 4}'),
        ],
        ids=["text", "list", "index to name", "name to index"],
    )
    def test_names_from_a_file(self, tmp_path, name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        path = save(tmp_path / "w.pth", {"model": layouts.finetuned()})
        done = convert(path, tmp_path / "out", settings(labels=tmp_path / name))
        config = RLTVideoMAEConfig.from_pretrained(tmp_path / "out")
        assert config.id2label == {0: "ä", 1: "b c", 2: "c", 3: "d", 4: "e"}
        assert config.label2id["b c"] == 1
        assert not any("LABEL_" in note for note in done.notes)

    def test_without_a_file_they_are_numbered_and_that_is_said(self, tmp_path):
        done = convert(save(tmp_path / "w.pth", {"model": layouts.finetuned()}), tmp_path / "out", ASKED)
        assert RLTVideoMAEConfig.from_pretrained(tmp_path / "out").id2label[4] == "LABEL_4"
        assert any("LABEL_0 to LABEL_4" in note for note in done.notes)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("l.txt", b"a\nb\n", "expected 5 class names.*found 2"),
            ("l.txt", b"a\nb\nc\nd\na\n", "'a' 2 times"),
            ("l.txt", b"a\nb\n\nd\ne\n", "an empty one"),
            ("l.txt", b"\xff\xfe\x00", "expected text in UTF-8"),
            ("l.json", b"{", "expected a JSON file"),
            ("l.json", b'{"0": "a", "2": "b"}', "a dictionary from 0, 1, 2"),
            ("l.json", b"3", "expected a JSON list"),
            ("l.json", b'["a", "b", "c", "d", ["e"]]', "expected a JSON list of class names"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        path = save(tmp_path / "w.pth", {"model": layouts.finetuned()})
        with pytest.raises(ValueError, match=message):
            convert(path, tmp_path / "out", settings(labels=tmp_path / name))

    def test_an_encoder_has_none(self, tmp_path):
        (tmp_path / "l.txt").write_text("a")
        with pytest.raises(ValueError, match="has no classifier"):
            convert(save(tmp_path / "w.pth", layouts.pretrained()), tmp_path / "o", settings(labels=tmp_path / "l.txt"))


class TestWriting:
    @pytest.fixture
    def source(self, tmp_path) -> Path:
        return save(tmp_path / "w.pth", {"model": layouts.finetuned()})

    def test_out_must_be_new_or_empty(self, tmp_path, source):
        (tmp_path / "empty").mkdir()
        convert(source, tmp_path / "empty", ASKED)
        convert(source, tmp_path / "new" / "deep", ASKED)
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
                convert(source, tmp_path / out, ASKED, overwrite=overwrite)
        assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
        convert(source, tmp_path / "empty", settings(threshold=0.3), overwrite=True)
        assert RLTVideoMAEConfig.from_pretrained(tmp_path / "empty").threshold == 0.3
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        with pytest.raises(ValueError, match="holds the source"):
            convert(tmp_path / "empty", tmp_path / "empty", overwrite=True)

    @pytest.mark.parametrize("old", [False, True])
    def test_a_failure_while_writing_leaves_everything_as_it_was(self, tmp_path, source, monkeypatch, old):
        if old:
            convert(source, tmp_path / "out", settings(threshold=0.3))
        before = sorted(path.name for path in tmp_path.iterdir())

        def full(self, folder, **kwargs):
            (Path(folder) / "half.json").write_text("{")
            raise OSError("No space left on device")

        monkeypatch.setattr(RLTVideoProcessor, "save_pretrained", full)
        with pytest.raises(OSError, match="No space left"):
            convert(source, tmp_path / "out", ASKED, overwrite=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        if old:
            assert RLTVideoMAEConfig.from_pretrained(tmp_path / "out").threshold == 0.3

    def test_overwriting_replaces_the_model_and_nothing_else(self, tmp_path, source):
        out = tmp_path / "out"
        convert(source, out, settings(threshold=0.3))
        own = {path.name for path in out.iterdir()}
        theirs = ["README.md", ".git/HEAD", "checkpoint-8/model.safetensors", "my-model.safetensors"]
        for name in theirs:
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text("theirs")
        stale = ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]
        for name in stale:
            (out / name).write_text("of the old model")
        convert(source, out, ASKED, overwrite=True)
        assert RLTVideoMAEConfig.from_pretrained(out).threshold == 0.1
        assert {path.name for path in out.iterdir()} == own | {name.split("/")[0] for name in theirs}
        assert {(out / name).read_text() for name in theirs} == {"theirs"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda folder: (folder / "config.json").write_text('{"port": 8080}'),
                "has a config.json of something else",
            ),
            (lambda folder: (folder / "config.json").write_text("[1]"), "has a config.json of something else"),
            (lambda folder: (folder / "config.json").write_text("port = 8080"), "has a config.json of something else"),
            (lambda folder: (folder / "config.json").write_text('{"model_type": "rlt_videomae"}'), "of something else"),
            (
                lambda folder: (folder / "config.json").write_text(
                    '{"model_type": "bert", "transformers_version": "5"}'
                ),
                "of some",
            ),
            (lambda folder: (folder / "model.safetensors").unlink(), "holds neither model.safetensors nor"),
            (lambda folder: (folder / "trainer_state.json").write_text("{}"), "is of a training"),
            (
                lambda folder: (folder / "sampling.py").write_text("my_thesis = 1"),
                r"sampling\.py: expected code that hf_rlt",
            ),
        ],
    )
    def test_only_models_that_were_saved_are_replaced(self, tmp_path, source, change, message):
        out = tmp_path / "out"
        convert(source, out, settings(threshold=0.3))
        change(out)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        with pytest.raises(ValueError, match=message):
            convert(source, out, ASKED, overwrite=True)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before

    def test_a_folder_in_the_place_of_a_file_stays(self, tmp_path, source):
        out = tmp_path / "out"
        convert(source, out, ASKED)
        (out / "preprocessor_config.json").unlink()
        (out / "preprocessor_config.json").mkdir()
        with pytest.raises(ValueError, match=r"preprocessor_config\.json: expected a file or nothing .* move it away"):
            convert(source, out, settings(threshold=0.3), overwrite=True)
        assert (out / "preprocessor_config.json").is_dir()
        assert RLTVideoMAEConfig.from_pretrained(out).threshold == 0.1

    def test_the_working_directory_can_be_written(self, tmp_path, source, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        convert(source, ".", ASKED)
        assert Path("config.json").is_file()  # of the same folder that this process is in
        convert(source, ".", settings(threshold=0.3), overwrite=True)
        assert RLTVideoMAEConfig.from_pretrained(".").threshold == 0.3

    @pytest.mark.parametrize("at", ["config.json", "model.safetensors", "video_preprocessor_config.json"])
    def test_a_model_that_cannot_be_replaced_stays(self, tmp_path, source, monkeypatch, at):
        convert(source, tmp_path / "out", settings(threshold=0.3))
        (tmp_path / "out" / "README.md").write_text("mine")
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        rename = os.rename

        def busy(old, new):
            if Path(old).parent.name == "model" and Path(old).name == at:
                raise OSError("Device or resource busy")
            rename(old, new)

        monkeypatch.setattr(os, "rename", busy)
        with pytest.raises(OSError, match="busy"):
            convert(source, tmp_path / "out", ASKED, overwrite=True)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "w.pth"]

    def test_what_was_written_is_compared(self, tmp_path, stock_folder):
        opened = open_folder(str(stock_folder[0]), ConversionSettings())
        opened.model.save_pretrained(tmp_path / "out")
        opened.processor.save_pretrained(tmp_path / "out")
        assert len(check(opened, tmp_path / "out")) == 3
        weights = load_file(tmp_path / "out" / "model.safetensors")
        weights["classifier.bias"][1] += 1e-6
        save_file(weights, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=r"1 weights differ: classifier\.bias"):
            check(opened, tmp_path / "out")

    def test_outputs_are_compared_with_the_source(self, tmp_path, stock_folder, monkeypatch):
        folder, stock = stock_folder

        def other(*args, **kwargs):
            with torch.no_grad():
                stock.classifier.bias[0] += 1e-5
            return stock

        monkeypatch.setattr(VideoMAEForVideoClassification, "from_pretrained", other)
        with pytest.raises(
            ValueError, match=r"nothing was written to .*VideoMAEForVideoClassification, dense differ by up to"
        ):
            convert(folder, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_weights_that_overflow_are_refused(self, tmp_path):
        weights = layouts.finetuned()
        weights["head.weight"] *= 1e6
        path = save(tmp_path / "w.pth", {"model": weights})
        with pytest.raises(ValueError, match=r"not finite: these weights overflow in torch\.float16"):
            convert(path, tmp_path / "out", settings(dtype="float16"))

    def test_the_clip_of_the_check_has_still_and_moving_parts(self):
        clip = check_clip(8, 32, 48)
        assert clip.shape == (8, 32, 48, 3)
        assert clip.std() > 20
        still = (clip == clip[:1]).all((0, 3)).mean()
        assert 0.3 < still < 0.9


class TestCommand:
    def run(self, *words: object):
        return CliRunner().invoke(app, ["convert", *map(str, words)])

    def test_prints_what_was_done(self, tmp_path):
        source = save(tmp_path / "w.pth", {"model": layouts.finetuned()})
        options = ["--num-attention-heads", HEADS, "--num-frames", FRAMES, "--image-size", SIDE, "--threshold", "none"]
        done = self.run(source, tmp_path / "out", *options)
        assert done.exit_code == 0, done.output
        said = " ".join(done.stdout.split())
        assert "3 blocks of width 24, 4 heads; 8 frames of 32 pixels" in said
        assert "none (dense)" in said
        assert "LABEL_0 to LABEL_4" in said
        assert "own code cannot be run here" in said
        printed = json.loads(self.run(source, tmp_path / "json", *options, "--json").stdout)
        assert (printed["num_labels"], printed["threshold"], printed["config"]["num_hidden_layers"]) == (5, None, 3)
        assert printed["parameters"] == sum(value.numel() for value in layouts.finetuned().values())
        assert set(printed) >= {"source", "out", "kind", "notes", "checks", "dtype", "architecture"}

    def test_a_users_mistake_is_one_line_and_code_2(self, tmp_path):
        source = save(tmp_path / "w.pth", {"model": layouts.finetuned()})
        for words, message in {
            (source, tmp_path / "out"): "--num-attention-heads",
            (tmp_path / "gone.pth", tmp_path / "out"): "found none",
            (source, source): "holds the source",
            (source, tmp_path / "out", "--threshold", "high"): "--threshold: expected a number, none or model",
            (source, tmp_path / "out", "--dtype", "int8"): "Expected dtype to be one of float32",
            (source, tmp_path / "out", "--labels", tmp_path / "gone.txt", "--num-attention-heads", 4): "gone.txt",
        }.items():
            done = self.run(*words)
            assert done.exit_code == 2, done.output
            assert message in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
            assert done.stdout == ""
        assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]
