# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Weights from and to VideoMAE folders, Auto classes, the pipeline."""

import logging
import re
import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoVideoProcessor,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    VideoMAEModel,
    pipeline,
)

import hf_rlt
from helpers.tiny import FRAMES, SIDE, TINY, moving_clips, randomise
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel, RLTVideoProcessor, register
from hf_rlt.baselines import RandomMaskingVideoMAEForVideoClassification as RandomMasking
from hf_rlt.baselines import STAVideoMAEForVideoClassification as STA
from hf_rlt.baselines import ToMeVideoMAEForVideoClassification as ToMe

HEAD = (VideoMAEForVideoClassification, RLTVideoMAEForVideoClassification)
BASE = (VideoMAEModel, RLTVideoMAEModel)
CHILDREN = [
    (RLTVideoMAEForVideoClassification, ["stock"]),
    *((kind, ["stock", "rlt"]) for kind in (RandomMasking, STA, ToMe)),
]


def keys_of(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


def heard(caplog, monkeypatch):
    """Let `caplog` see what transformers logs, whatever another test set."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING, "transformers")


@pytest.fixture
def processor():
    return RLTVideoProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, patch_size=8, frame_stride=2
    )


@pytest.fixture
def saved(tmp_path, processor):
    """A folder as a user saves it: model and processor."""
    config = RLTVideoMAEConfig(**TINY, id2label={i: f"class {i}" for i in range(5)})
    config.label2id = {name: i for i, name in config.id2label.items()}
    model = randomise(RLTVideoMAEForVideoClassification(config))
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved", model


class TestVideoMAEFolders:
    @pytest.mark.parametrize("layout", ["old", "new"])
    @pytest.mark.parametrize(("stock_class", "our_class"), [HEAD, BASE], ids=["head", "base"])
    @pytest.mark.parametrize("mean_pooling", [True, False])
    @torch.no_grad()
    def test_every_weight_of_a_stock_folder_is_loaded(self, tmp_path, stock_class, our_class, layout, mean_pooling):
        stock = randomise(stock_class(VideoMAEConfig(**TINY, use_mean_pooling=mean_pooling)))
        stock.save_pretrained(tmp_path, save_original_format=layout == "old")
        assert any(key.endswith("q_bias") for key in keys_of(tmp_path)) == (layout == "old")
        model, info = our_class.from_pretrained(tmp_path, threshold=None, output_loading_info=True)
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not info[problem], f"{problem}: {info[problem]}"
        state = model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in stock.state_dict().items())
        clips = moving_clips(2)
        assert torch.equal(model(clips)[0], stock(clips)[0])
        if our_class is RLTVideoMAEModel:
            model, info = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path, output_loading_info=True)
            assert {key.split(".")[0] for key in info["missing_keys"]} <= {"classifier", "fc_norm"}
            assert not info["unexpected_keys"]
            assert all(torch.equal(model.videomae.state_dict()[name], value) for name, value in state.items())

    @torch.no_grad()
    def test_our_folder_opens_in_plain_videomae(self, tmp_path):
        stock = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY)))
        stock.save_pretrained(tmp_path / "stock", save_original_format=True)
        model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "stock", threshold=None)
        model.save_pretrained(tmp_path / "ours")
        keys = keys_of(tmp_path / "ours")
        assert not any(key.endswith(("q_bias", "v_bias")) for key in keys)
        assert "videomae.encoder.layer.0.attention.attention.query.bias" in keys
        opened, info = VideoMAEForVideoClassification.from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert torch.equal(opened(moving_clips(2)).logits, model(moving_clips(2)).logits)

    @torch.no_grad()
    def test_length_embedding_starts_at_zero_and_is_saved(self, tmp_path):
        stock, clips = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY))), moving_clips(3)
        stock.save_pretrained(tmp_path / "stock")
        plain = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "stock")
        model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "stock", length_embedding=True)
        assert not model.videomae.embeddings.run_length_embeddings.weight.any()
        assert torch.equal(model(clips).logits, plain(clips).logits)
        randomise(model).save_pretrained(tmp_path / "ours")
        again, info = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert not info["missing_keys"]
        assert again.videomae.embeddings.run_length_embeddings.weight.all()
        assert torch.equal(again(clips).logits, model(clips).logits)

    @pytest.mark.parametrize("layout", ["old", "new"])
    def test_loading_one_by_class_name_is_no_cause_for_a_warning(self, tmp_path, caplog, monkeypatch, layout):
        heard(caplog, monkeypatch)
        stock = VideoMAEForVideoClassification(VideoMAEConfig(**TINY))
        stock.save_pretrained(tmp_path / "stock", save_original_format=layout == "old")
        RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**TINY, threshold=None)).save_pretrained(tmp_path / "rlt")
        for kind, folders in CHILDREN:
            for folder in folders:
                model = kind.from_pretrained(tmp_path / folder)
                assert model.config.model_type == kind.config_class.model_type
                kind.config_class.from_pretrained(tmp_path / folder)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    def test_settings_of_rlt_and_the_dtype_are_kept(self, tmp_path):
        for threshold in (None, 0.25, 0):
            settings = {"threshold": threshold, "proportional_attention": True, "drop_path_rate": 0.2}
            RLTVideoMAEConfig(**TINY, **settings).save_pretrained(tmp_path)
            again = RLTVideoMAEConfig.from_pretrained(tmp_path)
            assert {name: getattr(again, name) for name in settings} == settings
        randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY))).bfloat16().save_pretrained(tmp_path)
        assert RLTVideoMAEForVideoClassification.from_pretrained(tmp_path).dtype == torch.bfloat16
        assert RLTVideoMAEForVideoClassification.from_pretrained(tmp_path, dtype=torch.float32).dtype == torch.float32


class TestAutoClasses:
    def test_the_auto_processor_is_the_video_processor(self, processor, tmp_path):
        ToMe(ToMe.config_class(**TINY, r=2)).save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        again = AutoProcessor.from_pretrained(tmp_path)
        assert type(again) is RLTVideoProcessor
        assert again.to_dict() == AutoVideoProcessor.from_pretrained(tmp_path).to_dict()
        assert (again.patch_size, again.frame_stride) == (8, 2)
        assert AutoProcessor.from_pretrained(tmp_path, threshold=None).threshold is None
        assert type(AutoImageProcessor.from_pretrained(tmp_path)) is VideoMAEImageProcessor

    def test_register_twice_changes_nothing(self, saved):
        register()
        register()
        assert type(AutoModel.from_config(RLTVideoMAEConfig(**TINY))) is RLTVideoMAEModel
        assert type(AutoConfig.from_pretrained(saved[0])) is RLTVideoMAEConfig
        assert type(AutoConfig.for_model("videomae")) is VideoMAEConfig

    def test_public_names_exist(self):
        assert all(hasattr(hf_rlt, name) for name in hf_rlt.__all__)


class TestPipeline:
    def test_one_video_and_batches_of_videos(self, tmp_path, saved):
        folder, model = saved
        generator = np.random.default_rng(0)
        files = [write_video(tmp_path / "still.mp4", ramp(1).repeat(12, 0))]
        for i, frames in enumerate((30, 9, 3)):
            pixels = generator.integers(0, 255, (frames, 48, 64, 3), dtype=np.uint8)
            files.append(write_video(tmp_path / f"{i}.mp4", pixels))
        classify = pipeline("video-classification", model=str(folder), device="cpu")
        assert type(classify.model) is RLTVideoMAEForVideoClassification
        alone = [classify(str(file), top_k=5) for file in files]
        together = classify([str(file) for file in files], top_k=5, batch_size=4)
        processor = AutoVideoProcessor.from_pretrained(folder)
        for file, one, many in zip(files, alone, together, strict=True):
            assert [answer["label"] for answer in one] == [answer["label"] for answer in many]
            assert [a["score"] for a in one] == pytest.approx([a["score"] for a in many], abs=1e-5)
            with torch.no_grad():
                inputs = processor(file, num_frames=FRAMES, return_tensors="pt")
                scores = model(**inputs).logits[0].softmax(-1)
            assert one[0]["score"] == pytest.approx(scores.max().item(), abs=1e-5)
            assert one[0]["label"] == f"class {scores.argmax().item()}"

    @pytest.mark.parametrize("where", ["pipeline", "call"])
    def test_a_sampling_rate_that_transformers_ignores_is_warned_of(self, video_file, saved, where):
        given = 3
        file, rate = str(video_file(frames=40)), {"frame_sampling_rate": given}
        at_start, at_call = (rate, {}) if where == "pipeline" else ({}, rate)
        classify = pipeline("video-classification", model=str(saved[0]), device="cpu", **at_start)
        with pytest.warns(UserWarning, match=rf"ignores frame_sampling_rate={given}: .+ \(frame_stride=2\)") as warned:
            classify(file, **at_call)
        remedy = re.search(r"`(.+)`", str(warned[0].message))[1]
        exec(remedy, {"classify": classify})
        assert classify.video_processor.frame_stride == given
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            classify(file, **at_call)
