# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""VideoMAE, VideoMAEv2 and RLT checkpoints in all layouts, converted, against literal references."""

import argparse
import functools
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel

from helpers import reference_layouts as layouts
from helpers.tiny import FRAMES, SIDE, moving_clips, randomise
from helpers.tiny import TINY as HF_TINY
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel, RLTVideoProcessor
from hf_rlt.conversion import ConversionSettings, convert
from hf_rlt.conversion.from_original import build
from hf_rlt.conversion.infer_config import infer_config
from hf_rlt.conversion.key_names import find_layout, plain_names
from hf_rlt.conversion.weight_files import WeightFile

HEADS = layouts.HEADS
CLIP = {"num_frames": FRAMES, "image_size": SIDE}
ASKED = ConversionSettings(num_attention_heads=HEADS, **CLIP)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
ROUNDING = 3e-6  # of float32, on logits of size 1 to 2


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These models are so small that a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings(**changes) -> ConversionSettings:
    return ConversionSettings(**{"num_attention_heads": HEADS, **CLIP, **changes})


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@torch.no_grad()
def dense_logits(folder: Path, clips: torch.Tensor) -> torch.Tensor:
    model, info = RLTVideoMAEForVideoClassification.from_pretrained(folder, threshold=None, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()(clips.to(model.dtype)).logits


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.double() - other.double()).abs().max().item()


def prefixed(prefix: str, weights: dict) -> dict:
    return {prefix + name: value for name, value in weights.items()}


