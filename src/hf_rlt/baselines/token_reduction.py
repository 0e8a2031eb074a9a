# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the baselines share: blocks that lose tokens, the way back to the grid, and words for model cards."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import HfRltError
from ..models.attention_rlt_videomae import RLTVideoMAESelfAttention
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.layers_rlt_videomae import RLTVideoMAEAttention, RLTVideoMAEEncoder, RLTVideoMAELayer
from ..models.modeling_rlt_videomae import RLTVideoMAEModel
from ..models.packing import PackedLayout, layout_of_lengths, mean_per_sequence, pack
from ..models.rlt_config import RLTConfigMixin
from ..models.rlt_model import Pool


def baseline_sentence(config: RLTConfigMixin, name: str, detail: str) -> str:
    """Write a baseline's `card_sentence`."""
    return f"{config.network} with {name}, a baseline that RLT is compared with, not an RLT model. {detail}"


def after_rlt(config: RLTConfigMixin) -> str:
    """Say on a card that a method starts from the tokens that RLT computes, if it does."""
    rule = config.run_rule
    return f", of those that RLT computes ({rule.describe()})" if rule.drops else ""


def check_pooling(config: RLTVideoMAEConfig, method: str) -> None:
    """Raise HfRltError if the classifier looks at the first token, which a method may remove."""
    if not config.use_mean_pooling:
        raise HfRltError(f"{method} changes which token is the first: expected use_mean_pooling=True, received False.")


class KeyMetricSelfAttention(RLTVideoMAESelfAttention):
    """VideoMAE's attention that also returns ToMe's metric: keys averaged over heads, of length 1, without gradient."""

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor | None, Tensor]:  # type: ignore[override]
        """Return the context, the probabilities if the backend gives them, and the metric."""
        query, key, value = self.project(hidden_states)
        metric = F.normalize(key.detach().mean(1), dim=-1)
        return *self.attend(query, key, value, **kwargs), metric


class KeyMetricAttention(RLTVideoMAEAttention):
    """VideoMAE's attention block that also returns the metric."""

    _self_attention_class = KeyMetricSelfAttention

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the block's output `(B, n, D)` and the metric `(B, n, head size)`."""
        context, _, metric = self.attention(hidden_states, **kwargs)
        return self.output(context, hidden_states), metric


class KeyMetricLayer(RLTVideoMAELayer):
    """VideoMAE's block in two halves, between which tokens may leave."""

    _attention_class = KeyMetricAttention

    def attention_block(
        self, hidden_states: Tensor, clip_ids: Tensor | None = None, clips: int | None = None, **kwargs
    ) -> tuple[Tensor, Tensor]:
        """Compute the block's first half, and the metric of its keys."""
        attended, metric = self.attention(self.layernorm_before(hidden_states), **kwargs)
        return self._drop_clips(attended, clip_ids, clips) + hidden_states, metric


class Step(NamedTuple):
    """A block's layouts before and after it, and the arguments of its attention and of its MLP."""

    before: PackedLayout
    after: PackedLayout
    attention: dict[str, Any]
    mlp: dict[str, Any]


class TokenReductionEncoder(RLTVideoMAEEncoder):
    """VideoMAE's blocks, each of which may lose tokens."""

    def forward(  # type: ignore[override]
        self, tokens: Tensor, layouts: list[PackedLayout], options: list[dict], trace: bool, sizes: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute the blocks.

        Args:
            tokens: `(B, n, D)`, or a pack `(1, L, D)`.
            layouts: before each block, and after the last.
            options: the attention's arguments for each layout.
            trace: whether to follow where tokens go.
            sizes: `(L, 2)` how many tokens and tubelets each token stands for; None: one.

        Returns:
            Tokens, their sizes and, if `trace`, the place `(L,)` of the one that now stands for each token that came, -1 if
            it was discarded (None: all stayed).
        """
        source = None
        for block in range(len(self.layer)):
            mlp = {name: options[block + 1].get(name) for name in ("clip_ids", "clips")}
            step = Step(layouts[block], layouts[block + 1], options[block], mlp)
            tokens, sizes, went = self.compute(block, tokens, sizes, step)
            if trace and went is not None:
                source = went if source is None else torch.where(source < 0, source, went[source.clamp(min=0)])
        return tokens, sizes, source

    def compute(
        self, block: int, tokens: Tensor, sizes: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute a block: return its tokens, their sizes, and where each token went `(L,)` (None: all stayed)."""
        raise NotImplementedError


class TokenReductionVideoMAEModel(RLTVideoMAEModel):
    """VideoMAE's encoder with blocks that lose tokens; base of ToMe and STA.

    In `last_hidden_state` merged tokens stand at all places they were merged from; places of discarded tokens are zero.
    """

    _encoder_class = TokenReductionEncoder

    def _encode(
        self, tokens: Tensor, run_lengths: Tensor, layout: PackedLayout, captured: bool, wanted: bool, pool: Pool
    ) -> tuple[Tensor | None, Tensor]:
        layouts = self._layouts(layout, run_lengths.device)
        if captured and not all(each.is_uniform for each in layouts):
            raise HfRltError("Hidden states of clips of unequal length cannot be stacked: pass clips one by one.")
        # Of a pack only the shape is looked at, which another block's is not.
        options = [self._packed_arguments(tokens.new_empty(1, each.total, 1), each) for each in layouts]
        sizes = None
        if self.config.proportional_attention and not layout.is_dense:
            spans = pack(run_lengths, layout)[0].float()
            sizes = torch.stack([torch.ones_like(spans), spans], dim=1)
        tokens, sizes, source = self.encoder(tokens, layouts, options, trace=wanted, sizes=sizes)
        filled = None
        if wanted:
            flat = tokens.flatten(0, 1)
            if source is not None:
                flat = flat[source.clamp(min=0)].masked_fill((source < 0)[:, None], 0)
            # The dense path takes (B, N, D) as it is, the others a pack.
            shape = (layout.batch, layout.positions, -1) if layout.is_dense else (1, layout.total, -1)
            filled = self._on_grid(flat.reshape(shape), run_lengths, layout)
        pooled = mean_per_sequence(tokens, layouts[-1])
        if sizes is not None and layouts[-1] is not layouts[0]:
            sizes = sizes[:, :1].view(*tokens.shape[:2], 1)
            weighted = mean_per_sequence(tokens * sizes, layouts[-1]) / mean_per_sequence(sizes, layouts[-1])
            pooled = weighted.to(tokens.dtype)
        return filled, pooled

    def _layouts(self, layout: PackedLayout, device: torch.device) -> list[PackedLayout]:
        """Make the layouts before the first block and after each; lengths follow from the configuration."""
        lengths = list(zip(*map(self.config.token_counts, layout.lengths), strict=True))
        counts = torch.tensor(lengths).to(device, non_blocking=True)  # all blocks in one copy
        layouts = [layout_of_lengths(lengths[0], counts[0])]
        for block in range(1, len(lengths)):
            same = lengths[block] == lengths[block - 1]
            layouts.append(layouts[-1] if same else layout_of_lengths(lengths[block], counts[block]))
        return layouts
