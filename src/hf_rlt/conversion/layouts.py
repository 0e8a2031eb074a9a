# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Recognise whose original checkpoint a file of weights is."""

import re
from dataclasses import replace

from torch import Tensor

from ..errors import HfRltError, join_limited
from .key_names import PATCHES, NamedWeights
from .layout import Layout
from .layout_videomae import VideoMAELayout
from .layout_vjepa2 import VJEPA2Layout

LAYOUTS: tuple[Layout, ...] = (VJEPA2Layout(), VideoMAELayout())
# Put in front of a name by DDP, torch.compile, Lightning or VideoMAEv2's Hub classes, and other people's frameworks.
PREFIXES = re.compile(r"^((module|_orig_mod|model|backbone|encoder)\.)+")


def plain_names(file: NamedWeights) -> NamedWeights:
    """Return the weights without the prefixes that trainers and wrappers put before their names, and their layout.

    Raises:
        HfRltError: if two weights get one name, or the names are those of transformers or of another model.
    """
    if any(re.search(r"(^|\.)patch_embeddings\.proj(ection)?\.", name) for name in file.weights):
        raise HfRltError(
            f"{file.path}: these are the weights of a Hugging Face folder: pass the folder with its config.json."
        )
    weights: dict[str, Tensor] = {}
    for name, value in file.weights.items():
        plain = PREFIXES.sub("", name)
        if plain in weights:
            raise HfRltError(f"{file.path}: two weights are called {plain} (one is {name}): pass one checkpoint alone.")
        weights[plain] = value
    layout = next(layout for layout in LAYOUTS if layout.knows(set(weights)))
    named = layout.tidy(replace(file, weights=weights, layout=layout))
    if PATCHES not in named.weights:
        origins = ", ".join(layout.origins for layout in reversed(LAYOUTS))
        raise HfRltError(
            f"{file.path}: expected a checkpoint of {origins} with a weight {PATCHES}, found "
            f"{join_limited(sorted(named.weights))}."
        )
    return named
