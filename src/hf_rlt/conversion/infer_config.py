# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Infer the configuration of an original checkpoint, which has none, from its shapes and training arguments."""

from typing import Any

import torch

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.layers_rlt_videomae import sinusoid_table
from .key_names import PATCHES, NamedWeights
from .labels import read_labels
from .source import ConversionSettings

# ViT-S, B, L, H and g of VideoMAE and VideoMAEv2 (their modeling_finetune.py).
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
# VideoMAE's and VideoMAEv2's norms have eps 1e-6; the RLT authors' settings leave torch's default.
ORIGINAL_EPS, RLT_EPS = 1e-6, 1e-5
MAX_SIZE = 4096  # frames, or pixels of a side, that are believed to be those of a training
DEFAULT_CLIP = {"num_frames": 16, "image_size": 224}


def infer_config(named: NamedWeights, settings: ConversionSettings) -> tuple[RLTVideoMAEConfig, list[str]]:
    """Return the configuration, and notes on what was assumed.

    Raises:
        HfRltError: if shapes are no VideoMAE's, contradict the settings, or leave the number of heads open.
    """
    width, channels, tubelet, height, patch = named.size(PATCHES, 5)
    if named.depth == 0 or height != patch:
        raise HfRltError(
            f"{named.path}: expected blocks and square patches, found {named.depth} blocks and {height}x{patch} patches."
        )
    told = _told_clip(named, settings, tubelet, patch)
    asked = {name: getattr(settings, name) for name in DEFAULT_CLIP}
    labels, notes = _labels(named, settings)
    config = RLTVideoMAEConfig(
        hidden_size=width,
        num_channels=channels,
        tubelet_size=tubelet,
        patch_size=patch,
        num_hidden_layers=named.depth,
        num_attention_heads=_heads(named, width, settings.num_attention_heads),
        intermediate_size=named.size("blocks.0.mlp.fc1.weight", 2)[0],
        qkv_bias=named.has(r"blocks.*\.attn\.(q_bias|v_bias|qkv\.bias)"),
        layer_norm_eps=RLT_EPS if named.is_rlt else ORIGINAL_EPS,
        length_embedding="length_embed" in named.weights,
        use_mean_pooling=_mean_pooling(named, settings),
        **{name: asked[name] or told.get(name) or default for name, default in DEFAULT_CLIP.items()},
        **settings.rule,
        **labels,
    )
    assumed = [f"{name} {value}" for name, value in DEFAULT_CLIP.items() if not (asked[name] or told.get(name))]
    if assumed:
        notes.append(
            f"Assumed {' and '.join(assumed)}, as published checkpoints have: fixed positions leave no trace in the weights."
        )
    _check_positions(named, config)
    return config, notes


def _heads(named: NamedWeights, width: int, given: int | None) -> int:
    heads = given or HEADS.get(width)
    if heads is None:
        raise HfRltError(
            f"{named.path}: its width is {width}, which no published VideoMAE has ({', '.join(map(str, HEADS))}): give the "
            "number of attention heads with --num-attention-heads."
        )
    if width % heads:
        raise HfRltError(f"{named.path}: {heads} attention heads do not divide its width {width}.")
    return heads


def _mean_pooling(named: NamedWeights, settings: ConversionSettings) -> bool:
    own = "first" if named.classifies and not named.has(r"fc_norm\.") else "mean"
    if not named.pretrained:
        settings.check_same(named.path, {"pooling": own})
    return (settings.pooling or own) == "mean"


def _labels(named: NamedWeights, settings: ConversionSettings) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the configuration that name classes, and a note if they are not named."""
    count = named.size("head.weight", 2)[0] if named.classifies else 0
    if settings.labels is not None:
        return read_labels(settings.labels, count), []
    if count == 0:
        return {}, []
    note = f"The file holds no class names: they are LABEL_0 to LABEL_{count - 1}. Give them with --labels."
    return {"num_labels": count}, [note]


def _told_clip(named: NamedWeights, settings: ConversionSettings, tubelet: int, patch: int) -> dict[str, int]:
    """Return `num_frames` and `image_size` as tables and training arguments tell them; refuse settings that differ."""
    frames, segments = named.arguments.get("num_frames"), named.arguments.get("num_segments", 1)
    if isinstance(frames, int) and isinstance(segments, int):
        frames *= segments
    found = {"num_frames": frames, "image_size": named.arguments.get("input_size")}
    told = {name: value for name, value in found.items() if isinstance(value, int) and 0 < value <= MAX_SIZE}
    side = settings.image_size or told.get("image_size") or DEFAULT_CLIP["image_size"]
    per_frame = (side // patch) ** 2
    if "length_embed" in named.weights:
        told["num_frames"] = named.size("length_embed", 3)[1] * tubelet
    elif named.positions is not None and named.positions.ndim == 3 and per_frame:
        told["num_frames"] = max(named.positions.shape[1] // per_frame, 1) * tubelet
    settings.check_same(named.path, told)
    return told


def _check_positions(named: NamedWeights, config: RLTVideoMAEConfig) -> None:
    """Raise HfRltError unless the checkpoint's positions, if it holds any, are the fixed table to rounding."""
    table = named.positions
    if table is None:
        return
    tubelets, rows, columns = config.grid
    expected = (1, tubelets * rows * columns, config.hidden_size)
    if tuple(table.shape) != expected:
        raise HfRltError(
            f"{named.path}: expected pos_embed of shape {expected} for {config.num_frames} frames of "
            f"{config.image_size} pixels, found {tuple(table.shape)}: give --num-frames and --image-size."
        )
    off = (table.double() - sinusoid_table(*expected[1:]).double()).abs().max().item()
    if not off <= max(1e-6, 2 * torch.finfo(table.dtype).eps):
        raise HfRltError(
            f"{named.path}: refused, its positions were learned (pos_embed is up to {off:.3g} from VideoMAE's fixed sines "
            "and cosines), and RLT-VideoMAE has the fixed ones only."
        )
