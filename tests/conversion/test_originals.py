# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Original VideoMAE, VideoMAEv2 and RLT checkpoints in all layouts, against literal references."""

import argparse
import functools
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from helpers import reference_layouts as layouts
from helpers.checkpoints import ROUNDING, convert_original, dense_logits, difference, prefixed, save, settings
from helpers.tiny import FRAMES, SIDE, moving_clips
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel, RLTVideoProcessor
from hf_rlt.conversion import ConversionSettings, convert
from hf_rlt.conversion.from_original import build
from hf_rlt.conversion.infer_config import infer_config
from hf_rlt.conversion.key_names import NamedWeights
from hf_rlt.conversion.layouts import plain_names

WEIGHTS = layouts.finetuned()


class TestClassifiers:
    @pytest.mark.parametrize(
        ("wrap", "changes"),
        [
            (lambda w: {"module": w}, {}),
            (lambda w: {"model": w, "optimizer": {"step": torch.ones(3)}, "epoch": 7}, {}),
            (lambda w: w, {}),
            (lambda w: {"module": prefixed("backbone.", w)}, {}),
            (lambda w: {"model": prefixed("encoder.", w)}, {}),
            (lambda w: {"model": prefixed("module._orig_mod.", w)}, {}),
            (lambda w: {"model": w}, {"norm": "norm"}),
            (lambda w: {"model": w}, {"biases": "none"}),
            (lambda w: {"model": w}, {"biases": "qkv.bias"}),
        ],
        ids=["module", "model", "bare", "backbone", "encoder", "compiled", "first token", "no bias", "key bias"],
    )
    def test_logits_are_those_of_the_definition(self, tmp_path, wrap, changes):
        weights, clips = layouts.finetuned(**changes), moving_clips(2)
        done = convert_original(wrap(weights), tmp_path / "out")
        # fc_norm's eps is 1e-5 in transformers and here (next test); all else is as in the original.
        for version in (1, 2):
            expected = layouts.videomae_logits(weights, clips, head_eps=1e-5, version=version)
            assert expected.abs().max() > 1
            assert difference(dense_logits(tmp_path / "out", clips), expected) < ROUNDING
        assert done.config["use_mean_pooling"] == ("norm" not in changes)
        assert any("key biases" in note for note in done.notes) == (changes.get("biases") == "qkv.bias")
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["model_type"] == "rlt_videomae"
        assert (config["layer_norm_eps"], config["threshold"]) == (1e-6, 0.1)

    def test_what_the_eps_of_fc_norm_costs(self, tmp_path):
        """(logit - constant) shrinks by sqrt((v + 1e-6) / (v + 1e-5)), v = variance of the mean token: here 5e-6 of it."""
        clips, w = moving_clips(3), layouts.doubled(WEIGHTS)
        convert_original({"module": WEIGHTS}, tmp_path / "out")
        logits, original = dense_logits(tmp_path / "out", clips).double(), layouts.videomae_logits(WEIGHTS, clips)
        means = [layouts.blocks(w, layouts.embed(w, clip), layouts.HEADS, 1e-6).mean(0) for clip in clips.double()]
        variance = torch.stack(means).var(-1, correction=0)
        constant = w["head.weight"] @ w["fc_norm.bias"] + w["head.bias"]
        shrunk = constant + (original - constant) * ((variance + 1e-6) / (variance + 1e-5)).sqrt()[:, None]
        assert difference(logits, shrunk) < 1e-6 < difference(logits, original) < 2e-5
        assert torch.equal(logits.argmax(-1), original.argmax(-1))

    def test_safetensors_and_half_precision(self, tmp_path):
        clips = moving_clips(2)
        save_file(prefixed("model.", WEIGHTS), tmp_path / "w.safetensors")
        assert convert(tmp_path / "w.safetensors", tmp_path / "out", settings()).dtype == "float32"
        expected = layouts.videomae_logits(WEIGHTS, clips, head_eps=1e-5)
        assert difference(dense_logits(tmp_path / "out", clips), expected) < ROUNDING
        half = {name: value.bfloat16() for name, value in WEIGHTS.items()}
        assert convert_original({"model": half}, tmp_path / "half").dtype == "bfloat16"
        assert dense_logits(tmp_path / "half", clips).dtype == torch.bfloat16
        assert convert_original({"model": half}, tmp_path / "wide", dtype="float32").dtype == "float32"
        expected = layouts.videomae_logits(half, clips, head_eps=1e-5)
        assert difference(dense_logits(tmp_path / "wide", clips), expected) < ROUNDING

    @pytest.mark.parametrize(
        ("width", "depth", "heads", "hidden", "patch"),
        [(384, 12, 6, 1536, 16), (1280, 32, 16, 5120, 16), (1408, 40, 16, 6144, 14)],
        ids=["S", "H", "g"],
    )
    def test_the_published_sizes_are_told_by_shapes(self, width, depth, heads, hidden, patch):
        shapes = layouts.shapes(width, depth, hidden, patch, 2, 710)
        weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        named = plain_names(NamedWeights(Path("w.pth"), weights))
        config, notes = infer_config(named, ConversionSettings())
        assert "num_frames 16 and image_size 224" in " ".join(notes)
        stock = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads, "num_labels": 710}
        stock |= {"intermediate_size": hidden, "patch_size": patch, "num_frames": 16, "image_size": 224}
        assert {name: getattr(config, name) for name in stock} == stock
        with torch.device("meta"):
            one_token = {"num_frames": 2, "image_size": patch}  # transformers makes its position table number by number
            expected = VideoMAEForVideoClassification(VideoMAEConfig(**{**stock, **one_token})).state_dict()
        model, dropped = build(named, config)
        assert dropped == []
        assert {n: v.shape for n, v in model.state_dict().items()} == {n: v.shape for n, v in expected.items()}

    def test_the_training_arguments_in_a_file_are_used(self, tmp_path):
        arguments = {"num_frames": FRAMES, "num_segments": 1, "input_size": SIDE, "sampling_rate": 3}
        content = {"model": WEIGHTS, "args": argparse.Namespace(**arguments), "model_ema": WEIGHTS}
        done = convert_original(content, tmp_path / "out", num_frames=None, image_size=None)
        assert (done.config["num_frames"], done.config["image_size"]) == (FRAMES, SIDE)
        assert not any("Assumed" in note for note in done.notes)
        assert any("model_ema" in note for note in done.notes)
        processor = RLTVideoProcessor.from_pretrained(tmp_path / "out")
        assert (processor.frame_stride, processor.sampling) == (3, "clip")
        content["args"].data_set = "SSV2"
        convert_original(content, tmp_path / "ssv2")
        assert RLTVideoProcessor.from_pretrained(tmp_path / "ssv2").sampling == "uniform"
        with pytest.raises(ValueError, match="was trained with num_frames 8, received 16"):
            convert_original(content, tmp_path / "other", num_frames=16)
        content["args"] = argparse.Namespace(num_frames=10**12, input_size=10**12)  # that no training had
        assert convert_original(content, tmp_path / "huge").config["num_frames"] == FRAMES

    @pytest.mark.parametrize("threshold", [0.25, None])
    def test_the_processor_agrees_with_the_model_and_normalises_as_the_originals(self, tmp_path, threshold):
        changes = {"frame_stride": 2, "sampling": "uniform"}
        convert_original({"module": WEIGHTS}, tmp_path / "out", rule={"threshold": threshold}, **changes)
        processor = RLTVideoProcessor.from_pretrained(tmp_path / "out")
        config = RLTVideoMAEConfig.from_pretrained(tmp_path / "out")
        assert (list(processor.image_mean), list(processor.image_std)) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        assert processor.num_frames == config.num_frames == FRAMES
        assert processor.crop_size["height"] == processor.crop_size["width"] == config.image_size == SIDE
        assert processor.run_rule == config.run_rule
        assert processor.threshold == threshold
        assert {name: getattr(processor, name) for name in changes} == changes

    def test_positions_are_accepted_if_they_are_the_fixed_table(self, tmp_path):
        table = layouts.sinusoids(layouts.SLOTS * layouts.CELLS, layouts.TINY["width"]).float()[None]
        done = convert_original({**WEIGHTS, "pos_embed": table}, tmp_path / "out", num_frames=None)
        assert done.config["num_frames"] == FRAMES
        for other, message in ((table + 1e-4, "positions were learned"), (table[:, 1:], "expected pos_embed of shape")):
            with pytest.raises(ValueError, match=message):
                convert_original({**WEIGHTS, "pos_embed": other}, tmp_path / "no", num_frames=None)


