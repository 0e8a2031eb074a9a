# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Names of weights in original checkpoints of VideoMAE, VideoMAEv2 and RLT, and ours."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import HfRltError, join_limited
from .source import PRETRAINING_ONLY, check_keys

# Put in front of a name by DDP, torch.compile, Lightning or VideoMAEv2's Hub classes, and other people's frameworks.
PREFIXES = re.compile(r"^((module|_orig_mod|model|backbone|encoder)\.)+")
PATCHES = "patch_embed.proj.weight"
# Our parts of names and theirs. Query, key and value are one matrix in theirs.
RENAMED = {
    "videomae.": "",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.run_length_embeddings.weight": "length_embed",
    "encoder.layer.": "blocks.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.attention.": "attn.",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm": "norm",
    "classifier": "head",
}


@dataclass
class NamedWeights:
    """Weights of a file by name, and what the file says about their model.

    Attributes:
        path: of the file.
        weights: float tensors on the CPU, perhaps still on the disk.
        wrapper: name of the dictionary they were in: "state_dict" (Lightning), "model", "module", or "" for none.
        arguments: of the training, where the file holds them.
        notes: what was left out.
        pretraining: names of the decoder and what belongs to it.
        positions: the table `(1, N, D)` of positions, if the file holds one.
    """

    path: Path
    weights: dict[str, Tensor]
    wrapper: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pretraining: list[str] = field(default_factory=list)
    positions: Tensor | None = None

    def has(self, pattern: str) -> bool:
        """Return whether a name matches a regular expression from its start."""
        return any(re.match(pattern, name) for name in self.weights)

    def size(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a weight; raise HfRltError unless it is there and has so many dimensions."""
        check_keys(self.path, "VideoMAE", {"missing": {name} - set(self.weights)})
        shape = tuple(self.weights[name].shape)
        if len(shape) != dimensions or min(shape) < 1:
            raise HfRltError(f"{self.path}: expected {name} to have {dimensions} dimensions, found shape {shape}.")
        return shape

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len({name.split(".")[1] for name in self.weights if re.match(r"blocks\.\d+\.", name)})

    @property
    def classifies(self) -> bool:
        """Whether the model is a classifier, with a head."""
        return self.has(r"head\.") and not self.pretraining

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


def plain_names(file: NamedWeights) -> NamedWeights:
    """Return the weights without the prefixes that trainers and wrappers put before their names.

    Raises:
        HfRltError: if two weights get one name, or the names are those of transformers or of another model.
    """
    if any(".patch_embeddings.projection." in f".{name}" for name in file.weights):
        raise HfRltError(
            f"{file.path}: these are the weights of a Hugging Face folder: pass the folder with its config.json."
        )
    weights: dict[str, Tensor] = {}
    for name, value in file.weights.items():
        plain = PREFIXES.sub("", name)
        if plain in weights:
            raise HfRltError(f"{file.path}: two weights are called {plain} (one is {name}): pass one checkpoint alone.")
        weights[plain] = value
    pretraining = sorted(name for name in weights if name.startswith(PRETRAINING_ONLY))
    weights = {name: value for name, value in weights.items() if name not in pretraining}
    positions = weights.pop("pos_embed", None)
    if PATCHES not in weights:
        raise HfRltError(
            f"{file.path}: expected a checkpoint of VideoMAE, VideoMAEv2 or RLT with a weight {PATCHES}, found "
            f"{join_limited(sorted(weights))}."
        )
    return replace(file, weights=weights, pretraining=pretraining, positions=positions)


def original_name(ours: str, has_key_bias: bool) -> tuple[str, int | None]:
    """Return the original name of one of our weights, and which third of that weight it is; None for all of it."""
    for part, original in RENAMED.items():
        ours = ours.replace(part, original)
    found = re.fullmatch(r"(.*\.attn\.)(query|key|value)\.(weight|bias)", ours)
    if found is None:
        return ours, None
    attention, part, kind = found.groups()
    if kind == "bias" and not has_key_bias:
        return f"{attention}{part[0]}_bias", None
    return f"{attention}qkv.{kind}", ("query", "key", "value").index(part)


def translate(named: NamedWeights, model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights by the names of `model`, and the names of those that it has no place for.

    Raises:
        HfRltError: naming all weights that are missing, unexpected or of another shape than the model's.
    """
    state: dict[str, Tensor] = {}
    missing, wrong, used = set(), [], set()
    for ours, wanted in model.state_dict().items():
        name, third = original_name(ours, named.has_key_bias)
        used.add(name)
        if name not in named.weights:
            missing.add(name)
            continue
        value, shape = named.weights[name], tuple(wanted.shape)
        shape = shape if third is None else (3 * shape[0], *shape[1:])
        shape = (1, *shape) if name == "length_embed" else shape
        if tuple(value.shape) != shape:
            wrong.append(f"{name} {tuple(value.shape)} instead of {shape}")
            continue
        value = value[0] if name == "length_embed" else value
        state[ours] = value if third is None else value.chunk(3)[third]
    unused = set(named.weights) - used
    # A pre-trained encoder's last norm is left out if tokens are averaged; so is the classifier's, without its head.
    dropped = set() if named.classifies else {name for name in unused if re.match(r"(norm|fc_norm)\.", name)}
    check_keys(named.path, "VideoMAE", {"missing": missing, "unexpected": unused - dropped})
    check_keys(named.path, "VideoMAE", {"of another shape": set(wrong)})
    return state, sorted(dropped)
