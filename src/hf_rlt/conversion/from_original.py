# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Opens original checkpoints of VideoMAE, VideoMAEv2 and RLT: one file of weights, no configuration."""

from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.modeling_rlt_videomae import (
    RLTVideoMAEForVideoClassification,
    RLTVideoMAEModel,
    RLTVideoMAEPreTrainedModel,
)
from ..models.video_processing_rlt import RLTVideoProcessor
from .infer_config import infer_config, is_rlt
from .key_names import Layout, NamedWeights, find_layout, plain_names, translate
from .source import DTYPES, ConversionSettings, LoadedSource, check_finite, listed
from .weight_files import WeightFile, read_weights

LENGTHS = (
    "The length embedding may not carry over: the authors' code lists run lengths place by place (h, w, t) while tokens "
    "stand slot by slot (t, h, w), so in training lengths reached other tokens than their own. Here each token gets its own."
)


def open_original(path: str | Path, settings: ConversionSettings) -> LoadedSource:
    """Returns the model in a file of weights, with a processor that normalises as the source's own loaders do.

    Args:
        path: a `.pth`, `.ckpt`, `.bin`, `.pt` or `.safetensors` file.
        settings: what the file does not tell.

    Raises:
        ValueError: if the file cannot be read, holds code, or other weights than exactly those of one known layout.
        OSError: if there is no such file.

    Source: names and shapes from VideoMAE's and VideoMAEv2's modeling_finetune.py, modeling_pretrain.py and
    run_class_finetuning.py, and RLT's vit_helpers.py. All three normalise with ImageNet's mean and standard deviation
    (VideoMAE kinetics.py and ssv2.py, VideoMAEv2 dataset/datasets.py, RLT vit_mae.py), whatever their `_cfg` says.
    Norms have eps 1e-6 in VideoMAE and VideoMAEv2 (vit_*_patch16_224) and torch's 1e-5 in RLT, whose settings name none.
    Departure: fc_norm has 1e-5 in transformers' VideoMAE and here, whatever the configuration says.
    """
    file = read_weights(path)
    named = plain_names(file.path, file.weights)
    layout = find_layout(file.path, named)
    config, assumed = infer_config(file, named, layout, settings)
    check_finite(file.path, named.weights)
    model, dropped = build(file.path, layout, named, config, settings.dtype)
    notes = [*file.notes, *assumed, *dropped, *_remarks(file, named, layout, model)]
    return LoadedSource(_kind(file, named, layout), model, _processor(file, config, settings), notes)


def build(
    source: Path, layout: Layout, named: NamedWeights, config: RLTVideoMAEConfig, dtype: str | None = None
) -> tuple[RLTVideoMAEPreTrainedModel, list[str]]:
    """Returns a model of the configuration that holds the weights, in evaluation mode, and the names it has no place for."""
    classifies = layout.kind == "classifier"
    with torch.device("meta"):  # made without a first initialisation, which takes longer than the conversion
        model = (RLTVideoMAEForVideoClassification if classifies else RLTVideoMAEModel)(config)
    shapes = {name.removeprefix("videomae."): tuple(value.shape) for name, value in model.state_dict().items()}
    state = translate(source, layout, named.weights, shapes)
    wanted = DTYPES[dtype] if dtype else _common_dtype(state)
    cast = {_full_name(name, classifies): value.to(wanted).contiguous() for name, value in state.items()}
    model.load_state_dict(cast, assign=True)
    model.config.dtype = wanted
    unused = sorted(name for name, ours in layout.names().items() if not any(our in state for our in ours))
    notes = [f"Dropped {listed(unused)}: RLTVideoMAEModel with pooling 'mean' has no place for it."] if unused else []
    return model.eval(), notes


def _full_name(name: str, classifies: bool) -> str:
    return f"videomae.{name}" if classifies and not name.startswith(("fc_norm.", "classifier.")) else name


def _common_dtype(state: dict[str, Tensor]) -> torch.dtype:
    widest = reduce(torch.promote_types, {value.dtype for value in state.values()})
    return widest if widest in DTYPES.values() else torch.float32


def _processor(file: WeightFile, config: RLTVideoMAEConfig, settings: ConversionSettings) -> RLTVideoProcessor:
    told: dict[str, Any] = {}
    rate, data = file.arguments.get("sampling_rate"), file.arguments.get("data_set")
    # Something-Something is sampled uniformly (VideoMAE's FINETUNE.md and VideoMAEv2's dataset/build.py), all else strided.
    if data == "SSV2" or file.arguments.get("sparse_sample") is True:
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
        threshold=config.threshold,
        **{**told, **settings.sampling_changes()},
    )


def _kind(file: WeightFile, named: NamedWeights, layout: Layout) -> str:
    origin = "RLT Lightning checkpoint" if is_rlt(file, layout) else "original VideoMAE or VideoMAEv2 checkpoint"
    what = {"classifier": "classifier", "encoder": "encoder without a head", "pre-trained": "pre-trained encoder"}
    return f"{origin}, {what[layout.kind]}{' with its decoder' if named.pretraining else ''}"


def _remarks(file: WeightFile, named: NamedWeights, layout: Layout, model: RLTVideoMAEPreTrainedModel) -> list[str]:
    notes = []
    if named.pretraining:
        notes.append(
            f"Dropped {len(named.pretraining)} weights of pre-training alone: {listed(named.pretraining, 3)}. Fine-tuning "
            "starts from the encoder."
        )
    if layout.biases == "qkv.bias":
        notes.append(
            f"Dropped {layout.depth} key biases: they add the same to all logits of a query, which softmax does not see."
        )
    if is_rlt(file, layout):
        notes.append("Norms have eps 1e-5, torch's default, which the RLT authors' settings leave as it is.")
    if layout.length_embedding:
        notes.append(LENGTHS)
    if layout.kind == "classifier" and layout.norm == "fc_norm" and not is_rlt(file, layout):
        notes.append("fc_norm has eps 1e-5, as in transformers' VideoMAE; the original's is 1e-6 (docs/hub.md).")
    if named.positions is not None:
        notes.append("pos_embed is VideoMAE's fixed table: not stored again.")
    return notes