class TestOriginalClassifiers:
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
        done = convert(save(tmp_path / "w.pth", wrap(weights)), tmp_path / "out", ASKED)
        first, second = layouts.videomae_logits, layouts.videomae2_logits
        # fc_norm's eps is 1e-5 in transformers and here (next test); all else is as in the original.
        for definition in (first, second):
            expected = definition(weights, clips, head_eps=1e-5)
            assert expected.abs().max() > 1
            assert difference(dense_logits(tmp_path / "out", clips), expected) < ROUNDING
        assert done.config["use_mean_pooling"] == ("norm" not in changes)
        assert any("key biases" in note for note in done.notes) == (changes.get("biases") == "qkv.bias")
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["model_type"] == "rlt_videomae"
        assert (config["layer_norm_eps"], config["threshold"]) == (1e-6, 0.1)

    def test_what_the_eps_of_fc_norm_costs(self, tmp_path):
        """(logit - constant) shrinks by sqrt((v + 1e-6) / (v + 1e-5)), v = variance of the mean token: here 5e-6 of it."""
        weights, clips = layouts.finetuned(), moving_clips(3)
        convert(save(tmp_path / "w.pth", {"module": weights}), tmp_path / "out", ASKED)
        logits, original = dense_logits(tmp_path / "out", clips).double(), layouts.videomae_logits(weights, clips)
        w = layouts.doubled(weights)
        variance = torch.stack(
            [layouts.blocks(w, layouts.embed(w, c), HEADS, 1e-6).mean(0).var(correction=0) for c in clips.double()]
        )
        constant = w["head.weight"] @ w["fc_norm.bias"] + w["head.bias"]
        shrunk = constant + (original - constant) * ((variance + 1e-6) / (variance + 1e-5)).sqrt()[:, None]
        cost = difference(logits, original)
        assert difference(logits, shrunk) < 1e-6 < cost < 2e-5
        assert torch.equal(logits.argmax(-1), original.argmax(-1))

    def test_a_key_bias_changes_nothing(self, tmp_path):
        weights = layouts.finetuned(biases="qkv.bias")
        width = layouts.TINY["width"]
        without = {k: v.clone() for k, v in weights.items()}
        for name in without:
            if name.endswith("attn.qkv.bias"):
                assert without[name][width : 2 * width].all()
                without[name][width : 2 * width] = 0
        clips = moving_clips(1)
        assert difference(layouts.videomae_logits(weights, clips), layouts.videomae_logits(without, clips)) < 1e-13

    def test_safetensors_and_half_precision(self, tmp_path):
        weights, clips = layouts.finetuned(), moving_clips(2)
        save_file(prefixed("model.", weights), tmp_path / "w.safetensors")
        assert convert(tmp_path / "w.safetensors", tmp_path / "out", ASKED).dtype == "float32"
        expected = layouts.videomae_logits(weights, clips, head_eps=1e-5)
        assert difference(dense_logits(tmp_path / "out", clips), expected) < ROUNDING
        half = {name: value.bfloat16() for name, value in weights.items()}
        path = save(tmp_path / "half.pth", {"model": half})
        assert convert(path, tmp_path / "half", ASKED).dtype == "bfloat16"
        assert dense_logits(tmp_path / "half", clips).dtype == torch.bfloat16
        assert convert(path, tmp_path / "wide", settings(dtype="float32")).dtype == "float32"
        expected = layouts.videomae_logits(half, clips, head_eps=1e-5)
        assert difference(dense_logits(tmp_path / "wide", clips), expected) < ROUNDING

    @pytest.mark.parametrize("size", ["S", "B", "L", "H", "g"])
    def test_the_published_sizes_are_told_by_shapes(self, size):
        width, depth, heads, hidden, patch = {
            "S": (384, 12, 6, 1536, 16),
            "B": (768, 12, 12, 3072, 16),
            "L": (1024, 24, 16, 4096, 16),
            "H": (1280, 32, 16, 5120, 16),
            "g": (1408, 40, 16, 6144, 14),
        }[size]
        named_shapes = layouts.shapes(width, depth, hidden, patch, 2, 710)
        weights = {name: torch.empty(shape, device="meta") for name, shape in named_shapes.items()}
        named = plain_names(Path("w.pth"), weights)
        layout = find_layout(Path("w.pth"), named)
        config, notes = infer_config(WeightFile(Path("w.pth"), weights), named, layout, ConversionSettings())
        model, dropped = build(Path("w.pth"), layout, named, config)
        assert dropped == []
        stock = {
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": hidden,
            "patch_size": patch,
            "num_frames": 16,
            "image_size": 224,
            "num_labels": 710,
        }
        assert {name: getattr(config, name) for name in stock} == stock
        assert "num_frames 16 and image_size 224" in " ".join(notes)
        with torch.device("meta"):
            one_token = {"num_frames": 2, "image_size": patch}  # transformers makes its position table number by number
            expected = VideoMAEForVideoClassification(VideoMAEConfig(**{**stock, **one_token})).state_dict()
        found = model.state_dict()
        assert {name: value.shape for name, value in found.items()} == {n: v.shape for n, v in expected.items()}

    def test_the_training_arguments_in_a_file_are_used(self, tmp_path):
        weights = layouts.finetuned()
        args = argparse.Namespace(
            num_frames=FRAMES, num_segments=1, input_size=SIDE, sampling_rate=3, data_set="UCF101"
        )
        path = save(tmp_path / "w.pth", {"model": weights, "args": args, "model_ema": weights})
        done = convert(path, tmp_path / "out", ConversionSettings(num_attention_heads=HEADS))
        assert (done.config["num_frames"], done.config["image_size"]) == (FRAMES, SIDE)
        assert not any("Assumed" in note for note in done.notes)
        assert any("model_ema" in note for note in done.notes)
        processor = RLTVideoProcessor.from_pretrained(tmp_path / "out")
        assert (processor.frame_stride, processor.sampling) == (3, "clip")
        args.data_set = "SSV2"
        save(path, {"model": weights, "args": args})
        convert(path, tmp_path / "ssv2", settings())
        assert RLTVideoProcessor.from_pretrained(tmp_path / "ssv2").sampling == "uniform"
        with pytest.raises(ValueError, match="was trained with num_frames 8, received 16"):
            convert(path, tmp_path / "other", settings(num_frames=16))

    def test_the_processor_agrees_with_the_model_and_normalises_as_the_originals(self, tmp_path):
        path = save(tmp_path / "w.pth", {"module": layouts.finetuned()})
        convert(path, tmp_path / "out", settings(threshold=0.25, frame_stride=2, sampling="uniform"))
        processor = RLTVideoProcessor.from_pretrained(tmp_path / "out")
        assert (list(processor.image_mean), list(processor.image_std)) == IMAGENET
        assert (processor.num_frames, processor.patch_size, processor.tubelet_size) == (FRAMES, 8, 2)
        assert (processor.crop_size["height"], processor.crop_size["width"]) == (SIDE, SIDE)
        assert (processor.threshold, processor.frame_stride, processor.sampling) == (0.25, 2, "uniform")
        config = RLTVideoMAEConfig.from_pretrained(tmp_path / "out")
        assert (config.threshold, config.num_frames, config.image_size) == (0.25, FRAMES, SIDE)
        convert(path, tmp_path / "dense", settings(threshold=None))
        assert RLTVideoMAEConfig.from_pretrained(tmp_path / "dense").threshold is None
        assert RLTVideoProcessor.from_pretrained(tmp_path / "dense").threshold is None


