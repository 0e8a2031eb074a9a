# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Open original checkpoints of VideoMAE, VideoMAEv2 and RLT: one file of weights, no configuration."""

from functools import reduce
from pathlib import Path
from typing import Any

import torch

from ..errors import join_limited
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.modeling_rlt_videomae import (
    RLTVideoMAEForVideoClassification,
    RLTVideoMAEModel,
    RLTVideoMAEPreTrainedModel,
)
from ..models.run_rule import rule_settings
from ..models.video_processing_rlt import RLTVideoProcessor
from .infer_config import infer_config
from .key_names import NamedWeights, plain_names, translate
from .source import DTYPES, ConversionSettings, LoadedSource, check_finite, pretraining_note
from .weight_files import read_weights

LENGTH_EMBEDDING_NOTE = (
    "The length embedding may not carry over: the authors' code lists run lengths place by place (h, w, t) while tokens "
    "stand slot by slot (t, h, w), so in training lengths reached other tokens than their own. Here each token gets its own."
)


def open_original(path: str | Path, settings: ConversionSettings) -> LoadedSource:
    """Return the model in a file of weights, with a processor that normalises as the source's own loaders do.

    Raises:
        HfRltError: if the file cannot be read, holds code, or other weights than exactly those of one known layout.
        OSError: if there is no such file.

    Source: names and shapes from VideoMAE's and VideoMAEv2's modeling_finetune.py, modeling_pretrain.py and
    run_class_finetuning.py, and RLT's vit_helpers.py. All three normalise with ImageNet's mean and standard deviation
    (VideoMAE kinetics.py and ssv2.py, VideoMAEv2 dataset/datasets.py, RLT vit_mae.py), whatever their `_cfg` says.
    Norms have eps 1e-6 in VideoMAE and VideoMAEv2 (vit_*_patch16_224) and torch's 1e-5 in RLT, whose settings name none.
    Departure: fc_norm has 1e-5 in transformers' VideoMAE and here, whatever the configuration says.
    """
    named = plain_names(read_weights(path))
    config, assumed = infer_config(named, settings)
    check_finite(named.path, named.weights)
    model, dropped = build(named, config, settings.dtype)
    notes = [*named.notes, *assumed, *dropped, *_remarks(named)]
    return LoadedSource(_kind(named), model, _processor(named, config, settings), notes)


def build(
    named: NamedWeights, config: RLTVideoMAEConfig, dtype: str | None = None
) -> tuple[RLTVideoMAEPreTrainedModel, list[str]]:
    """Return a model that holds the weights, in evaluation mode, and a note on those it has no place for."""
    with torch.device("meta"):  # made without a first initialisation, which takes longer than the conversion
        model = (RLTVideoMAEForVideoClassification if named.classifies else RLTVideoMAEModel)(config)
    state, dropped = translate(named, model)
    wanted = DTYPES[dtype] if dtype else reduce(torch.promote_types, {value.dtype for value in state.values()})
    wanted = wanted if wanted in DTYPES.values() else torch.float32
    model.load_state_dict({name: value.to(wanted).contiguous() for name, value in state.items()}, assign=True)
    model.config.dtype = wanted
    note = f"Dropped {join_limited(dropped)}: RLTVideoMAEModel with pooling 'mean' has no place for it."
    return model.eval(), [note] * bool(dropped)


def _processor(named: NamedWeights, config: RLTVideoMAEConfig, settings: ConversionSettings) -> RLTVideoProcessor:
    told: dict[str, Any] = {}
    rate = named.arguments.get("sampling_rate")
    # Something-Something is sampled uniformly (VideoMAE's FINETUNE.md and VideoMAEv2's dataset/build.py), all else strided.
    if named.arguments.get("data_set") == "SSV2" or named.arguments.get("sparse_sample") is True:
        told["sampling"] = "uniform"
    elif isinstance(rate, int) and rate > 0:
        told["frame_stride"] = rate
    side = config.image_size
    return RLTVideoProcessor(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        num_frames=config.num_frames,
        tubelet_size=config.tubelet_size,
        patch_size=config.patch_size,
        **rule_settings(config),
        **{**told, **settings.given("frame_stride", "sampling")},
    )


def _kind(named: NamedWeights) -> str:
    origin = "RLT Lightning checkpoint" if named.is_rlt else "original VideoMAE or VideoMAEv2 checkpoint"
    if named.classifies:
        return f"{origin}, classifier"
    what = "pre-trained encoder" if named.pretrained else "encoder without a head"
    return f"{origin}, {what}{' with its decoder' if named.pretraining else ''}"


def _remarks(named: NamedWeights) -> list[str]:
    notes = pretraining_note(named.pretraining)
    if named.has_key_bias:
        notes.append(
            f"Dropped {named.depth} key biases: they add the same to all logits of a query, which softmax does not see."
        )
    if named.is_rlt:
        notes.append("Norms have eps 1e-5, torch's default, which the RLT authors' settings leave as it is.")
    elif named.classifies and named.has(r"fc_norm\."):
        notes.append("fc_norm has eps 1e-5, as in transformers' VideoMAE; the original's is 1e-6 (docs/hub.md).")
    if "length_embed" in named.weights:
        notes.append(LENGTH_EMBEDDING_NOTE)
    if named.positions is not None:
        notes.append("pos_embed is VideoMAE's fixed table: not stored again.")
    return notes
