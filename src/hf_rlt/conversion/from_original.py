# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Open original checkpoints: one file of weights, no configuration."""

from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ..errors import join_limited
from ..models.run_rule import rule_settings
from .infer_config import infer_config
from .key_names import NamedWeights, translate
from .layouts import plain_names
from .source import DTYPES, ConversionSettings, LoadedSource, check_finite
from .weight_files import read_weights


def open_original(path: str | Path, settings: ConversionSettings) -> LoadedSource:
    """Return the model in a file of weights, with a processor that normalises as the source's own loaders do.

    Raises:
        HfRltError: if the file cannot be read, holds code, or other weights than exactly those of one known layout.
        OSError: if there is no such file.
    """
    file = read_weights(path)
    if settings.probe is not None:
        probe = read_weights(settings.probe)
        file = replace(file, weights={**file.weights, **probe.weights}, notes=[*file.notes, *probe.notes])
    named = plain_names(file)
    config, assumed = infer_config(named, settings)
    check_finite(named.path, named.weights)
    model, dropped = build(named, config, settings.dtype)
    notes = [*named.notes, *assumed, *dropped, *named.layout.remarks(named)]
    return LoadedSource(named.layout.describe(named), model, _processor(named, config, settings), notes)


def build(named: NamedWeights, config: Any, dtype: str | None = None) -> tuple[PreTrainedModel, list[str]]:
    """Return a model that holds the weights, in evaluation mode, and a note on those it has no place for."""
    family = named.layout.family
    with torch.device("meta"):  # made without a first initialisation, which takes longer than the conversion
        model = (family.classifier if named.classifies else family.model)(config)
    state, dropped = translate(named, model)
    wanted = DTYPES[dtype] if dtype else reduce(torch.promote_types, {value.dtype for value in state.values()})
    wanted = wanted if wanted in DTYPES.values() else torch.float32
    model.load_state_dict({name: value.to(wanted).contiguous() for name, value in state.items()}, assign=True)
    model.config.dtype = wanted
    note = f"Dropped {join_limited(dropped)}: {type(model).__name__} with pooling 'mean' has no place for it."
    return model.eval(), [note] * bool(dropped)


def _processor(named: NamedWeights, config: Any, settings: ConversionSettings) -> Any:
    processor = named.layout.family.processor
    return processor(
        **processor.sizes(config.image_size, config.image_size),
        num_frames=config.num_frames,
        tubelet_size=config.tubelet_size,
        patch_size=config.patch_size,
        **rule_settings(config),
        **{**named.layout.sampling(named), **settings.given("frame_stride", "sampling")},
    )