class Guest:
    """A class that a checkpoint may name."""


class TestLightning:
    def checkpoint(self, weights, **more) -> dict:
        return {"epoch": 3, "pytorch-lightning_version": "2.1.0", "state_dict": prefixed("model.", weights), **more}

    @pytest.mark.parametrize("embedding", [False, True])
    @torch.no_grad()
    def test_logits_with_rlt_are_those_of_the_definition(self, tmp_path, embedding):
        table = layouts.random_weights({"length_embed": (1, layouts.SLOTS, layouts.TINY["width"])}, seed=9)
        weights, clips = {**WEIGHTS, **(table if embedding else {})}, moving_clips(4)
        done = convert_original(self.checkpoint(weights), tmp_path / "out", num_frames=None if embedding else FRAMES)
        assert (done.config["layer_norm_eps"], done.config["num_frames"]) == (1e-5, FRAMES)
        assert "Lightning" in done.kind
        assert any("may not carry over" in note for note in done.notes) == embedding == done.config["length_embedding"]
        # fc_norm has 1e-5 in the authors' model too: equal without a remainder, with and without dropping.
        assert difference(dense_logits(tmp_path / "out", clips), layouts.rlt_logits(weights, clips, -1)) < ROUNDING
        logits = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out").eval()(clips).logits
        assert difference(logits, layouts.rlt_logits(weights, clips, 0.1)) < ROUNDING
        if embedding:  # The caveat is real: with the authors' order of lengths their model computes something else.
            assert difference(logits, layouts.rlt_logits(weights, clips, 0.1, lengths_as_authors=True)) > 3e-3

    @pytest.mark.parametrize("zipped", [True, False])
    def test_the_authors_training_settings_are_passed_over_unread(self, tmp_path, monkeypatch, zipped):
        kinds = {}
        for name in ("src.models.tokenizer_utils.TokenizerConfig", "omegaconf.listconfig.ListConfig"):
            module, _, kind = name.rpartition(".")
            for end in range(1, module.count(".") + 2):
                parent = ".".join(module.split(".")[:end])
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
            fail = {"__setstate__": lambda self, state: pytest.fail("the code that a file names was run")}
            kinds[kind] = type(kind, (), {"__module__": module, **fail})
            setattr(sys.modules[module], kind, kinds[kind])
        chosen = kinds["TokenizerConfig"]()
        chosen.drop_param = 0.1
        optimizer = functools.partial(torch.optim.AdamW, lr=1, weight_decay=0.05)
        found = {"optimizer": optimizer, "tokenizer": chosen, "betas": kinds["ListConfig"](), "lr": np.float64(1)}
        content = self.checkpoint(WEIGHTS, hyper_parameters=found)
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
        done = convert(tmp_path / "w.ckpt", tmp_path / "out", settings())
        assert any(note.startswith("Training settings in the file were passed over, unread") for note in done.notes)

    def test_other_classes_are_refused_by_name_with_the_remedy(self, tmp_path):
        path = save(tmp_path / "w.ckpt", self.checkpoint(WEIGHTS, hyper_parameters=[Guest()]))
        with pytest.raises(ValueError, match=r"objects of test_originals\.Guest, which.*keep its weights alone"):
            convert(path, tmp_path / "out", settings())
        # The remedy that the message gives works as written.
        remedied = {"state_dict": torch.load(path, weights_only=False)["state_dict"]}
        assert "Lightning" in convert_original(remedied, tmp_path / "out").kind


