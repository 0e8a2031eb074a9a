# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""ToMe: in every block, merge the r tokens that are most like others (token merging), here on VideoMAE."""

from itertools import pairwise
from typing import ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from ..models.packing import PackedLayout, layout_of_lengths, unpack
from .token_reduction import (
    KeyMetricLayer,
    Step,
    TokenReductionEncoder,
    TokenReductionVideoMAEModel,
    after_rlt,
    baseline_sentence,
    check_pooling,
)


@strict
class ToMeVideoMAEConfig(RLTVideoMAEConfig):
    """Configuration of ToMe: every field of `RLTVideoMAEConfig`, and these.

    Args:
        r: tokens merged in each block, or a list with one number for each block. A block never merges more than half.
        inflection: for a number r, changes it from block to block along a line of mean r: -1 falls from 2r to 0, 0 is the
            same everywhere, 1 rises from 0 to 2r.
        proportional_attention: as in RLT. ToMe's authors leave it off for masked autoencoders, as VideoMAE is.
        threshold: None merges all tokens of a clip; a number merges those that RLT computes (RLT with ToMe), each of which
            counts as one token in means, and with proportional attention as its run length.

    Source: Bolya et al., Token Merging, ICLR 2023.
    """

    model_type = "tome_videomae"
    method: ClassVar[str] = "ToMe"
    card_tags: ClassVar[list[str]] = ["tome", "token-merging"]

    threshold: float | int | None = None
    r: int | list[int] = 0
    inflection: float | int = 0.0

    def validate_merging(self) -> None:
        """Raise HfRltError if r, inflection or pooling do not fit."""
        check_pooling(self, "ToMe")
        depth = self.num_hidden_layers
        counts = self.r if isinstance(self.r, list) else [self.r] * depth
        if len(counts) != depth or min(counts) < 0:
            raise HfRltError(f"Expected r >= 0, or a list of one for each of {depth} blocks, received {self.r}.")
        if not -1 <= self.inflection <= 1 or (isinstance(self.r, list) and self.inflection):
            raise HfRltError(f"Expected inflection in [-1, 1], 0 with a list of r, received {self.inflection}.")

    @property
    def card_sentence(self) -> str:
        """What a model card says about the model's method, in Markdown."""
        merged = ", ".join(map(str, self.r)) if isinstance(self.r, list) else f"{self.r} each"
        if self.inflection:
            merged += f" (on average, inflection {self.inflection:g})"
        return baseline_sentence(
            self, "Token Merging (ToMe)", f"Its blocks merge so many tokens: {merged}{after_rlt(self)}."
        )

    def schedule(self) -> list[int]:
        """List how many tokens each block is to merge, before the limit of half of them."""
        if isinstance(self.r, list):
            return list(self.r)
        depth = self.num_hidden_layers
        slopes = [2 * block / (depth - 1) - 1 if depth > 1 else 0.0 for block in range(depth)]
        return [int(self.r * (1 + self.inflection * slope)) for slope in slopes]

    def token_counts(self, computed: int) -> list[int]:
        """List the tokens of a clip before the first block and after each block."""
        counts = [computed]
        for r in self.schedule():
            counts.append(counts[-1] - min(r, counts[-1] // 2))
        return counts

    def block_tokens(self, computed: int) -> list[tuple[int, int]]:
        """List the tokens in attention and in the MLP of each block: merging stands between them."""
        return list(pairwise(self.token_counts(computed)))

    def choice_flops(self, computed: int) -> int:
        """Count the operations of the matrix products that find what to merge in one clip."""
        head = self.hidden_size // self.num_attention_heads
        merging = [before for before, after in self.block_tokens(computed) if after < before]
        return sum(2 * (n - n // 2) * (n // 2) * head for n in merging)


def merge(
    tokens: Tensor, sizes: Tensor | None, metric: Tensor, before: PackedLayout, after: PackedLayout
) -> tuple[Tensor, Tensor, Tensor]:
    """Merge tokens: return them `(B, n', D)` or `(1, L', D)`, their sizes `(L', 2)`, and where each token went `(L,)`.

    Even tokens (A) look for the most similar odd one (B); the most similar pairs become one token each, the mean weighted
    by sizes. What stays stands as [unmerged A, falling by similarity; B], clip after clip. Works on clips of any lengths
    at once, without reading anything back from the device.

    Args:
        tokens: `(B, n, D)`, or `(1, L, D)`.
        sizes: `(L, 2)` how many tokens and how many tubelets each stands for; None: one.
        metric: `(B, n, d)` or `(1, L, d)`, of length 1.
        before: the layout of `tokens`.
        after: the layout wanted; what is missing is merged, at most half of a clip.
    """
    order, partner = pairs(metric, before)
    taken = tuple(old - new for old, new in zip(before.lengths, after.lengths, strict=True))
    lengths = torch.diff(before.cu_seqlens).long()
    count = lengths - torch.diff(after.cu_seqlens)
    unmerged = (lengths + 1) // 2 - count
    clip, slot = after.clip_ids, after.indices % after.positions
    stays = order[clip, (slot + count[clip]).clamp(max=order.shape[1] - 1)] * 2
    rows = torch.where(slot < unmerged[clip], stays, (slot - unmerged[clip]) * 2 + 1) + before.cu_seqlens[clip]
    merged = layout_of_lengths(taken, count)
    clip, slot = merged.clip_ids, merged.indices % merged.positions
    even = order[clip, slot]
    gone = even * 2 + before.cu_seqlens[clip]
    into = after.cu_seqlens[clip] + unmerged[clip] + partner[clip, even]
    flat = tokens.flatten(0, 1)
    wide = torch.promote_types(flat.dtype, torch.float32)  # a half would overflow: sizes reach hundreds
    sizes = flat.new_ones((before.total, 2), dtype=wide) if sizes is None else sizes
    summed = sizes[rows].index_add(0, into, sizes[gone])
    weighted = flat * sizes[:, :1]
    means = (weighted[rows].index_add(0, into, weighted[gone]) / summed[:, :1]).to(flat.dtype)
    went = rows.new_empty(before.total)
    went[rows] = torch.arange(after.total, device=rows.device)
    went[gone] = into
    shape = (after.batch, after.max_length) if after.is_uniform else (1, after.total)
    return means.reshape(*shape, -1), summed, went


def pairs(metric: Tensor, layout: PackedLayout) -> tuple[Tensor, Tensor]:
    """Find each clip's even tokens, the most similar to an odd one first, and which odd one each is most like.

    Both `(B, A)` int64, counting even tokens and odd tokens from 0; even tokens beyond a clip's length come last. In
    float32 whatever the model computes in: rounding would make ties, and ties an arbitrary choice.
    """
    grid = metric if layout.is_uniform else unpack(metric, layout)
    grid = grid.to(torch.promote_types(metric.dtype, torch.float32))
    with torch.autocast(metric.device.type, enabled=False):
        scores = grid[:, ::2] @ grid[:, 1::2].transpose(1, 2)  # (B, A, B')
    if not layout.is_uniform:
        outside = torch.arange(layout.positions, device=metric.device) >= torch.diff(layout.cu_seqlens)[:, None]
        scores = scores.masked_fill(outside[:, None, 1::2], -2.0)  # below any cosine
    best, partner = scores.max(2)
    if not layout.is_uniform:
        best = best.masked_fill(outside[:, ::2], -3.0)
    return best.argsort(dim=1, descending=True, stable=True), partner


class ToMeVideoMAELayer(KeyMetricLayer):
    """VideoMAE's block that merges tokens between attention and MLP."""

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, sizes: Tensor | None, step: Step, proportional: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return tokens, sizes, and where each token went (None: all stayed)."""
        bias = None
        if proportional and sizes is not None:
            bias = sizes[:, 1].log().view(len(hidden_states), 1, 1, -1)
        hidden_states, metric = self.attention_block(hidden_states, **step.attention, key_bias=bias)
        went = None
        if step.after.total < step.before.total:
            hidden_states, sizes, went = merge(hidden_states, sizes, metric, step.before, step.after)
        return self.feed_forward(hidden_states, **step.mlp), sizes, went


class ToMeVideoMAEEncoder(TokenReductionEncoder):
    """VideoMAE's blocks, merging."""

    _layer_class = ToMeVideoMAELayer

    def compute(self, block, tokens, sizes, step):
        """Compute a block, see `TokenReductionEncoder`."""
        proportional = self.config.proportional_attention
        tokens, sizes, went = self.layer[block](tokens, sizes=sizes, step=step, proportional=proportional)
        # Reentrant checkpointing gives everything a gradient.
        return tokens, None if sizes is None else sizes.detach(), went


class ToMeVideoMAEModel(TokenReductionVideoMAEModel):
    """VideoMAE's encoder with token merging; merged tokens stand for k, and count k times in the pool.

    Source: Bolya et al., Token Merging, ICLR 2023. Departures: similarities and weighted means are computed in float32 at
    least; clips of unequal length are merged side by side.
    """

    config_class = ToMeVideoMAEConfig
    _encoder_class = ToMeVideoMAEEncoder


class ToMeVideoMAEForVideoClassification(RLTVideoMAEForVideoClassification):
    """VideoMAE's classifier with token merging."""

    config_class = ToMeVideoMAEConfig
    _base_model_class = ToMeVideoMAEModel
