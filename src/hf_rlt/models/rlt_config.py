# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What every part of hf_rlt asks a configuration for, whatever the network is."""

import math
from collections.abc import Sequence
from typing import ClassVar

from .budget import token_number
from .run_rule import RunRule, rule_of
from .runs import grid_size, to_2tuple

RLT_PAPER = "[Choudhury et al., *Don't Look Twice*, NeurIPS 2024](https://arxiv.org/abs/2411.05222)"


class RLTConfigMixin:
    """Properties of a configuration that has these fields.

    Attributes:
        threshold: mean absolute difference of normalised pixels up to which a tubelet is dropped; None drops nothing.
        rule, max_tokens, num_tokens, budget, budget_groups: see `RunRule`.
        num_frames, num_channels, image_size: shape of a clip; image_size is a number or (height, width).
        tubelet_size, patch_size: shape of a tubelet.
        num_hidden_layers: number of blocks.
        length_embedding, proportional_attention, position_grid: see `RLTVideoMAEConfig`.
        network: on model cards, what RLT is built into, in Markdown.
        method, card_tags: name of the way in which tokens are saved, and tags of model cards.
    """

    network: ClassVar[str]
    method: ClassVar[str] = "RLT"
    card_tags: ClassVar[list[str]] = ["rlt", "run-length-tokenization"]
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["hidden_states", "attentions", "run_lengths"]

    # What not every family has.
    length_embedding: bool = False
    proportional_attention: bool = False
    position_grid: Sequence[int] | None = None
    rule: str = "threshold"
    max_tokens: float | int | None = None
    num_tokens: float | int | None = None
    budget: str = "clip"
    budget_groups: int = 1

    threshold: float | int | None
    num_frames: int
    num_channels: int
    image_size: int | Sequence[int]
    tubelet_size: int
    patch_size: int | Sequence[int]
    num_hidden_layers: int

    @property
    def run_rule(self) -> RunRule:
        """The rule by which the model finds runs when it is called without `run_lengths`."""
        return rule_of(self)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Frames, channels, height and width of a clip."""
        return (self.num_frames, self.num_channels, *to_2tuple(self.image_size))

    @property
    def grid(self) -> tuple[int, int, int]:
        """The grid (T, H', W') of tubelets of a clip."""
        return grid_size(self.clip_shape, self.tubelet_size, self.patch_size)

    @property
    def budget_tokens(self) -> int | None:
        """The tokens of a clip, on average if a batch shares them, in the rule's budget; None without one."""
        wanted, tokens = self.run_rule.wanted_tokens, math.prod(self.grid)
        return None if wanted is None else min(token_number(wanted, tokens), tokens)

    @property
    def card_sentence(self) -> str:
        """What a model card says about the method, in Markdown."""
        rule = self.run_rule
        if not rule.drops:
            return f"{self.network} as an RLT model with threshold none: every token is computed."
        height, width = to_2tuple(self.patch_size)
        before = "the one before it" if self.rule == "threshold" else "the last one that was computed"
        start = f"{self.network} with Run-Length Tokenization (RLT, {RLT_PAPER})."
        tubelet = f"{height} x {width} pixels of {self.tubelet_size} frames"
        tokens, most = math.prod(self.grid), ""
        if self.budget_tokens is not None:
            number, mean = f"{self.budget_tokens:,}", " on average" if self.budget == "batch" else ""
            if rule.num_tokens is not None or rule.threshold is None:
                return (
                    f"{start} Of the {tokens:,} tubelets of a clip, each {tubelet}, {number}{mean} are computed "
                    f"({rule.describe()}): the first at each place, and those that differ most from {before} there. "
                    f"Every {self.budget} costs the same, whatever it shows."
                )
            most = f", and no {self.budget} costs more than {number} of {tokens:,} tokens{mean}"
        return (
            f"{start} A tubelet, {tubelet}, is not computed if it hardly differs from {before} at the same place "
            f"({rule.describe()}): what stands still costs nothing{most}."
        )

    def token_counts(self, computed: int) -> list[int]:
        """List the tokens of a clip before the first block and after each block, if `computed` tokens are computed."""
        return [computed] * (self.num_hidden_layers + 1)

    def block_tokens(self, computed: int) -> list[tuple[int, int]]:
        """List the tokens in attention and in the MLP of each block."""
        return [(count, count) for count in self.token_counts(computed)[:-1]]

    def choice_flops(self, computed: int) -> int:
        """Count the operations of the matrix products that choose which tokens of a clip to merge or discard."""
        return 0
