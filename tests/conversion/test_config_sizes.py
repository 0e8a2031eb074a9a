# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Sizes in a config.json that no model has are refused before anything is built."""

import json

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import VJEPA2Config

from hf_rlt import (
    RLTVideoMAEConfig,
    RLTVideoMAEForVideoClassification,
    RLTVideoMAEModel,
    RLTVJEPA2Config,
    RLTVJEPA2ForVideoClassification,
)
from hf_rlt.baselines import ToMeVideoMAEForVideoClassification
from hf_rlt.conversion import convert
from hf_rlt.hub.repo_config import read_config

SIZES = ["num_frames", "image_size", "patch_size", "tubelet_size", "num_channels", "num_labels"]
SIZES += ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
WRONG = [(field, 10**9) for field in SIZES]
WRONG += [("image_size", [10**9, 64]), ("position_grid", [10**9, 1, 1]), ("position_grid", "8 14 14")]
WRONG += [("num_frames", value) for value in (True, 16.0, None, 65_536)]
WRONG += [("hidden_size", "768"), ("intermediate_size", [1]), ("num_hidden_layers", -1), ("patch_size", 0)]
WRONG += [("num_labels", "5")]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_in_a_file(tmp_path, tiny_config, monkeypatch, field, value):
    tiny_config(image_size=224).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    if field == "num_labels":
        del config["id2label"], config["label2id"]
    (tmp_path / "config.json").write_text(json.dumps({**config, field: value}))
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *args, **kwargs: pytest.fail("something was built"))
    for opened in (
        RLTVideoMAEConfig.from_pretrained,
        RLTVideoMAEModel.from_pretrained,
        RLTVideoMAEForVideoClassification.from_pretrained,
        ToMeVideoMAEForVideoClassification.from_pretrained,
        lambda name: read_config(str(name)),
        lambda name: convert(name, tmp_path / "out"),
    ):
        with pytest.raises(
            ValueError, match=f"^{tmp_path}: expected .*{field}.* in its config.json .*(found|received) "
        ):
            opened(tmp_path)


@pytest.mark.parametrize("field", ["num_frames", "image_size", "num_labels"])
def test_asked_for(tmp_path, tiny_config, field):
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"expected {field} to be a whole number from 1 to .*, found 1000000000"):
        RLTVideoMAEConfig.from_pretrained(tmp_path, **{field: 10**9})


OF_VJEPA2 = [("frames_per_clip", 10**9), ("crop_size", [10**9, 64]), ("in_chans", 0), ("hidden_size", "768")]
OF_VJEPA2 += [(f"pred_{field}", 10**9) for field in ("hidden_size", "num_hidden_layers", "num_attention_heads")]
OF_VJEPA2 += [("pred_num_mask_tokens", 10**9), ("num_pooler_layers", 10**9), ("num_pooler_layers", 0.5)]
OF_VJEPA2 += [
    (field, value) for field in ("mlp_ratio", "pred_mlp_ratio") for value in (1e9, float("nan"), -1, "4", None)
]


@pytest.mark.parametrize(("field", "value"), OF_VJEPA2)
def test_of_vjepa2(tmp_path, monkeypatch, field, value):
    VJEPA2Config().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, field: value}))
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *args, **kwargs: pytest.fail("something was built"))
    for opened in (
        RLTVJEPA2Config.from_pretrained,
        RLTVJEPA2ForVideoClassification.from_pretrained,
        lambda name: read_config(str(name)),
        lambda name: convert(name, tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match=f"^{tmp_path}: expected {field} in its config.json to be .*found "):
            opened(tmp_path)


def test_given_to_the_constructor():
    with pytest.raises(StrictDataclassError, match="num_frames to be a whole number"):
        RLTVideoMAEConfig(num_frames=10**9)
