# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Names and shapes of the original VideoMAE, VideoMAEv2 and RLT checkpoints, and what they are called here."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..errors import HfRltError
from .source import PRETRAINING_ONLY, check_keys, listed

# Put in front of a name by DDP, torch.compile, Lightning or VideoMAEv2's Hub classes, and other people's frameworks.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
BLOCK = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
ATTENTION = "attention.attention"
PATCHES = "patch_embed.proj.weight"


@dataclass(frozen=True)
class Layout:
    """What the names in a checkpoint say about its model.

    Attributes:
        kind: "classifier", "encoder" (without a head) or "pre-trained" (with or without its decoder).
        depth: number of blocks.
        biases: of the attention's projections: "q_bias" (with v_bias), "qkv.bias" (of all three) or "" (none).
        norm: "fc_norm" (after the mean over tokens), "norm" (before the first token is taken) or "".
        length_embedding: whether there is a table of run lengths.
    """

    kind: str
    depth: int
    biases: str
    norm: str
    length_embedding: bool

    def names(self) -> dict[str, list[str]]:
        """Returns, for each name that such a checkpoint holds, our names: three for a fused query, key and value.

        An empty name stands for what is dropped. Ours are those of the base model, but for fc_norm and classifier.
        """
        found = {f"patch_embed.proj.{part}": [f"embeddings.patch_embeddings.projection.{part}"] for part in PARTS}
        for block in range(self.depth):
            theirs, ours = f"blocks.{block}", f"encoder.layer.{block}"
            for old, new in BLOCK.items():
                found |= {f"{theirs}.{old}.{part}": [f"{ours}.{new}.{part}"] for part in PARTS}
            query, key, value = (f"{ours}.{ATTENTION}.{name}" for name in ("query", "key", "value"))
            found[f"{theirs}.attn.qkv.weight"] = [f"{query}.weight", f"{key}.weight", f"{value}.weight"]
            if self.biases == "q_bias":
                found[f"{theirs}.attn.q_bias"] = [f"{query}.bias"]
                found[f"{theirs}.attn.v_bias"] = [f"{value}.bias"]
            elif self.biases:
                found[f"{theirs}.attn.qkv.bias"] = [f"{query}.bias", "", f"{value}.bias"]
        if self.norm:
            found |= {f"{self.norm}.{part}": [f"{OUR_NORM[self.norm]}.{part}"] for part in PARTS}
        if self.kind == "classifier":
            found |= {f"head.{part}": [f"classifier.{part}"] for part in PARTS}
        if self.length_embedding:
            found["length_embed"] = ["embeddings.run_length_embeddings.weight"]
        return found


PARTS = ("weight", "bias")
OUR_NORM = {"fc_norm": "fc_norm", "norm": "layernorm"}


@dataclass
class NamedWeights:
    """Weights under their plain names, and what was set aside.

    Attributes:
        weights: by name, without prefixes.
        pretraining: names of the decoder and what belongs to it.
        positions: the table `(1, N, D)` of positions, if the checkpoint holds one.
    """

    weights: dict[str, Tensor]
    pretraining: list[str] = field(default_factory=list)
    positions: Tensor | None = None


def plain_names(source: Path, weights: dict[str, Tensor]) -> NamedWeights:
    """Returns the weights without the prefixes that trainers and wrappers put before their names.

    Raises:
        ValueError: if two weights get one name, or the names are those of transformers.
    """
    if any(".patch_embeddings.projection." in f".{name}" for name in weights):
        raise HfRltError(
            f"{source}: these are the weights of a Hugging Face folder: pass the folder with its config.json."
        )
    named = NamedWeights({})
    for name, value in weights.items():
        plain = name
        while prefix := next((p for p in PREFIXES if plain.startswith(p)), ""):
            plain = plain.removeprefix(prefix)
        if plain in named.weights:
            raise HfRltError(f"{source}: two weights are called {plain} (one is {name}): pass one checkpoint alone.")
        if plain.startswith(PRETRAINING_ONLY):
            named.pretraining.append(plain)
        else:
            named.weights[plain] = value
    named.positions = named.weights.pop("pos_embed", None)
    return named


def find_layout(source: Path, named: NamedWeights) -> Layout:
    """Returns the layout that the names tell.

    Raises:
        ValueError: naming what is missing and what is unexpected, unless the names are exactly those of one layout.
    """
    names = set(named.weights)
    if PATCHES not in names:
        raise HfRltError(
            f"{source}: expected a checkpoint of VideoMAE, VideoMAEv2 or RLT with a weight {PATCHES}, found "
            f"{listed(names)}."
        )
    depth = len({name.split(".")[1] for name in names if re.match(r"blocks\.\d+\.", name)})
    endings = [
        ending for ending in ("q_bias", "v_bias", "qkv.bias") if any(n.endswith(f".attn.{ending}") for n in names)
    ]
    classifier = any(name.startswith("head.") for name in names)
    has_fc_norm = any(name.startswith("fc_norm.") for name in names)
    pretrained = bool(named.pretraining) or not (classifier or has_fc_norm)
    layout = Layout(
        kind="classifier" if classifier and not named.pretraining else "pre-trained" if pretrained else "encoder",
        depth=depth,
        biases="" if not endings else "qkv.bias" if endings == ["qkv.bias"] else "q_bias",
        norm="fc_norm" if has_fc_norm else "norm",
        length_embedding="length_embed" in names,
    )
    expected = set(layout.names())
    check_keys(source, {"missing": expected - names, "unexpected": names - expected})
    return layout


def translate(
    source: Path, layout: Layout, weights: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Returns the weights under our names. What the wanted model has no place for is left out.

    Args:
        source: named in errors.
        layout: of the weights.
        weights: by plain name.
        shapes: of the wanted model's weights, by our names without the classifier's prefix.

    Raises:
        ValueError: naming the weights whose shapes differ from those that the configuration asks for.
    """
    found: dict[str, Tensor] = {}
    wrong: list[str] = []
    for name, ours in layout.names().items():
        value = weights[name]
        wanted = [shapes.get(our) for our in ours if our]
        if None in wanted:
            continue
        shape = wanted[0] if len(ours) == 1 else (3 * wanted[0][0], *wanted[0][1:])  # type: ignore[index,misc]
        if name == "length_embed":
            shape = (1, *shape)  # type: ignore[misc]
        if tuple(value.shape) != shape:
            wrong.append(f"{name} {tuple(value.shape)} instead of {shape}")
            continue
        parts = value.chunk(3) if len(ours) == 3 else (value[0] if name == "length_embed" else value,)
        found |= {our: part for our, part in zip(ours, parts, strict=True) if our}
    check_keys(source, {"of another shape": wrong})
    return found
