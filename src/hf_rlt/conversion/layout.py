# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How the original checkpoints of a family name their weights, and what these say of their model."""

import re
from typing import Any, ClassVar

from ..families import FAMILIES, Family
from .key_names import NamedWeights
from .source import ConversionSettings

# Queries, keys and values that are one matrix in the original, in this order.
FUSED = {"attn": ("qkv", ("query", "key", "value")), "xattn": ("kv", ("key", "value"))}


class Layout:
    """A family's original checkpoints.

    Attributes:
        kind: model type of the family.
        origins: whose checkpoints these are, for messages.
        renamed: our parts of names and theirs, replaced in this order.
        heads: attention heads of the published models by their width.
        clip: `num_frames` and `image_size` of the published models.
        head: how the names of a classifier's last layer begin.
        untraced: why weights do not tell the clip.
    """

    kind: ClassVar[str]
    origins: ClassVar[str]
    renamed: ClassVar[dict[str, str]]
    heads: ClassVar[dict[int, int]]
    clip: ClassVar[dict[str, int]]
    head: ClassVar[str] = "head."
    untraced: ClassVar[str]

    @property
    def family(self) -> Family:
        """The family."""
        return FAMILIES[self.kind]

    def knows(self, names: set[str]) -> bool:
        """Return whether plain names are those of this layout."""
        raise NotImplementedError

    def tidy(self, named: NamedWeights) -> NamedWeights:
        """Set aside what no model has a place for."""
        return named

    def fields(self, named: NamedWeights, settings: ConversionSettings) -> dict[str, Any]:
        """Return those fields of the configuration that not every family has."""
        raise NotImplementedError

    def told_clip(self, named: NamedWeights, settings: ConversionSettings, tubelet: int, patch: int) -> dict[str, int]:
        """Return `num_frames` and `image_size` as far as the file tells them."""
        return {}

    def check_positions(self, named: NamedWeights, config: Any) -> None:
        """Raise HfRltError if positions in the file are not those that the model computes."""

    def sampling(self, named: NamedWeights) -> dict[str, Any]:
        """Return settings of the processor that the file tells."""
        return {}

    def describe(self, named: NamedWeights) -> str:
        """Say in words what the file holds."""
        raise NotImplementedError

    def remarks(self, named: NamedWeights) -> list[str]:
        """Return notes on what was dropped, or may not carry over."""
        return []

    def original_name(self, ours: str, has_key_bias: bool) -> tuple[str, tuple[int, int] | None]:
        """Return the original name of one of our weights, and which part of how many of that weight it is; None for all."""
        for part, original in self.renamed.items():
            ours = ours.replace(part, original)
        found = re.fullmatch(r"(.*\.)(attn|xattn)\.(query|key|value)\.(weight|bias)", ours)
        if found is None:
            return ours, None
        before, attention, part, kind = found.groups()
        if kind == "bias" and not has_key_bias:
            return f"{before}{attention}.{part[0]}_bias", None
        name, parts = FUSED[attention]
        return f"{before}{attention}.{name}.{kind}", (parts.index(part), len(parts))