class TestPositions:
    def test_a_stored_sinusoid_table_is_accepted(self, tmp_path):
        weights = layouts.finetuned()
        table = layouts.sinusoids(layouts.SLOTS * layouts.CELLS, layouts.TINY["width"]).float()[None]
        path = save(tmp_path / "w.pth", {"model": {**weights, "pos_embed": table}})
        done = convert(path, tmp_path / "out", settings(num_frames=None))
        assert done.config["num_frames"] == FRAMES
        expected = layouts.videomae_logits(weights, moving_clips(1), head_eps=1e-5)
        assert difference(dense_logits(tmp_path / "out", moving_clips(1)), expected) < ROUNDING

    @pytest.mark.parametrize(
        ("change", "message"),
        [(lambda t: t + 1e-4, "its positions were learned"), (lambda t: t[:, 1:], "expected pos_embed of shape")],
    )
    def test_other_positions_are_refused(self, tmp_path, change, message):
        table = layouts.sinusoids(layouts.SLOTS * layouts.CELLS, layouts.TINY["width"]).float()[None]
        path = save(tmp_path / "w.pth", {"model": {**layouts.finetuned(), "pos_embed": change(table)}})
        with pytest.raises(ValueError, match=message):
            convert(path, tmp_path / "out", settings(num_frames=None))


class TestLightning:
    def checkpoint(self, weights, **more) -> dict:
        state = prefixed("model.", weights)
        return {"epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.1.0", "state_dict": state, **more}

    @torch.no_grad()
    def test_logits_with_rlt_are_those_of_the_definition(self, tmp_path):
        weights, clips = layouts.finetuned(), moving_clips(4)
        done = convert(save(tmp_path / "w.ckpt", self.checkpoint(weights)), tmp_path / "out", ASKED)
        assert done.config["layer_norm_eps"] == 1e-5
        assert "Lightning" in done.kind
        # fc_norm has 1e-5 in the authors' model too: equal without a remainder, with and without dropping.
        assert difference(dense_logits(tmp_path / "out", clips), layouts.rlt_logits(weights, clips, -1)) < ROUNDING
        model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out").eval()
        assert difference(model(clips).logits, layouts.rlt_logits(weights, clips, 0.1)) < ROUNDING

    @torch.no_grad()
    def test_a_length_embedding_reaches_its_own_tokens(self, tmp_path):
        table = layouts.random_weights({"length_embed": (1, layouts.SLOTS, layouts.TINY["width"])}, seed=9)
        weights, clips = {**layouts.finetuned(), **table}, moving_clips(4)
        path = save(tmp_path / "w.ckpt", self.checkpoint(weights))
        done = convert(path, tmp_path / "out", settings(num_frames=None))
        assert done.config["length_embedding"]
        assert done.config["num_frames"] == FRAMES
        assert any("may not carry over" in note for note in done.notes)
        dense = dense_logits(tmp_path / "out", clips)
        assert difference(dense, layouts.rlt_logits(weights, clips, -1)) < ROUNDING
        assert difference(dense, layouts.rlt_logits(weights, clips, -1, lengths_as_authors=True)) < ROUNDING
        logits = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out").eval()(clips).logits
        assert difference(logits, layouts.rlt_logits(weights, clips, 0.1)) < ROUNDING
        # The caveat is real: with the authors' order of lengths their model computes something else.
        assert difference(logits, layouts.rlt_logits(weights, clips, 0.1, lengths_as_authors=True)) > 1e-2

    def test_the_authors_training_settings_are_passed_over_unread(self, tmp_path, monkeypatch):
        class TokenizerConfig:
            def __setstate__(self, state):
                raise AssertionError("the code that a file names was run")

        class ListConfig:
            pass

        for name, cls in {"src.models.tokenizer_utils": TokenizerConfig, "omegaconf.listconfig": ListConfig}.items():
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                parent = ".".join(parts[:end])
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
            cls.__module__, cls.__qualname__ = name, cls.__name__
            setattr(sys.modules[name], cls.__name__, cls)
        chosen = TokenizerConfig()
        chosen.drop_param = 0.1
        optimizer = functools.partial(torch.optim.AdamW, lr=1, weight_decay=0.05)
        settings_of_training = {
            "optimizer": optimizer,
            "tokenizer_cfg": chosen,
            "betas": ListConfig(),
            "lr": np.float64(1),
        }
        for zipped in (True, False):
            content = self.checkpoint(layouts.finetuned(), hyper_parameters=settings_of_training)
            torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
            done = convert(tmp_path / "w.ckpt", tmp_path / f"out {zipped}", ASKED)
            assert any(note.startswith("Training settings in the file were passed over, unread") for note in done.notes)

    def test_other_classes_are_refused_by_name_with_the_remedy(self, tmp_path):
        path = save(tmp_path / "w.ckpt", self.checkpoint(layouts.finetuned(), hyper_parameters=[Guest(), Stranger()]))
        named = r"objects of test_conversion\.Guest, test_conversion\.Stranger, which.*keep its weights alone"
        with pytest.raises(ValueError, match=named):
            convert(path, tmp_path / "out", ASKED)
        # The remedy that the message gives works as written.
        remedied = {"state_dict": torch.load(path, weights_only=False)["state_dict"]}
        assert "Lightning" in convert(save(tmp_path / "n.ckpt", remedied), tmp_path / "out", ASKED).kind


