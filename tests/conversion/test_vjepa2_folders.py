# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2 folders, as those on the Hub are laid out: opened as they are, converted, and classified with by the pipeline."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoVideoProcessor, VJEPA2Model, VJEPA2VideoProcessor, pipeline

from helpers.checkpoints import save_stock_vjepa2
from helpers.tiny import FRAMES, SIDE, moving_clips
from helpers.videos import ramp, write_video
from hf_rlt import RLTVJEPA2Config, RLTVJEPA2ForVideoClassification, RLTVJEPA2Model, RLTVJEPA2VideoProcessor
from hf_rlt.conversion import ConversionSettings, checks, convert
from hf_rlt.inference.loading import load

DENSE = ConversionSettings(rule={"threshold": None})


@pytest.fixture
def stock(tmp_path):
    return tmp_path / "stock", save_stock_vjepa2(tmp_path / "stock")


@torch.no_grad()
def test_opened_loaded_and_converted_its_logits_are_the_stock_models(tmp_path, stock):
    folder, model = stock
    clips = moving_clips(2)
    expected = model(clips).logits
    done = convert(folder, tmp_path / "out")
    assert (done.kind, done.architecture) == ("V-JEPA 2 classifier", "RLTVJEPA2ForVideoClassification")
    assert done.notes == []
    assert any("bit for bit those of VJEPA2ForVideoClassification" in line for line in done.checks)
    for name in (folder, tmp_path / "out"):
        opened = RLTVJEPA2ForVideoClassification.from_pretrained(name, threshold=None).eval()
        loaded, _ = load(str(name), threshold=None)
        assert torch.equal(opened(clips).logits, expected)
        assert torch.equal(loaded.eval()(pixel_values_videos=clips).logits, expected)
    again = convert(tmp_path / "out", tmp_path / "again")
    assert again.kind == "RLT-V-JEPA 2 classifier"
    config = RLTVJEPA2Config.from_pretrained(tmp_path / "again")
    assert config.id2label == {i: f"class {i}" for i in range(5)}
    assert (config.threshold, config.frames_per_clip, config.crop_size) == (0.1, FRAMES, SIDE)


@pytest.mark.parametrize("nulls", [False, True], ids=["current", "with nulls"])
def test_pixels_are_those_of_the_stock_processor(tmp_path, stock, nulls):
    folder, _ = stock
    if nulls:  # written by older versions of transformers
        path = folder / "video_preprocessor_config.json"
        fields = ("num_frames", "fps", "do_convert_rgb", "do_sample_frames", "data_format", "device", "video_metadata")
        path.write_text(json.dumps({**json.loads(path.read_text()), **dict.fromkeys(fields)}))
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, 50, 70, 3), dtype=np.uint8)
    expected = VJEPA2VideoProcessor.from_pretrained(folder)(list(frames), return_tensors="pt")["pixel_values_videos"]
    convert(folder, tmp_path / "out")
    processor = AutoVideoProcessor.from_pretrained(tmp_path / "out")
    assert type(processor) is RLTVJEPA2VideoProcessor
    assert (processor.num_frames, processor.frame_stride, processor.patch_size) == (FRAMES, 64 // FRAMES, 8)
    assert torch.equal(processor(frames, return_tensors="pt")["pixel_values"], expected)


@torch.no_grad()
def test_the_pipeline_on_a_converted_folder_gives_the_stock_models_scores(tmp_path, stock):
    folder, model = stock
    convert(folder, tmp_path / "out", DENSE)
    clip = write_video(tmp_path / "clip.mp4", ramp(40))
    pixels = AutoVideoProcessor.from_pretrained(tmp_path / "out")(str(clip), return_tensors="pt")["pixel_values"]
    expected = model(pixels).logits.softmax(-1)[0]
    answers = pipeline("video-classification", model=str(tmp_path / "out"), device="cpu")(str(clip), top_k=5)
    scores = {answer["label"]: answer["score"] for answer in answers}
    # Not to the last bit: the pipeline's own softmax is NumPy's, and on some CPUs the layout of its input counts.
    assert scores == pytest.approx({f"class {i}": score for i, score in enumerate(expected.tolist())}, abs=1e-5)


@torch.no_grad()
def test_an_encoder_keeps_its_predictor(tmp_path):
    stock, clips = save_stock_vjepa2(tmp_path / "stock", VJEPA2Model), moving_clips(2)
    done = convert(tmp_path / "stock", tmp_path / "out")
    assert (done.kind, done.architecture, done.num_labels) == ("V-JEPA 2 encoder", "RLTVJEPA2Model", None)
    assert done.notes == []
    model = RLTVJEPA2Model.from_pretrained(tmp_path / "out", threshold=None).eval()
    ours, theirs = model(clips, skip_predictor=False), stock(clips)
    assert torch.equal(ours.last_hidden_state, theirs.last_hidden_state)
    assert torch.equal(ours.predictor_output.last_hidden_state, theirs.predictor_output.last_hidden_state)
    loaded, _ = load(str(tmp_path / "out"), head=False, threshold=None)
    assert torch.equal(loaded.eval()(clips).last_hidden_state, theirs.last_hidden_state)


def test_what_does_not_fit_is_refused_by_name(tmp_path, stock):
    folder, _ = stock
    for changes, message in (
        ({"pooling": "mean"}, "V-JEPA 2 has no choice between mean and first token"),
        ({"num_frames": 16}, r"trained with num_frames 8, received 16.*from_pretrained\(OUT, num_frames=16\)"),
        ({"num_attention_heads": 4}, "num_attention_heads 2, received 4"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(folder, tmp_path / "out", ConversionSettings(**changes))
    path, name = folder / "model.safetensors", "pooler.cross_attention_layer.cross_attn.k_proj.weight"
    weights = load_file(path)
    del weights[name]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"its weights are not V-JEPA 2's\. 1 missing: {name}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_processor_of_another_crop_is_set_to_the_models_and_its_size_follows(tmp_path, stock):
    VJEPA2VideoProcessor(crop_size=64).save_pretrained(stock[0])
    (note,) = convert(stock[0], tmp_path / "out").notes
    assert note == "The processor gives frames of 64x64: set to the model's 32x32, cut from the centre."
    (stock[0] / "video_preprocessor_config.json").unlink()
    assert "No preprocessor_config.json" in convert(stock[0], tmp_path / "none").notes[0]
    for name in ("out", "none"):
        processor = RLTVJEPA2VideoProcessor.from_pretrained(tmp_path / name)
        assert (processor.crop_size["height"], processor.size["shortest_edge"]) == (SIDE, int(SIDE * 256 / 224))


def test_a_converted_folder_can_be_replaced(tmp_path, stock):
    convert(stock[0], tmp_path / "out")
    assert convert(stock[0], tmp_path / "out", DENSE, overwrite=True).threshold is None


def test_a_long_clip_is_compared_on_few_frames_but_a_budget_on_its_own(tmp_path, stock, monkeypatch):
    config, frames, clip = json.loads((stock[0] / "config.json").read_text()), [], checks.check_clip
    (stock[0] / "config.json").write_text(json.dumps({**config, "frames_per_clip": 32}))
    monkeypatch.setattr(checks, "check_clip", lambda *shape: frames.append(shape[0]) or clip(*shape))
    convert(stock[0], tmp_path / "out")
    convert(stock[0], tmp_path / "budget", ConversionSettings(rule={"num_tokens": 200}))
    assert frames == [16, 32]
