# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The configuration of an original checkpoint, from the shapes of its weights."""

from pathlib import Path
from typing import Any

import torch

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.layers_rlt_videomae import sinusoid_table
from .key_names import PATCHES, Layout, NamedWeights
from .labels import read_labels
from .source import ConversionSettings
from .weight_files import WeightFile

# ViT-S, B, L, H and g of VideoMAE and VideoMAEv2 (their modeling_finetune.py).
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
# VideoMAE's and VideoMAEv2's norms have eps 1e-6; the RLT authors' settings leave torch's default.
ORIGINAL_EPS, RLT_EPS = 1e-6, 1e-5
MOST = 4096  # frames, or pixels of a side, that are believed to be those of a training


def is_rlt(file: WeightFile, layout: Layout) -> bool:
    """Returns whether the file comes from the RLT authors' training: from Lightning, or with a table of run lengths."""
    return layout.length_embedding or file.wrapper == "state_dict"


def infer_config(
    file: WeightFile, named: NamedWeights, layout: Layout, settings: ConversionSettings
) -> tuple[RLTVideoMAEConfig, list[str]]:
    """Returns the configuration, and notes on what was assumed.

    Raises:
        ValueError: if shapes are no VideoMAE's, or contradict what was given, or leave the number of heads open.
    """
    notes: list[str] = []
    width, channels, tubelet, height, patch = _sizes(file.path, named, PATCHES, 5)
    if layout.depth == 0 or height != patch:
        raise HfRltError(
            f"{file.path}: expected blocks and square patches, found {layout.depth} blocks and {height}x{patch} patches."
        )
    given: dict[str, Any] = {
        "hidden_size": width,
        "num_channels": channels,
        "tubelet_size": tubelet,
        "patch_size": patch,
        "num_hidden_layers": layout.depth,
        "num_attention_heads": _heads(file.path, width, settings.num_attention_heads),
        "intermediate_size": _sizes(file.path, named, "blocks.0.mlp.fc1.weight", 2)[0],
        "qkv_bias": bool(layout.biases),
        "layer_norm_eps": RLT_EPS if is_rlt(file, layout) else ORIGINAL_EPS,
        "length_embedding": layout.length_embedding,
        "use_mean_pooling": _mean_pooling(layout, settings, file.path),
        **settings.changed_threshold(),
        **_clip(file, named, layout, settings, (tubelet, patch), notes),
    }
    if layout.kind == "classifier":
        count = _sizes(file.path, named, "head.weight", 2)[0]
        given |= {"num_labels": count} if settings.labels is None else read_labels(settings.labels, count)
        if settings.labels is None:
            notes.append(
                f"The file holds no class names: they are LABEL_0 to LABEL_{count - 1}. Give them with --labels."
            )
    elif settings.labels is not None:
        raise HfRltError(f"{file.path}: has no classifier, so --labels has nothing to name: leave it out.")
    config = RLTVideoMAEConfig(**given)
    _check_positions(file.path, named, config)
    return config, notes


def _sizes(source: Path, named: NamedWeights, name: str, dimensions: int) -> tuple[int, ...]:
    shape = tuple(named.weights[name].shape)
    if len(shape) != dimensions or min(shape) < 1:
        raise HfRltError(f"{source}: expected {name} to have {dimensions} dimensions, found shape {shape}.")
    return shape


def _heads(source: Path, width: int, given: int | None) -> int:
    heads = HEADS.get(width) if given is None else given
    if heads is None:
        raise HfRltError(
            f"{source}: its width is {width}, which no published VideoMAE has ({', '.join(map(str, HEADS))}), and shapes do "
            "not tell the number of attention heads: give it with --num-attention-heads."
        )
    if width % heads:
        raise HfRltError(f"{source}: {heads} attention heads do not divide its width {width}.")
    return heads


def _mean_pooling(layout: Layout, settings: ConversionSettings, source: Path) -> bool:
    own = "first" if layout.kind == "classifier" and layout.norm == "norm" else "mean"
    wanted = settings.pooling or own
    if wanted != own and layout.kind != "pre-trained":
        raise HfRltError(
            f"{source}: was trained with pooling {own!r}, so --pooling {wanted} would break it: leave it out."
        )
    return wanted == "mean"


def _clip(
    file: WeightFile,
    named: NamedWeights,
    layout: Layout,
    settings: ConversionSettings,
    tubelet: tuple[int, int],
    notes: list[str],
) -> dict[str, int]:
    """Returns `num_frames` and `image_size`: what was given, what tables and arguments tell, or what VideoMAE has."""
    frames, patch = tubelet
    told: dict[str, int] = {}
    for name, value in {"num_frames": _frames(file.arguments), "image_size": file.arguments.get("input_size")}.items():
        if isinstance(value, int) and 0 < value <= MOST:
            told[name] = value
    side = settings.image_size or told.get("image_size", 224)
    per_slot = (side // patch) ** 2
    if layout.length_embedding:
        told["num_frames"] = _sizes(file.path, named, "length_embed", 3)[1] * frames
    elif named.positions is not None and named.positions.ndim == 3 and per_slot:
        told["num_frames"] = max(named.positions.shape[1] // per_slot, 1) * frames
    for name, value in told.items():
        asked = getattr(settings, name)
        if asked not in (None, value):
            raise HfRltError(
                f"{file.path}: was trained with {name} {value}, received {asked}. Convert it as it is, then open it with "
                f"from_pretrained(OUT, {name}={asked}): positions are interpolated."
            )
    defaults = {"num_frames": 16, "image_size": 224}
    clip = {name: getattr(settings, name) or told.get(name) or value for name, value in defaults.items()}
    assumed = [name for name in defaults if getattr(settings, name) is None and name not in told]
    if assumed:
        which = " and ".join(f"{name} {clip[name]}" for name in assumed)
        notes.append(f"Assumed {which}, as published checkpoints have: fixed positions leave no trace in the weights.")
    return clip


def _frames(arguments: dict[str, Any]) -> int | None:
    frames, segments = arguments.get("num_frames"), arguments.get("num_segments", 1)
    return frames * segments if isinstance(frames, int) and isinstance(segments, int) else None


def _check_positions(source: Path, named: NamedWeights, config: RLTVideoMAEConfig) -> None:
    """Returns nothing; raises unless the checkpoint's positions, if it holds any, are the fixed table to rounding."""
    table = named.positions
    if table is None:
        return
    cells = (config.num_frames // config.tubelet_size) * (config.image_size // config.patch_size) ** 2
    expected = (1, cells, config.hidden_size)
    if tuple(table.shape) != expected:
        raise HfRltError(
            f"{source}: expected pos_embed of shape {expected} for {config.num_frames} frames of {config.image_size} "
            f"pixels, found {tuple(table.shape)}: give --num-frames and --image-size."
        )
    tolerance = max(1e-6, 2 * torch.finfo(table.dtype).eps)
    off = (table.double() - sinusoid_table(*expected[1:]).double()).abs().max().item()
    if not off <= tolerance:
        raise HfRltError(
            f"{source}: refused, its positions were learned (pos_embed is up to {off:.3g} from VideoMAE's fixed sines and "
            "cosines), and RLT-VideoMAE has the fixed ones only."
        )
