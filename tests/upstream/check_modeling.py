# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""transformers' common model tests, for VideoMAE and V-JEPA 2 (the stock cases) and for RLT's on clips that drop tokens.

Not collected by plain `pytest`: `tests/upstream/run.py` puts the tests of the installed transformers on the path.
"""

import inspect
import unittest
from functools import partialmethod
from typing import ClassVar
from unittest import mock

import torch
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin
from transformers import (
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2Model,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES, MODEL_MAPPING_NAMES
from transformers.testing_utils import torch_device

from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from hf_rlt.models.configuration_rlt_vjepa2 import RLTVJEPA2Config
from hf_rlt.models.modeling_rlt_videomae import RLTVideoMAEPreTrainedModel
from hf_rlt.models.modeling_rlt_vjepa2 import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model
from hf_rlt.models.run_rule import find_runs

# The common tests look class names up in these tables to know which model has a loss and which labels it takes.
for family in ("VideoMAE", "VJEPA2"):
    MODEL_MAPPING_NAMES[f"rlt_{family.lower()}"] = f"RLT{family}Model"
    MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES[f"rlt_{family.lower()}"] = f"RLT{family}ForVideoClassification"

CLIPS, FRAMES, CHANNELS, SIDE, PATCH, TUBELET = 5, 8, 3, 8, 2, 2
THRESHOLD = 0.1
VIDEOMAE_SIZES = {
    "image_size": SIDE,
    "num_channels": CHANNELS,
    "num_frames": FRAMES,
    "intermediate_size": 37,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "decoder_num_hidden_layers": 1,
}
VJEPA2_SIZES = {
    "crop_size": SIDE,
    "in_chans": CHANNELS,
    "frames_per_clip": FRAMES,
    "mlp_ratio": 1.0,
    "attention_probs_dropout_prob": 0.1,
    "attention_dropout": 0.1,
    "num_pooler_layers": 1,
    "pred_hidden_size": 16,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}


def clips_with_runs() -> torch.Tensor:
    """Make `(5, 8, 3, 8, 8)` noise in which places stand still for a while, more of them in each clip."""
    rows = SIDE // PATCH
    tubelets = FRAMES // TUBELET
    noise = torch.rand(CLIPS, FRAMES, CHANNELS, SIDE, SIDE)
    share = torch.linspace(0.4, 1, CLIPS)[:, None, None]
    still = torch.rand(CLIPS, rows, rows) < share
    until = torch.randint(TUBELET, tubelets + 1, (CLIPS, rows, rows)) * TUBELET
    frame = torch.arange(FRAMES)[None, :, None, None]
    frozen = still[:, None] & (frame < until[:, None])
    frozen = frozen.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)[:, :, None]
    return torch.where(frozen, noise[:, :1], noise).to(torch_device)


class ModelTester:
    """What the mixin asks of a model tester: sizes, a small configuration, inputs."""

    is_training = True
    batch_size = CLIPS
    image_size = SIDE
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    seq_length = FRAMES // TUBELET * (SIDE // PATCH) ** 2
    num_masks = seq_length // 2  # stock VideoMAE's base model takes bool_masked_pos

    def __init__(self, config_class: type, settings: dict, input_name: str, give_run_lengths: bool) -> None:
        self.config_class = config_class
        self.settings = settings
        self.input_name = input_name
        self.give_run_lengths = give_run_lengths

    def get_config(self):
        return self.config_class(
            patch_size=PATCH,
            tubelet_size=TUBELET,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            **self.settings,
        )

    def prepare_config_and_inputs_for_common(self):
        pixel_values = clips_with_runs()
        inputs = {self.input_name: pixel_values}
        if self.give_run_lengths:
            inputs["run_lengths"] = find_runs(pixel_values, THRESHOLD, TUBELET, PATCH)
        return self.get_config(), inputs


class CommonTests(ModelTesterMixin):
    """The mixin, and the little that the families' own tests add to it."""

    config_class: ClassVar[type]
    sizes: ClassVar[dict] = VIDEOMAE_SIZES
    settings: ClassVar[dict] = {}
    give_run_lengths = False
    test_resize_embeddings = False

    def setUp(self) -> None:
        settings, name = {**self.sizes, **self.settings}, self.all_model_classes[0].main_input_name
        self.model_tester = ModelTester(self.config_class, settings, name, self.give_run_lengths)
        self.config_tester = ConfigTester(
            self, config_class=self.config_class, has_text_modality=False, hidden_size=36, **self.settings
        )

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    def test_model_get_set_embeddings(self) -> None:
        """The mixin wants a table of words; the families' own tests ask for a module, too."""
        config = self.model_tester.get_config()
        for model_class in self.all_model_classes:
            model = model_class(config)
            assert isinstance(model.get_input_embeddings(), torch.nn.Module)
            assert model.get_output_embeddings() is None

    def test_forward_signature(self) -> None:
        for model_class in self.all_model_classes:
            forward = inspect.signature(model_class(self.model_tester.get_config()).forward)
            assert next(iter(forward.parameters)) == self.model_tester.input_name

    def test_shapes(self) -> None:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        base, head = (model_class(config).to(torch_device).eval() for model_class in self.all_model_classes)
        assert base(**inputs).last_hidden_state.shape == (CLIPS, self.model_tester.seq_length, 32)
        assert head(**inputs).logits.shape == (CLIPS, config.num_labels)


class RLTTests(CommonTests):
    """The model finds the runs."""

    settings: ClassVar[dict] = {"threshold": THRESHOLD}

    def test_clips_really_drop_tokens(self) -> None:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        with torch.no_grad():
            outputs = self.all_model_classes[0](config).to(torch_device)(**inputs)
        kept = (outputs.run_lengths > 0).sum(1)
        assert len(set(kept.tolist())) > 1
        assert int(kept.sum()) < 0.8 * outputs.run_lengths.numel()


class StockVideoMAETest(CommonTests, unittest.TestCase):
    config_class = VideoMAEConfig
    all_model_classes = (VideoMAEModel, VideoMAEForVideoClassification)


class RLTVideoMAETest(RLTTests, unittest.TestCase):
    config_class = RLTVideoMAEConfig
    all_model_classes = (RLTVideoMAEModel, RLTVideoMAEForVideoClassification)

    def test_reverse_loading_mapping(self) -> None:
        """Our `save_pretrained` writes current key names unless told otherwise: tell it, the mapping then shows."""
        original = partialmethod(RLTVideoMAEPreTrainedModel.save_pretrained, save_original_format=True)
        with mock.patch.object(RLTVideoMAEPreTrainedModel, "save_pretrained", original):
            super().test_reverse_loading_mapping()


class RLTVideoMAELengthEmbeddingTest(RLTVideoMAETest):
    """The processor found the runs, and a run's length is embedded."""

    settings: ClassVar[dict] = {"threshold": THRESHOLD, "length_embedding": True}
    give_run_lengths = True


class StockVJEPA2Test(CommonTests, unittest.TestCase):
    config_class = VJEPA2Config
    sizes = VJEPA2_SIZES
    all_model_classes = (VJEPA2Model, VJEPA2ForVideoClassification)


class RLTVJEPA2Test(RLTTests, unittest.TestCase):
    config_class = RLTVJEPA2Config
    sizes = VJEPA2_SIZES
    all_model_classes = (RLTVJEPA2Model, RLTVJEPA2ForVideoClassification)


class RLTVJEPA2ProportionalTest(RLTVJEPA2Test):
    """The processor found the runs, and a run of k tubelets is k keys."""

    settings: ClassVar[dict] = {"threshold": THRESHOLD, "proportional_attention": True}
    give_run_lengths = True
