# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Weights of original checkpoints by name, and by our names."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import HfRltError
from .source import check_keys

PATCHES = "patch_embed.proj.weight"


@dataclass
class NamedWeights:
    """Weights of a file by name, and what the file says about their model.

    Attributes:
        path: of the file.
        weights: float tensors on the CPU, perhaps still on the disk.
        wrapper: name of what they were in: "state_dict" (Lightning), "model", "module", "encoder", "classifiers", or "".
        arguments: of the training, where the file holds them.
        notes: what was left out.
        pretraining: names of the decoder and what belongs to it.
        positions: the table `(1, N, D)` of positions, if the file holds one.
        layout: of the names, once they are plain.
    """

    path: Path
    weights: dict[str, Tensor]
    wrapper: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pretraining: list[str] = field(default_factory=list)
    positions: Tensor | None = None
    layout: Any = None  # a Layout

    def has(self, pattern: str) -> bool:
        """Return whether a name matches a regular expression from its start."""
        return any(re.match(pattern, name) for name in self.weights)

    def size(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a weight; raise HfRltError unless it is there and has so many dimensions."""
        check_keys(self.path, self.layout.family.name, {"missing": {name} - set(self.weights)})
        shape = tuple(self.weights[name].shape)
        if len(shape) != dimensions or min(shape) < 1:
            raise HfRltError(f"{self.path}: expected {name} to have {dimensions} dimensions, found shape {shape}.")
        return shape

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.count("blocks")

    def count(self, blocks: str) -> int:
        """Return how many numbers follow `blocks` at the start of names."""
        numbers = (re.match(rf"{re.escape(blocks)}\.(\d+)(\.|$)", name) for name in self.weights)
        return len({number[1] for number in numbers if number})

    @property
    def classifies(self) -> bool:
        """Whether the model is a classifier, with a head."""
        return self.has(re.escape(self.layout.head)) and not self.pretraining

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from pre-training, with or without its decoder."""
        return bool(self.pretraining) or not self.has(r"(head|fc_norm)\.")

    @property
    def is_rlt(self) -> bool:
        """Whether the RLT authors' code trained it: from Lightning, or with a table of run lengths."""
        return "length_embed" in self.weights or self.wrapper == "state_dict"

    @property
    def has_key_bias(self) -> bool:
        """Whether query, key and value have one common bias, instead of q_bias and v_bias."""
        return self.has(r"blocks.*\.attn\.qkv\.bias") and not self.has(r"blocks.*\.attn\.[qv]_bias")


def translate(named: NamedWeights, model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights by the names of `model`, and the names of those that it has no place for.

    Raises:
        HfRltError: naming all weights that are missing, unexpected or of another shape than the model's.
    """
    state: dict[str, Tensor] = {}
    network = named.layout.family.name
    missing, wrong, used = set(), [], set()
    for ours, wanted in model.state_dict().items():
        name, part = named.layout.original_name(ours, named.has_key_bias)
        used.add(name)
        if name not in named.weights:
            missing.add(name)
            continue
        value, shape = named.weights[name], tuple(wanted.shape)
        shape = shape if part is None else (part[1] * shape[0], *shape[1:])
        shape = (1, *shape) if name == "length_embed" else shape
        if tuple(value.shape) != shape:
            wrong.append(f"{name} {tuple(value.shape)} instead of {shape}")
            continue
        value = value[0] if name == "length_embed" else value
        state[ours] = value if part is None else value.chunk(part[1])[part[0]]
    unused = set(named.weights) - used
    # A pre-trained encoder's last norm is left out if tokens are averaged; so is the classifier's, without its head.
    dropped = set() if named.classifies else {name for name in unused if re.match(r"(norm|fc_norm)\.", name)}
    check_keys(named.path, network, {"missing": missing, "unexpected": unused - dropped})
    check_keys(named.path, network, {"of another shape": set(wrong)})
    return state, sorted(dropped)
