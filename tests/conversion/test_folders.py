# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""VideoMAE and RLT-VideoMAE folders: what they keep, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel

from helpers.checkpoints import dense_logits, save, save_stock, write_preprocessor
from helpers.tiny import FRAMES, SIDE, TINY, moving_clips, randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel, RLTVideoProcessor
from hf_rlt.conversion import ConversionSettings, convert


@pytest.fixture
def stock_folder(request, tmp_path):
    return tmp_path / "stock", save_stock(tmp_path / "stock", getattr(request, "param", "new"))


@pytest.mark.parametrize("stock_folder", ["old", "new"], indirect=True)
@torch.no_grad()
def test_a_stock_folder_keeps_logits_labels_and_normalisation(tmp_path, stock_folder):
    folder, stock = stock_folder
    done = convert(folder, tmp_path / "out")
    assert torch.equal(dense_logits(tmp_path / "out", moving_clips(2)), stock(moving_clips(2)).logits)
    assert any("bit for bit those of VideoMAEForVideoClassification" in line for line in done.checks)
    assert done.notes == []
    config = RLTVideoMAEConfig.from_pretrained(tmp_path / "out")
    assert config.id2label == {i: f"class {i}" for i in range(5)}
    assert config.threshold == 0.1
    processor = RLTVideoProcessor.from_pretrained(tmp_path / "out")
    assert (list(processor.image_mean), list(processor.image_std)) == ([0.4, 0.5, 0.6], [0.25, 0.3, 0.35])
    assert (processor.num_frames, processor.patch_size, processor.frame_stride) == (FRAMES, 8, 4)


def test_settings_that_change_a_folder(tmp_path, stock_folder):
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    changes = ConversionSettings(
        labels=tmp_path / "names.txt", rule={"threshold": None}, dtype="bfloat16", frame_stride=2
    )
    done = convert(stock_folder[0], tmp_path / "out", changes)
    assert (done.dtype, done.threshold) == ("bfloat16", None)
    model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out")
    assert model.config.id2label == dict(enumerate("abcde"))
    assert model.dtype == torch.bfloat16
    assert RLTVideoProcessor.from_pretrained(tmp_path / "out").frame_stride == 2


@pytest.mark.parametrize("stock_class", [VideoMAEModel, VideoMAEForPreTraining])
@torch.no_grad()
def test_encoders(tmp_path, stock_class):
    stock = randomise(stock_class(VideoMAEConfig(**TINY, use_mean_pooling=False)))
    stock.save_pretrained(tmp_path / "stock")
    write_preprocessor(tmp_path / "stock")
    done = convert(tmp_path / "stock", tmp_path / "out")
    assert done.architecture == "RLTVideoMAEModel"
    assert any("convert with --pooling mean" in note for note in done.notes)
    assert any("pre-training alone" in note for note in done.notes) == (stock_class is VideoMAEForPreTraining)
    model = RLTVideoMAEModel.from_pretrained(tmp_path / "out", threshold=None).eval()
    assert torch.equal(model(moving_clips(2))[0], stock.base_model(moving_clips(2))[0])
    done = convert(tmp_path / "stock", tmp_path / "mean", ConversionSettings(pooling="mean"))
    assert done.config["use_mean_pooling"]
    assert any(note.startswith("Dropped layernorm") for note in done.notes)