class TestPretrained:
    weights = layouts.pretrained()

    @torch.no_grad()
    def test_the_encoder_is_kept_and_the_rest_is_named(self, tmp_path):
        clips = moving_clips(2)
        content = {"model": self.weights, "epoch": 799}
        done = convert_original(content, tmp_path / "out", pooling="first", rule={"threshold": None})
        assert (done.architecture, done.num_labels) == ("RLTVideoMAEModel", None)
        dropped = [name for name in self.weights if not name.startswith("encoder.")]
        assert any(f"Dropped {len(dropped)} weights of pre-training alone: decoder." in note for note in done.notes)
        model = RLTVideoMAEModel.from_pretrained(tmp_path / "out").eval()
        assert difference(model(clips).last_hidden_state, layouts.encoder_tokens(self.weights, clips)) < 1e-5

    @torch.no_grad()
    def test_by_default_it_is_fine_tuned_as_videomae_does(self, tmp_path):
        clips = moving_clips(2)
        done = convert_original({"module": prefixed("module.", self.weights)}, tmp_path / "out")
        assert done.config["use_mean_pooling"]
        assert any(note.startswith("Dropped norm.bias, norm.weight") for note in done.notes)
        model, info = RLTVideoMAEForVideoClassification.from_pretrained(
            tmp_path / "out", num_labels=5, threshold=None, output_loading_info=True
        )
        assert {name.split(".")[0] for name in info["missing_keys"]} == {"fc_norm", "classifier"}
        assert not info["unexpected_keys"]
        w = {name: value for name, value in layouts.doubled(self.weights).items() if "decoder" not in name}
        w = {name.removeprefix("encoder."): value for name, value in w.items()}
        means = [layouts.blocks(w, layouts.embed(w, clip), layouts.HEADS, 1e-6).mean(0) for clip in clips.double()]
        assert difference(model.eval().videomae(clips).pooler_output, torch.stack(means)) < 1e-5

    def test_an_encoder_without_a_head_is_one_to_fine_tune(self, tmp_path):
        weights = {name: value for name, value in WEIGHTS.items() if not name.startswith("head")}
        done = convert_original(weights, tmp_path / "out")
        assert done.kind.endswith("encoder without a head")
        assert any(note.startswith("Dropped fc_norm.bias, fc_norm.weight") for note in done.notes)
