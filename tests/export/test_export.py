# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""hf-rlt export: what is written, that it computes the same, and the example that runs it without PyTorch."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.model_folders import save_family, save_model
from helpers.paths import ROOT
from helpers.predictions import lines
from helpers.tiny import TINY, TINY_VJEPA2, moving_clips
from helpers.videos import ramp, write_video
from hf_rlt.baselines import ToMeVideoMAEConfig, ToMeVideoMAEForVideoClassification
from hf_rlt.cli import app
from hf_rlt.export import padded_inputs
from hf_rlt.inference.exported import NAMES, open_openvino
from hf_rlt.inference.loading import load
from hf_rlt.models.packing import packed_layout
from hf_rlt.models.tubelets import cut_tubelets

LABELS = [f"act {k}" for k in range(5)]
FAMILIES = {"rlt_videomae": TINY, "rlt_vjepa2": TINY_VJEPA2}
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
)

TWO_CLOSED = """
import os, signal, sys, time
from pathlib import Path
from hf_rlt.inference.exported import open_openvino

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
first, second = (open_openvino(Path(sys.argv[1], "model.xml")) for _ in range(2))
del first
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt:
    print("interrupted")
"""


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def inputs_of(model, runs):
    tubelets = cut_tubelets(moving_clips()[: len(runs)], packed_layout(runs), 2, 8)
    return padded_inputs(tubelets, runs)


def mixed_runs():
    """Run lengths of clips of 1, 5 and 64 tokens."""
    runs = torch.zeros(3, 64, dtype=torch.int64)
    runs[0, 17], runs[1, 3:8], runs[2] = 1, 2, 1
    return runs


def onnx_logits(path, inputs):
    import onnxruntime

    (logits,) = onnxruntime.InferenceSession(path).run(None, dict(zip(NAMES, (x.numpy() for x in inputs), strict=True)))
    return logits


