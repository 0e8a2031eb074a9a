# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What holds for every model family; and that a new one needs nothing but its own files."""

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VJEPA2Config, VJEPA2ForVideoClassification
from typer.testing import CliRunner

from helpers.command_tests import CommandTests
from helpers.family_tests import FamilyTests
from helpers.packed_family_tests import PackedFamilyTests
from helpers.tiny import TINY, TINY_VJEPA2, moving_clips, randomise
from helpers.toy_family import ToyConfig
from hf_rlt import (
    RLTVideoMAEForVideoClassification,
    RLTVideoMAEModel,
    RLTVideoProcessor,
    RLTVJEPA2ForVideoClassification,
    RLTVJEPA2Model,
)
from hf_rlt.baselines import ByDifferenceVideoMAEConfig, ByDifferenceVideoMAEForVideoClassification
from hf_rlt.cli import app
from hf_rlt.errors import HfRltError
from hf_rlt.families import family_of
from hf_rlt.inference.loading import load_processor


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
    family = ToyConfig.model_type
    backends = (None,)


def test_a_family_that_nobody_registered_is_refused():
    with pytest.raises(
        HfRltError, match=r"here: expected a model with RLT.*ToMe, .*, or of type videomae, vjepa2, found vit"
    ):
        family_of("vit", "here")


class TestRLTVJEPA2InThePackage(CommandTests):
    family = "rlt_vjepa2"
    settings = TINY_VJEPA2
    sentence = "[V-JEPA 2](https://arxiv.org/abs/2506.09985) with Run-Length Tokenization"


class TestANewFamilyInThePackage(CommandTests):
    """The toy goes wherever RLT-VideoMAE goes; only its own files know it."""

    family = ToyConfig.model_type
    sentence = "A toy with Run-Length Tokenization"

    def test_convert_refuses_it(self, folder, tmp_path):
        done = CliRunner().invoke(app, ["convert", str(folder), "--output", str(tmp_path / "out")])
        assert done.exit_code == 2
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("classifier", [True, False])
@pytest.mark.parametrize("family", ["videomae", "vjepa2"])
def test_a_stock_model_in_memory(family, classifier):
    if family == "videomae":
        stock = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY)))
        kinds = RLTVideoMAEForVideoClassification, RLTVideoMAEModel
    else:
        stock = randomise(VJEPA2ForVideoClassification(VJEPA2Config(**TINY_VJEPA2)))
        kinds = RLTVJEPA2ForVideoClassification, RLTVJEPA2Model
    stock = stock if classifier else stock.base_model
    made = kinds[not classifier].from_stock(stock, threshold=None)
    clips = moving_clips(2)
    with torch.inference_mode():
        if classifier:
            assert made(clips).logits.equal(stock(clips).logits)
        else:
            assert made(clips).last_hidden_state.equal(stock(clips).last_hidden_state)
    shared = dict(stock.named_parameters())
    for name, parameter in made.named_parameters():
        if "run_length_embeddings" not in name:
            assert parameter.data_ptr() == shared[name].data_ptr(), name
    assert not made.training
    assert kinds[not classifier].from_stock(stock, num_tokens=0.5).config.num_tokens == 0.5
    with pytest.raises(ValueError, match=r"Expected a stock model with the weights of .* missing and"):
        kinds[classifier].from_stock(stock)