class Guest:
    """A class that a checkpoint may name."""


class Stranger(Guest):
    """Another one."""


class TestPretrained:
    @torch.no_grad()
    def test_the_encoder_is_kept_and_the_rest_is_named(self, tmp_path):
        weights, clips = layouts.pretrained(), moving_clips(2)
        path = save(tmp_path / "w.pth", {"model": weights, "epoch": 799})
        done = convert(path, tmp_path / "out", settings(pooling="first", threshold=None))
        assert (done.architecture, done.num_labels) == ("RLTVideoMAEModel", None)
        dropped = [name for name in weights if not name.startswith("encoder.")]
        assert any(f"Dropped {len(dropped)} weights of pre-training alone: decoder." in note for note in done.notes)
        model = RLTVideoMAEModel.from_pretrained(tmp_path / "out").eval()
        assert difference(model(clips).last_hidden_state, layouts.encoder_tokens(weights, clips)) < 1e-5

    @torch.no_grad()
    def test_by_default_it_is_fine_tuned_as_videomae_does(self, tmp_path):
        weights, clips = layouts.pretrained(), moving_clips(2)
        done = convert(save(tmp_path / "w.pth", {"module": prefixed("module.", weights)}), tmp_path / "out", ASKED)
        assert done.config["use_mean_pooling"]
        assert any(note.startswith("Dropped norm.bias, norm.weight") for note in done.notes)
        loaded = RLTVideoMAEForVideoClassification.from_pretrained(
            tmp_path / "out", num_labels=5, threshold=None, output_loading_info=True
        )
        model, info = loaded[0].eval(), loaded[1]
        assert {name.split(".")[0] for name in info["missing_keys"]} == {"fc_norm", "classifier"}
        assert not info["unexpected_keys"]
        w = layouts.doubled({name.removeprefix("encoder."): value for name, value in weights.items()})
        encoder = {name: value for name, value in w.items() if "decoder" not in name}
        mean = torch.stack(
            [layouts.blocks(encoder, layouts.embed(encoder, c), HEADS, 1e-6).mean(0) for c in clips.double()]
        )
        assert difference(model.videomae(clips).pooler_output, mean) < 1e-5

    def test_an_encoder_without_a_head_is_one_to_fine_tune(self, tmp_path):
        weights = {name: value for name, value in layouts.finetuned().items() if not name.startswith("head")}
        done = convert(save(tmp_path / "w.pth", weights), tmp_path / "out", ASKED)
        assert done.kind.endswith("encoder without a head")
        assert any(note.startswith("Dropped fc_norm.bias, fc_norm.weight") for note in done.notes)