def openvino_logits(path, inputs):
    return open_openvino(path)(inputs).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_format_computes_what_pytorch_does(family, tmp_path):
    folder, out = save_family(tmp_path / "model", family, FAMILIES[family], LABELS), tmp_path / "out"
    done = run(folder, "-o", out, *(word for name in ("onnx", "openvino", "torch") for word in ("--format", name)))
    assert done.exit_code == 0, done.output
    model, _ = load(str(folder))
    program = torch.export.load(out / "model.pt2").module()
    for runs in (mixed_runs(), mixed_runs()[1:2], mixed_runs()[2:]):
        inputs = inputs_of(model, runs)
        with torch.no_grad():
            wanted = model(moving_clips()[: len(runs)], run_lengths=runs).logits.numpy()
            found = program(*inputs).numpy()
        for logits in (found, onnx_logits(out / "model.onnx", inputs), openvino_logits(out / "model.xml", inputs)):
            np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_package_of_aotinductor_and_int8_models(tmp_path):
    folder = save_model(tmp_path / "model", labels=LABELS)
    model, _ = load(str(folder))
    inputs = inputs_of(model, mixed_runs())
    with torch.no_grad():
        wanted = model(moving_clips()[:3], run_lengths=mixed_runs()).logits
    done = run(folder, "-o", tmp_path / "package", "--format", "aotinductor")
    assert done.exit_code == 0, done.output
    found = torch._inductor.aoti_load_package(str(tmp_path / "package" / "model_aotinductor.pt2"))(*inputs)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    formats = ("--format", "onnx", "--format", "openvino")
    for precision in ("float32", "int8"):
        done = run(folder, "-o", tmp_path / precision, *formats, "--precision", precision)
        assert done.exit_code == 0, done.output
    sizes = {name: [(tmp_path / kind / name).stat().st_size for kind in ("float32", "int8")] for name in ("model.bin",)}
    assert sizes["model.bin"][1] < 0.5 * sizes["model.bin"][0]
    for logits in (
        onnx_logits(tmp_path / "int8" / "model.onnx", inputs),
        openvino_logits(tmp_path / "int8" / "model.xml", inputs),
    ):
        difference = np.abs(logits - wanted.numpy()).max()
        assert 1e-5 < difference < 0.1 * wanted.abs().max()  # rounded, and still the same model


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_example_classifies_a_clip_without_pytorch(family, tmp_path):
    folder = save_family(tmp_path / "model", family, FAMILIES[family], LABELS)
    clip = write_video(tmp_path / "clip.mp4", ramp(40))
    expected = CliRunner().invoke(app, ["classify", str(clip), "--model", str(folder), "--json", "--top-k", "5"])
    expected = json.loads(expected.stdout)
    for number, kind in enumerate(("onnx", "openvino")):
        out = tmp_path / str(number)
        assert run(folder, "-o", out, "--format", kind).exit_code == 0
        words = [sys.executable, "-c", WITHOUT_TORCH, str(ROOT / "examples" / "serve_onnx.py"), str(out), str(clip)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == f"{expected['tokens_computed']} of 64 tokens computed"
        scores = {line.split("  ")[-1]: float(line.split()[0]) for line in lines[1:]}
        for score in expected["scores"]:
            assert scores[score["label"]] == pytest.approx(score["score"], abs=2e-3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, exports of it in both runtimes, and two videos: folders."""
    root = tmp_path_factory.mktemp("exported")
    save_model(root / "model", labels=LABELS)
    for name in ("onnx", "openvino"):
        assert run(root / "model", "-o", root / name, "--format", name).exit_code == 0
    assert run(root / "model", "-o", root / "int8", "--format", "openvino", "--precision", "int8").exit_code == 0
    assert run(root / "model", "-o", root / "program", "--format", "torch").exit_code == 0
    for label, frames in zip(LABELS, (40, 24), strict=False):
        folder = root / "videos" / label
        folder.mkdir(parents=True)
        write_video(folder / "clip.mp4", ramp(frames))
    return root


def predicted(exported, out, model, *words):
    arguments = ["predict", exported / "videos", "--model", exported / model, "-o", out, "--num-workers", 0, *words]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return lines(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [(), ("--num-clips", 2, "--num-crops", 3), ("--num-tokens", 20), ("--threshold", "none")]
)
def test_exported_models_predict_what_the_model_does(exported, tmp_path, words):
    expected = predicted(exported, tmp_path / "model", "model", *words)
    for name in ("onnx", "openvino"):
        found = predicted(exported, tmp_path / name, name, *words)
        for one, other in zip(found, expected, strict=True):
            assert (one["video"], one["tokens_computed"]) == (other["video"], other["tokens_computed"])
            exact = dict(zip(other["labels"], other["scores"], strict=True))
            assert dict(zip(one["labels"], one["scores"], strict=True)) == pytest.approx(exact, abs=1e-5)


@pytest.mark.slow
def test_an_exported_model_is_called_as_the_model_it_was_made_of(exported):
    model, processor = load(str(exported / "model"))
    clips, runs = moving_clips()[:3], mixed_runs()
    tubelets = cut_tubelets(clips, packed_layout(runs), 2, 8)
    for name in ("onnx", "openvino"):
        other, its_processor = load(str(exported / name))
        assert its_processor.to_dict() == processor.to_dict()
        for inputs in (
            {"pixel_values": clips},
            {"pixel_values": clips, "run_lengths": runs},
            {"tubelets": tubelets, "run_lengths": runs},
        ):
            with torch.no_grad():
                wanted = model(**inputs, labels=torch.tensor([0, 1, 2]))
                found = other(**inputs, labels=torch.tensor([0, 1, 2]))
            torch.testing.assert_close(found.logits, wanted.logits, atol=1e-5, rtol=0)
            torch.testing.assert_close(found.loss, wanted.loss, atol=1e-5, rtol=0)
            assert found.run_lengths.equal(wanted.run_lengths)


@pytest.mark.slow
def test_a_signal_is_survived_after_two_models_were_closed(exported):
    done = subprocess.run(
        [sys.executable, "-c", TWO_CLOSED, exported / "openvino"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.slow
def test_evaluation_of_an_int8_model_and_bfloat16(exported, tmp_path):
    outcomes = {}
    for name, words in (("model", ()), ("int8", ()), ("openvino", ("--bf16",))):
        arguments = ["evaluate", exported / "videos", "--model", exported / name, "--json", "--num-workers", 0, *words]
        done = CliRunner().invoke(app, [*map(str, arguments)])
        assert done.exit_code == 0, done.output
        outcomes[name] = json.loads(done.stdout)
    assert {each["clips"] for each in outcomes.values()} == {2}
    assert len({each["tokens_computed"] for each in outcomes.values()}) == 1
    exact = predicted(exported, tmp_path / "float32", "openvino")[0]["score"]
    for name, words in (("openvino", ("--bf16",)), ("int8", ())):
        score = predicted(exported, tmp_path / name, name, *words)[0]["score"]
        assert 0 < abs(score - exact) < 0.05  # rounded, and still the same model


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_quantised_on_videos(family, exported, tmp_path):
    folder = save_family(tmp_path / "model", family, FAMILIES[family], LABELS)
    scores = {}
    for name, words in (
        ("onnx", ("--format", "onnx")),
        ("weights", ("--format", "openvino")),
        ("all", ("--format", "openvino", "--calibrate", exported / "videos")),
    ):
        done = run(folder, "-o", tmp_path / name, "--precision", "int8", *words, "--json")
        assert done.exit_code == 0, done.output
        (difference,) = json.loads(done.stdout)["differences"].values()
        assert 0 < difference < 0.5  # also where the CPU adds products in 16 bits
        scores[name] = predicted(exported, tmp_path / f"{name}-out", tmp_path / name)
    program = (tmp_path / "all" / "model.xml").read_text()
    assert program.count('type="FakeQuantize"') > 10  # ranges of activations
    assert (tmp_path / "weights" / "model.xml").read_text().count('type="FakeQuantize"') == 0
    expected = predicted(exported, tmp_path / "float32", folder)
    for found in scores.values():
        for one, other in zip(found, expected, strict=True):
            exact = dict(zip(other["labels"], other["scores"], strict=True))
            assert dict(zip(one["labels"], one["scores"], strict=True)) == pytest.approx(exact, abs=0.1)


@pytest.mark.slow
def test_what_exported_models_cannot_is_refused(exported, tmp_path, monkeypatch):
    predicted(exported, tmp_path / "done", "openvino")
    for words, message in (
        (("openvino", "--features", "pooled", "-o", tmp_path / "new"), "for features, received an exported one"),
        (
            ("onnx", "--bf16", "-o", tmp_path / "new"),
            "expected float32, or bfloat16 in OpenVINO, for an exported model",
        ),
        (
            ("onnx", "--num-frames", "16", "-o", tmp_path / "new"),
            "keeps the frames and the attention it was exported with",
        ),
        (("program", "-o", tmp_path / "new"), "expected model.onnx or model.xml in an exported model, found neither"),
        (("int8", "-o", tmp_path / "done"), "holds predictions with model"),
    ):
        done = CliRunner().invoke(
            app, ["predict", str(exported / "videos"), "--model", *map(str, (exported / words[0], *words[1:]))]
        )
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert message in done.stderr
        assert not (tmp_path / "new").exists()
    done = run(exported / "onnx", "-o", tmp_path / "new")
    assert done.exit_code == 2
    assert "expected a model with its weights, found an exported one" in done.stderr
    with pytest.raises(
        ValueError, match=r"Expected clips of \(frames, channels, height, width\) \(8, 3, 32, 32\), received"
    ):
        load(str(exported / "onnx"))[0](moving_clips()[:, :4])
    model, _ = load(str(exported / "openvino"))
    assert model.to("cpu").to(torch.bfloat16).dtype == torch.bfloat16
    assert model.to(torch.device("cpu"), torch.float32).dtype == torch.float32
    with pytest.raises(ValueError, match="Expected num_tokens to be at least 16"):
        load(str(exported / "onnx"), num_tokens=1)
    for name, file in (("onnx", "model.onnx"), ("openvino", "model.bin")):
        shutil.copytree(exported / name, tmp_path / name)
        (tmp_path / name / file).write_bytes(b"")
        with pytest.raises(ValueError, match="cannot be opened"):
            load(str(tmp_path / name))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="needs onnxruntime: `pip install"):
        load(str(exported / "onnx"))


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path):
    folder = save_model(tmp_path / "model", labels=LABELS)
    tome = ToMeVideoMAEForVideoClassification(ToMeVideoMAEConfig(**TINY, r=4))
    tome.save_pretrained(tmp_path / "tome")
    from hf_rlt import RLTVideoProcessor

    RLTVideoProcessor(num_frames=8, patch_size=8).save_pretrained(tmp_path / "tome")
    out = tmp_path / "out"
    for words, message in (
        (
            (folder, "-o", out, "--format", "tensorrt"),
            "--format: expected one of onnx, openvino, torch, aotinductor, received",
        ),
        ((folder, "-o", out, "--precision", "int4"), "--precision: expected one of float32, int8, received 'int4'"),
        ((folder, "-o", out, "--precision", "int8", "--format", "torch"), "--precision int8 is for onnx and openvino"),
        ((folder, "-o", out, "--calibrate", tmp_path), "--calibrate is for --format openvino with --precision int8"),
        (
            (folder, "-o", out, "--calibrate", tmp_path / "model", "--format", "openvino", "--precision", "int8"),
            "expected videos (.mp4, .avi, .mkv, .webm ...) below it, found none",
        ),
        ((tmp_path / "tome", "-o", out), "cannot export ToMe, which drops or merges tokens within the network"),
        ((folder, "-o", folder), "write the result to another folder"),
        ((folder, "-o", tmp_path), "holds the source"),
        (
            (folder, "-o", tmp_path / "tome"),
            "expected a new or empty folder to write to, found one with files: give another",
        ),
    ):
        done = run(*words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert message in done.stderr
        assert not out.exists()


def test_padding_to_too_few_tokens_is_refused():
    runs = mixed_runs()
    tubelets = cut_tubelets(moving_clips()[:3], packed_layout(runs), 2, 8)
    with pytest.raises(ValueError, match="Expected to pad clips to 64 tokens or more, received 63"):
        padded_inputs(tubelets, runs, 63)
