# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What every model family does from its folder: derive a class whose name begins with Test, with `family` and `settings`."""

import base64
import json

import pytest
import torch
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor, pipeline
from typer.testing import CliRunner

from helpers.model_folders import save_family
from helpers.paths import ROOT
from helpers.predictions import lines
from helpers.videos import noise, write_video
from hf_rlt.cli import app
from hf_rlt.errors import HfRltError
from hf_rlt.families import FAMILIES
from hf_rlt.hub.handler import EndpointHandler
from hf_rlt.inference.loading import load, load_processor

CITY = ROOT / "examples" / "space" / "clips" / "city_at_night.mp4"
NAMES = ["falls", "grows", "hops"]


class CommandTests:
    """Commands, transformers' own classes and the endpoint's handler on a saved classifier.

    Attributes:
        family: model type.
        settings: fields of its configuration, for clips of 8 frames of 32 x 32 pixels.
        sentence: a part of its card.
    """

    family: str
    settings: dict = {}  # noqa: RUF012
    sentence: str

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        return save_family(tmp_path_factory.mktemp("saved") / "model", cls.family, cls.settings, NAMES)

    @pytest.fixture(scope="class")
    @classmethod
    def videos(cls, tmp_path_factory):
        root = tmp_path_factory.mktemp("videos")
        for split in ("train", "validation"):
            for seed, name in enumerate(NAMES):
                (root / split / name).mkdir(parents=True)
                write_video(root / split / name / f"{name}.mp4", noise(12, seed))
        return root

    @staticmethod
    def run(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output + done.stderr
        return done.stdout

    @pytest.fixture(scope="class")
    @classmethod
    def scores(cls, folder):
        """Probabilities of the classes in a real clip, by the model itself, and its tokens."""
        model, processor = (
            AutoModelForVideoClassification.from_pretrained(folder),
            AutoVideoProcessor.from_pretrained(folder),
        )
        inputs = processor(str(CITY), return_tensors="pt")
        with torch.no_grad():
            found = model(**inputs).logits.softmax(-1)[0].tolist()
        return dict(zip(NAMES, found, strict=True)), int((inputs["run_lengths"] > 0).sum())

    def test_load(self, folder):
        model, processor = load(str(folder), threshold=0.2)
        assert type(model) is FAMILIES[self.family].classifier
        assert (model.config.threshold, processor.threshold, processor.num_frames) == (0.2, 0.2, 8)
        assert load_processor(str(folder)).patch_size == 8

    def test_an_encoder_alone_gives_features_only(self, folder, tmp_path):
        AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
        AutoVideoProcessor.from_pretrained(folder).save_pretrained(tmp_path)
        assert type(load(str(tmp_path), head=False)[0]) is FAMILIES[self.family].model
        with pytest.raises(
            HfRltError, match=r"expected a classifier, found weights without .*: fine-tune it"
        ) as refused:
            load(str(tmp_path))
        assert len(str(refused.value)) < 400

    def test_auto_classes_and_pipeline(self, folder, scores):
        classes = FAMILIES[self.family]
        assert type(AutoProcessor.from_pretrained(folder)) is classes.processor
        model = AutoModel.from_pretrained(folder)
        assert type(model) is classes.model
        inputs = AutoVideoProcessor.from_pretrained(folder)([str(CITY)] * 2, return_tensors="pt")
        assert model(**inputs).last_hidden_state.shape[:2] == (2, 64)
        for classify in (pipeline("video-classification", model=str(folder)), self.handler(folder)):
            assert {each["label"]: each["score"] for each in classify(str(CITY))} == pytest.approx(scores[0], abs=1e-5)

    @staticmethod
    def handler(folder):
        """Return the handler as a function of a path."""
        handler = EndpointHandler(str(folder))
        return lambda path: handler({"inputs": base64.b64encode(CITY.read_bytes()).decode()})

    def test_classify(self, folder, scores):
        found = json.loads(self.run("classify", CITY, "--model", folder, "--json"))
        assert {each["label"]: each["score"] for each in found["scores"]} == pytest.approx(scores[0], abs=1e-5)
        assert (found["tokens_computed"], found["tokens"]) == (scores[1], 64)
        exact = json.loads(self.run("classify", CITY, "--model", folder, "--json", "--num-tokens", 0.5))
        assert exact["tokens_computed"] == 32

    @pytest.mark.parametrize("options", [(), ("--features", "pooled", "--num-clips", 2), ("--features", "tokens")])
    def test_predict(self, folder, videos, tmp_path, options):
        self.run(
            "predict", videos / "validation", "--model", folder, "--output", tmp_path, "--num-workers", 0, *options
        )
        rows = lines(tmp_path)
        assert len(rows) == len(NAMES)
        assert all(("features" in row) == bool(options) for row in rows)

    def test_evaluate(self, folder, videos):
        options = ("--num-workers", 0, "--batch-size", 2, "--num-clips", 2, "--num-crops", 3, "--json")
        found = json.loads(self.run("evaluate", videos / "validation", "--model", folder, *options))
        assert found["tokens_computed"] < 1

    def test_tokens(self, folder, scores):
        found = json.loads(self.run("tokens", CITY, "--model", folder, "--json").splitlines()[0])
        assert (found["tokens_after"], found["tokens_before"]) == (scores[1], 64)

    @pytest.mark.parametrize("name", ["sheet.png", "clip.gif"])
    def test_draw(self, folder, tmp_path, name):
        self.run("draw", CITY, "--model", folder, "--output", tmp_path / name, "--scale", 2)
        assert (tmp_path / name).stat().st_size > 1000

    def test_benchmark(self, folder, scores):
        options = ("--batch-size", 2, "--repeats", 1, "--json")
        dense, rlt = json.loads(self.run("benchmark", CITY, "--model", folder, *options))["rows"]
        assert (dense["tokens"], rlt["tokens"]) == (128, 2 * scores[1])
        assert 0 < rlt["gflops"] < dense["gflops"]

    @pytest.mark.slow
    def test_finetune(self, folder, videos, tmp_path):
        data = ["--train_dir", videos / "train", "--validation_dir", videos / "validation"]
        options = ["--output_dir", tmp_path / "out", "--max_steps", 1, "--use_cpu", "--report_to", "none"]
        self.run("finetune", "--model_name_or_path", folder, *data, *options)
        assert type(load(str(tmp_path / "out"))[0]) is FAMILIES[self.family].classifier

    def test_card(self, folder):
        self.run("card", "--model", folder)
        text = (folder / "README.md").read_text()
        assert self.sentence in text
        assert "- run-length-tokenization" in text