def save_stock(folder: Path, layout: str = "new") -> VideoMAEForVideoClassification:
    """Writes a VideoMAE classifier with names and a normalisation of its own, its keys in the old or new layout."""
    labels = {"id2label": {i: f"class {i}" for i in range(5)}, "label2id": {f"class {i}": i for i in range(5)}}
    config = VideoMAEConfig(**{k: v for k, v in HF_TINY.items() if k != "num_labels"}, **labels)
    stock = randomise(VideoMAEForVideoClassification(config))
    stock.save_pretrained(folder, save_original_format=layout == "old")
    assert any(name.endswith("q_bias") for name in load_file(folder / "model.safetensors")) == (layout == "old")
    write_preprocessor(folder)
    return stock


@pytest.fixture(params=["old", "new"])
def stock_folder(request, tmp_path):
    return tmp_path / "stock", save_stock(tmp_path / "stock", request.param)


def write_preprocessor(folder: Path) -> None:
    content = {
        "image_processor_type": "VideoMAEImageProcessor",
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.25, 0.3, 0.35],
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_center_crop": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


class TestFolders:
    @torch.no_grad()
    def test_a_stock_folder_keeps_logits_labels_and_normalisation(self, tmp_path, stock_folder):
        folder, stock = stock_folder
        done = convert(folder, tmp_path / "out")
        assert torch.equal(dense_logits(tmp_path / "out", moving_clips(2)), stock(moving_clips(2)).logits)
        assert any("bit for bit those of VideoMAEForVideoClassification" in line for line in done.checks)
        assert done.notes == []
        model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out")
        assert model.config.id2label == {i: f"class {i}" for i in range(5)}
        assert model.config.threshold == 0.1
        processor = RLTVideoProcessor.from_pretrained(tmp_path / "out")
        assert (list(processor.image_mean), list(processor.image_std)) == ([0.4, 0.5, 0.6], [0.25, 0.3, 0.35])
        assert (processor.num_frames, processor.patch_size, processor.frame_stride) == (FRAMES, 8, 4)

    def test_settings_that_change_a_folder(self, tmp_path, stock_folder):
        folder, _ = stock_folder
        (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
        changes = ConversionSettings(labels=tmp_path / "names.txt", threshold=None, dtype="bfloat16", frame_stride=2)
        done = convert(folder, tmp_path / "out", changes)
        assert (done.dtype, done.threshold) == ("bfloat16", None)
        model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out")
        assert model.config.id2label == dict(enumerate("abcde"))
        assert model.dtype == torch.bfloat16
        assert RLTVideoProcessor.from_pretrained(tmp_path / "out").frame_stride == 2

    @pytest.mark.parametrize("backend", ["base", "pre-training"])
    @torch.no_grad()
    def test_encoders(self, tmp_path, backend):
        stock_class = VideoMAEModel if backend == "base" else VideoMAEForPreTraining
        stock = randomise(stock_class(VideoMAEConfig(**HF_TINY, use_mean_pooling=False)))
        stock.save_pretrained(tmp_path / "stock")
        write_preprocessor(tmp_path / "stock")
        done = convert(tmp_path / "stock", tmp_path / "out")
        assert done.architecture == "RLTVideoMAEModel"
        assert any("convert with --pooling mean" in note for note in done.notes)
        assert any("pre-training alone" in note for note in done.notes) == (backend == "pre-training")
        encoder = stock if backend == "base" else stock.videomae
        clips = moving_clips(2)
        model = RLTVideoMAEModel.from_pretrained(tmp_path / "out", threshold=None).eval()
        assert torch.equal(model(clips)[0], encoder(clips)[0])
        done = convert(tmp_path / "stock", tmp_path / "mean", ConversionSettings(pooling="mean"))
        assert done.config["use_mean_pooling"]
        assert any(note.startswith("Dropped layernorm") for note in done.notes)

    @torch.no_grad()
    def test_an_rlt_folder_keeps_what_is_its_own(self, tmp_path):
        config = RLTVideoMAEConfig(**HF_TINY, threshold=0.3, length_embedding=True)
        model = randomise(RLTVideoMAEForVideoClassification(config))
        model.save_pretrained(tmp_path / "rlt")
        size = {"height": SIDE, "width": SIDE}
        RLTVideoProcessor(size=size, crop_size=size, patch_size=8, num_frames=FRAMES).save_pretrained(tmp_path / "rlt")
        done = convert(tmp_path / "rlt", tmp_path / "out")
        assert (done.threshold, done.config["length_embedding"]) == (0.3, True)
        again = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out").eval()
        assert torch.equal(again(moving_clips()).logits, model(moving_clips()).logits)
        assert convert(tmp_path / "rlt", tmp_path / "other", ConversionSettings(threshold=0.05)).threshold == 0.05
        assert not any("all zeros" in note for note in done.notes)
        weights = load_file(tmp_path / "rlt" / "model.safetensors")
        del weights["videomae.embeddings.run_length_embeddings.weight"]
        save_file(weights, tmp_path / "rlt" / "model.safetensors", metadata={"format": "pt"})
        done = convert(tmp_path / "rlt", tmp_path / "zeros")
        assert any("The length embedding is all zeros" in note for note in done.notes)

    def test_weights_in_a_pickle_and_no_preprocessor(self, tmp_path, stock_folder):
        folder, stock = stock_folder
        (folder / "model.safetensors").unlink()
        (folder / "preprocessor_config.json").unlink()
        torch.save(stock.state_dict(), folder / "pytorch_model.bin")
        done = convert(folder, tmp_path / "out")
        assert any("No preprocessor_config.json: normalised with ImageNet" in note for note in done.notes)
        assert list(RLTVideoProcessor.from_pretrained(tmp_path / "out").image_mean) == IMAGENET[0]

    @pytest.mark.parametrize("damage", ["missing", "unexpected", "of another shape", "NaN"])
    def test_damaged_weights_are_refused_by_name(self, tmp_path, stock_folder, damage):
        folder, _ = stock_folder
        weights = load_file(folder / "model.safetensors")
        name = "videomae.encoder.layer.1.output.dense.weight"
        if damage == "missing":
            del weights[name]
        elif damage == "unexpected":
            name = "extra.weight"
            weights[name] = torch.ones(2)
        elif damage == "NaN":
            weights[name][0, 0] = torch.nan
        else:
            weights[name] = weights[name][:, 1:].contiguous()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=rf"{damage}.*{name}"):
            convert(folder, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_crop_that_the_model_cannot_take_is_set_and_said(self, tmp_path, stock_folder):
        folder, _ = stock_folder
        content = json.loads((folder / "preprocessor_config.json").read_text())
        content |= {"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 224}}
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
        done = convert(folder, tmp_path / "out")
        (note,) = done.notes
        assert note == "The processor gives frames of 224x224: set to the model's 32x32, cut from the centre."
        assert RLTVideoProcessor.from_pretrained(tmp_path / "out").crop_size["height"] == SIDE
        content |= {"do_center_crop": False, "size": {"height": SIDE, "width": SIDE}}
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
        assert convert(folder, tmp_path / "squeezed").notes == []
        assert not RLTVideoProcessor.from_pretrained(tmp_path / "squeezed").do_center_crop
        (folder / "preprocessor_config.json").write_text("{")
        with pytest.raises(OSError, match="preprocessor_config"):
            convert(folder, tmp_path / "broken")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_frames": 16}, r"config\.json says num_frames 8, received 16.*from_pretrained\(OUT, num_frames=16\)"),
            ({"image_size": 64}, r"says image_size 32, received 64"),
            ({"num_attention_heads": 2}, r"says num_attention_heads 4, received 2"),
            ({"pooling": "first"}, r"was trained with pooling 'mean'"),
        ],
    )
    def test_settings_that_contradict_a_folder(self, tmp_path, stock_folder, changes, message):
        with pytest.raises(ValueError, match=message):
            convert(stock_folder[0], tmp_path / "out", ConversionSettings(**changes))
