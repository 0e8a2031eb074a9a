# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Infer the configuration of an original checkpoint, which has none, from its shapes and training arguments."""

from typing import Any

from ..errors import HfRltError
from .key_names import PATCHES, NamedWeights
from .labels import read_labels
from .source import ConversionSettings


def infer_config(named: NamedWeights, settings: ConversionSettings) -> tuple[Any, list[str]]:
    """Return the configuration, and notes on what was assumed.

    Raises:
        HfRltError: if shapes are not the network's, contradict the settings, or leave the number of heads open.
    """
    layout = named.layout
    width, channels, tubelet, height, patch = named.size(PATCHES, 5)
    if named.depth == 0 or height != patch:
        raise HfRltError(
            f"{named.path}: expected blocks and square patches, found {named.depth} blocks and {height}x{patch} patches."
        )
    told = layout.told_clip(named, settings, tubelet, patch)
    settings.check_same(named.path, told)
    asked = {name: getattr(settings, name) for name in layout.clip}
    labels, notes = _labels(named, settings)
    clip = {name: asked[name] or told.get(name) or default for name, default in layout.clip.items()}
    config = layout.family.config(
        hidden_size=width,
        num_channels=channels,
        tubelet_size=tubelet,
        patch_size=patch,
        num_hidden_layers=named.depth,
        num_attention_heads=_heads(named, width, settings.num_attention_heads),
        **layout.fields(named, settings),
        **clip,
        **settings.rule,
        **labels,
    )
    assumed = [f"{name} {value}" for name, value in layout.clip.items() if not (asked[name] or told.get(name))]
    if assumed:
        notes.append(f"Assumed {' and '.join(assumed)}, as published checkpoints have: {layout.untraced}.")
    layout.check_positions(named, config)
    return config, notes


def _heads(named: NamedWeights, width: int, given: int | None) -> int:
    heads = given or named.layout.heads.get(width)
    if heads is None:
        raise HfRltError(
            f"{named.path}: its width is {width}, which no published {named.layout.family.name} has "
            f"({', '.join(map(str, named.layout.heads))}): give the number of attention heads with --num-attention-heads."
        )
    if width % heads:
        raise HfRltError(f"{named.path}: {heads} attention heads do not divide its width {width}.")
    return heads


def _labels(named: NamedWeights, settings: ConversionSettings) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the configuration that name classes, and a note if they are not named."""
    count = named.size(f"{named.layout.head}weight", 2)[0] if named.classifies else 0
    if settings.labels is not None:
        return read_labels(settings.labels, count), []
    if count == 0:
        return {}, []
    note = f"The file holds no class names: they are LABEL_0 to LABEL_{count - 1}. Give them with --labels."
    return {"num_labels": count}, [note]