@torch.no_grad()
def test_an_rlt_folder_keeps_what_is_its_own(tmp_path):
    folder, size = tmp_path / "rlt", {"height": SIDE, "width": SIDE}
    config = RLTVideoMAEConfig(**TINY, threshold=0.3, length_embedding=True)
    model = randomise(RLTVideoMAEForVideoClassification(config))
    model.save_pretrained(folder)
    RLTVideoProcessor(size=size, crop_size=size, patch_size=8, num_frames=FRAMES).save_pretrained(folder)
    done = convert(folder, tmp_path / "out")
    assert (done.threshold, done.config["length_embedding"]) == (0.3, True)
    again = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(again(moving_clips()).logits, model(moving_clips()).logits)
    assert not any("all zeros" in note for note in done.notes)
    weights = load_file(folder / "model.safetensors")
    del weights["videomae.embeddings.run_length_embeddings.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    done = convert(folder, tmp_path / "zeros", ConversionSettings(rule={"threshold": 0.05}))
    assert done.threshold == 0.05
    assert any("The length embedding is all zeros" in note for note in done.notes)


def test_weights_in_a_pickle_and_no_preprocessor(tmp_path, stock_folder):
    folder, stock = stock_folder
    (folder / "model.safetensors").unlink()
    (folder / "preprocessor_config.json").unlink()
    save(folder / "pytorch_model.bin", stock.state_dict())
    done = convert(folder, tmp_path / "out")
    assert any("No preprocessor_config.json: normalised with ImageNet" in note for note in done.notes)
    assert list(RLTVideoProcessor.from_pretrained(tmp_path / "out").image_mean) == [0.485, 0.456, 0.406]


NAME = "videomae.encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (NAME, None, "missing"),
        ("extra.weight", lambda value: torch.ones(2), "unexpected"),
        (NAME, lambda value: value[:, 1:].contiguous(), "of another shape"),
        (NAME, lambda value: value.fill_(torch.nan), "NaN"),
    ],
)
def test_damaged_weights_are_refused_by_name(tmp_path, stock_folder, name, change, message):
    path = stock_folder[0] / "model.safetensors"
    weights = load_file(path)
    value = weights.pop(name, None)
    save_file(weights | ({name: change(value)} if change else {}), path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{message}.*{name}"):
        convert(stock_folder[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_crop_that_the_model_cannot_take_is_set_and_said(tmp_path, stock_folder):
    folder, _ = stock_folder
    write_preprocessor(folder, crop_size={"height": 224, "width": 224}, size={"shortest_edge": 224})
    (note,) = convert(folder, tmp_path / "out").notes
    assert note == "The processor gives frames of 224x224: set to the model's 32x32, cut from the centre."
    assert RLTVideoProcessor.from_pretrained(tmp_path / "out").crop_size["height"] == SIDE
    write_preprocessor(folder, do_center_crop=False, size={"height": SIDE, "width": SIDE})
    assert convert(folder, tmp_path / "squeezed").notes == []
    assert not RLTVideoProcessor.from_pretrained(tmp_path / "squeezed").do_center_crop
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(OSError, match="preprocessor_config"):
        convert(folder, tmp_path / "broken")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 16}, r"trained with num_frames 8, received 16.*from_pretrained\(OUT, num_frames=16\)"),
        ({"num_attention_heads": 2}, r"num_attention_heads 4, received 2\. Convert it as it is\.$"),
        ({"pooling": "first"}, r"was trained with pooling 'mean'"),
    ],
)
def test_settings_that_contradict_a_folder(tmp_path, stock_folder, changes, message):
    with pytest.raises(ValueError, match=message):
        convert(stock_folder[0], tmp_path / "out", ConversionSettings(**changes))


def test_a_config_of_more_weights_than_the_files_hold_is_refused(tmp_path, stock_folder):
    path = stock_folder[0] / "config.json"
    config = json.loads(path.read_text()) | {"hidden_size": 16_384, "intermediate_size": 65_536}
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"expected weights for the model in its config\.json, 9,\d+,\d+,\d+ numbers"):
        convert(stock_folder[0], tmp_path / "out")


def test_outputs_are_compared_with_the_source(tmp_path, stock_folder, monkeypatch):
    folder, stock = stock_folder
    with torch.no_grad():
        stock.classifier.bias[0] += 1e-5
    monkeypatch.setattr(VideoMAEForVideoClassification, "from_pretrained", lambda *args, **kwargs: stock)
    with pytest.raises(
        ValueError, match=r"nothing was written to .*VideoMAEForVideoClassification, dense differ by up"
    ):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["vit", "tome_videomae"])
def test_models_of_another_type_are_refused(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ValueError, match=rf"expected a .*model.*, found {kind}"):
        convert(tmp_path, tmp_path / "out")


def test_sources_that_are_none(tmp_path):
    for source in (tmp_path / "gone.pth", "gone/too.ckpt", tmp_path, tmp_path / "gone"):
        with pytest.raises((ValueError, OSError), match=r"no such file|found no (such folder|config\.json)"):
            convert(source, tmp_path / "out")
