# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What holds for every model family; and that a new one needs nothing but its own files."""

import json

import pytest
from transformers import VideoMAEForVideoClassification, VJEPA2ForVideoClassification
from typer.testing import CliRunner

from helpers.family_tests import FamilyTests
from helpers.packed_family_tests import PackedFamilyTests
from helpers.tiny import SIDE, TINY, TINY_VJEPA2, randomise
from helpers.toy_family import ToyConfig, ToyForVideoClassification
from helpers.videos import noise, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.baselines import ByDifferenceVideoMAEConfig, ByDifferenceVideoMAEForVideoClassification
from hf_rlt.cli import app
from hf_rlt.errors import HfRltError
from hf_rlt.families import family_of
from hf_rlt.inference.loading import load, load_processor

NAMES = ["falls", "grows", "hops"]


class TestRLTVideoMAE(PackedFamilyTests):
    family = "rlt_videomae"
    settings = TINY
    stock = VideoMAEForVideoClassification


def test_a_processor_alone_does_not_speak_for_a_model_that_chooses_within(tmp_path):
    config = ByDifferenceVideoMAEConfig(**TINY, num_tokens=0.5)
    ByDifferenceVideoMAEForVideoClassification(config).save_pretrained(tmp_path)
    RLTVideoProcessor().save_pretrained(tmp_path)
    with pytest.raises(HfRltError, match="chooses tokens by their pixels, found one that chooses by difference"):
        load_processor(str(tmp_path))
    with pytest.raises(HfRltError, match="Expected max_tokens=None with selection by difference"):
        load_processor(str(tmp_path), max_tokens=0.5)


class TestRLTVJEPA2(PackedFamilyTests):
    family = "rlt_vjepa2"
    settings = TINY_VJEPA2
    stock = VJEPA2ForVideoClassification
    lora = {"target_modules": r".*\.encoder\..*\.(query|value)"}  # noqa: RUF012
    poolers, poolings = TINY_VJEPA2["num_pooler_layers"], 1


class TestRLTVJEPA2ThatUsesRunLengths(TestRLTVJEPA2):
    settings = {**TINY_VJEPA2, "proportional_attention": True}  # noqa: RUF012


class TestRLTVideoMAEThatPoolsTheFirstToken(TestRLTVideoMAE):
    settings = {**TINY, "use_mean_pooling": False}  # noqa: RUF012


class TestRLTVideoMAEThatUsesRunLengths(PackedFamilyTests):
    family = "rlt_videomae"
    settings = {**TINY, "length_embedding": True, "proportional_attention": True}  # noqa: RUF012


class TestToy(FamilyTests):
    family = "toy_rlt"
    backends = (None,)


def test_a_family_that_nobody_registered_is_refused():
    with pytest.raises(
        HfRltError, match=r"here: expected a model with RLT.*ToMe, .*, or of type videomae, vjepa2, found vit"
    ):
        family_of("vit", "here")


class TestANewFamilyInThePackage:
    """The toy goes wherever RLT-VideoMAE goes; only its own files know it."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("toy") / "model"
        config = ToyConfig(id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)})
        randomise(ToyForVideoClassification(config)).save_pretrained(folder)
        size = {"height": SIDE, "width": SIDE}
        RLTVideoProcessor(num_frames=8, frame_stride=1, patch_size=8, size=size, crop_size=size).save_pretrained(folder)
        return folder

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
        return done

    def test_load(self, folder):
        model, processor = load(str(folder), threshold=0.2)
        assert type(model) is ToyForVideoClassification
        assert (model.config.threshold, processor.threshold, processor.num_frames) == (0.2, 0.2, 8)
        assert load_processor(str(folder)).patch_size == 8

    def test_predict(self, folder, videos, tmp_path):
        self.run("predict", videos / "validation", "--model", folder, "--output", tmp_path, "--num-workers", 1)
        lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
        assert len(lines) == len(NAMES)

    def test_evaluate(self, folder, videos):
        done = self.run(
            "evaluate", videos / "validation", "--model", folder, "--num-workers", 0, "--batch-size", 2, "--json"
        )
        assert json.loads(done.stdout)["tokens_computed"] < 1

    @pytest.mark.slow
    def test_finetune(self, folder, videos, tmp_path):
        data = ["--train_dir", videos / "train", "--validation_dir", videos / "validation"]
        options = ["--output_dir", tmp_path / "out", "--max_steps", 1, "--use_cpu", "--report_to", "none"]
        self.run("finetune", "--model_name_or_path", folder, *data, *options)
        assert type(load(str(tmp_path / "out"))[0]) is ToyForVideoClassification

    def test_convert_refuses_it(self, folder, tmp_path):
        done = CliRunner().invoke(app, ["convert", str(folder), "--output", str(tmp_path / "out")])
        assert done.exit_code == 2
        assert len(done.stderr.strip().splitlines()) == 1

    def test_card(self, folder):
        self.run("card", "--model", folder)
        text = (folder / "README.md").read_text()
        assert "A toy with Run-Length Tokenization" in text
        assert "- run-length-tokenization" in text
