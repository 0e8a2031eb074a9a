# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""STA: in three blocks, discard tokens that earlier time slots already showed (semantic-aware temporal accumulation)."""

from typing import ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.layers_rlt_videomae import RLTVideoMAEEncoder
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from ..models.packing import PackedLayout
from .token_reduction import (
    KeyedSelfAttention,
    KeyMetricLayer,
    TokenReductionVideoMAEModel,
    baseline_sentence,
    blockwise,
    check_pooling,
    compose,
)

STAGES = 3


@strict
class STAVideoMAEConfig(RLTVideoMAEConfig):
    """Configuration of STA: every field of `RLTVideoMAEConfig`, and these.

    Args:
        r: tokens that leave each time slot in each of the three stages. With 8 tubelets in time 14 r tokens leave in all.
        threshold: None: STA compares whole time slots, so runs cannot be dropped before.

    Source: Ding et al., Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation, ICCV 2023.
    """

    model_type = "sta_videomae"
    method: ClassVar[str] = "STA"
    card_tags: ClassVar[list[str]] = ["sta", "semantic-aware-temporal-accumulation"]

    threshold: float | int | None = None
    r: int = 0

    def validate_accumulation(self) -> None:
        """Returns nothing; raises if r, depth, clip length, threshold or pooling do not fit."""
        check_pooling(self, "STA")
        if self.threshold is not None:
            raise HfRltError(
                f"Expected threshold=None, received {self.threshold}: STA needs all tokens of each time slot."
            )
        if self.proportional_attention:
            raise HfRltError("Expected proportional_attention=False, received True: in STA no token stands for others.")
        if self.r < 0:
            raise HfRltError(f"Expected r >= 0 (tokens that leave each time slot), received {self.r}.")
        if self.num_hidden_layers < STAGES:
            raise HfRltError(f"Expected at least {STAGES} blocks for STA's stages, received {self.num_hidden_layers}.")
        if (self.num_frames // self.tubelet_size) % 4:
            raise HfRltError(
                f"Expected a number of tubelets in time that 4 divides (slots are fused two by two, twice), received "
                f"{self.num_frames // self.tubelet_size}: change num_frames."
            )

    @property
    def card_sentence(self) -> str:
        """What a model card says about the model's method, in Markdown."""
        detail = f"{self.r} tokens leave each time slot in each of three stages."
        return baseline_sentence("Semantic-aware Temporal Accumulation (STA)", detail)

    @property
    def tubelets(self) -> int:
        """The number of tubelets in time."""
        return self.num_frames // self.tubelet_size

    def stages(self) -> dict[int, int]:
        """Returns for each block after which tokens leave the number of its time slots."""
        depth = self.num_hidden_layers
        return {stage * depth // STAGES: self.tubelets >> stage for stage in range(STAGES)}

    def token_counts(self, tokens: int) -> list[int]:
        """Returns the tokens of a clip before the first block and after each block.

        Raises:
            ValueError: if r leaves nothing of a slot.
        """
        stages, counts = self.stages(), [tokens]
        for block in range(self.num_hidden_layers):
            slots = stages.get(block, 0)
            if slots and self.r >= counts[-1] // slots:
                raise HfRltError(
                    f"Expected r below {counts[-1] // slots}, the tokens of a time slot after block {block}, received "
                    f"{self.r}: nothing would be left."
                )
            counts.append(counts[-1] - slots * self.r)
        return counts

    def choice_flops(self, tokens: int) -> int:
        """Returns the operations of the matrix products that find what leaves one clip."""
        head, counts, total = self.hidden_size // self.num_attention_heads, self.token_counts(tokens), 0
        for block, slots in self.stages().items() if self.r else ():
            n = counts[block] // slots
            total += 2 * (n - n // 2) * (n // 2) * head
            for visit in range(1, slots):
                before = n if visit == 1 else n - self.r
                total += 2 * n * before * (head + (visit > 1))
        return total


def semantic_score(tokens: Tensor) -> Tensor:
    """Returns `(B, n)` in [0, 1]: the sum of |x| over channels, scaled to the range of the slot `(B, n, D)`."""
    strength = tokens.detach().to(torch.promote_types(tokens.dtype, torch.float32)).abs().sum(2)
    lowest, highest = strength.aminmax(dim=1, keepdim=True)
    return (strength - lowest) / (highest - lowest).clamp(min=torch.finfo(torch.float32).tiny)


def accumulate(tokens: Tensor, metric: Tensor, slots: int, r: int, backward: bool) -> Tensor:
    """Returns the indices `(B, n')` of the tokens that stay: all but r of each time slot, slot after slot in time.

    The first slot that is visited loses its even tokens that are most like an odd one. In later ones a token's accumulated
    score says how much of the slot visited before it takes over, weighted by what that one had taken over; it leaves if
    the score is high and its own features are weak.

    Args:
        tokens: `(B, n, D)`, time-major, n a multiple of `slots`: a block's output.
        metric: `(B, n, d)` of length 1, of the same block's keys.
        slots: time slots.
        r: tokens that leave each slot.
        backward: whether the last slot is visited first.
    """
    keys = metric.to(torch.promote_types(metric.dtype, torch.float32)).unflatten(1, (slots, -1))
    scores = semantic_score(tokens.unflatten(1, (slots, -1)).flatten(0, 1)).unflatten(0, (-1, slots))
    size = keys.shape[2]
    kept: dict[int, Tensor] = {}
    before: Tensor | None = None
    weights: Tensor | None = None
    for slot in reversed(range(slots)) if backward else range(slots):
        own = keys[:, slot]
        if before is None:
            stays, before = first_slot(own, r)
        else:
            taken = (own @ before.transpose(1, 2)).softmax(1)  # (B, n of this slot, n of the one before)
            share = taken.sum(2) if weights is None else (taken @ weights[..., None])[..., 0]
            stays = (share * (1 - scores[:, slot])).argsort(dim=1, stable=True)[:, : size - r]
            weights = share.gather(1, stays)
            weights = weights / weights.sum(1, keepdim=True)
            before = own.gather(1, stays[..., None].expand(-1, -1, own.shape[2]))
        kept[slot] = stays + slot * size
    return torch.cat([kept[slot] for slot in range(slots)], dim=1)


def first_slot(keys: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """Returns which tokens of the slot visited first stay `(B, n - r)`, and all keys in the order of the choice."""
    batch, size, width = keys.shape
    match = (keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)).amax(2) if size > 1 else keys.new_zeros((batch, 1))
    odd = torch.arange(1, size, 2, device=keys.device).expand(batch, -1)
    order = torch.cat([odd, match.argsort(dim=1, stable=True) * 2], dim=1)
    return order[:, : size - r], keys.gather(1, order[..., None].expand(-1, -1, width))


class STAVideoMAELayer(KeyMetricLayer):
    """VideoMAE's block; returns its output and the metric of its keys."""

    def forward(self, hidden_states: Tensor, attention: dict) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Returns `(B, n, D)` tokens and `(B, n, head size)` metric."""
        hidden_states, metric = self.attend(hidden_states, **attention)
        return self.feed_forward(hidden_states, None, None), metric


class STAVideoMAEEncoder(RLTVideoMAEEncoder):
    """VideoMAE's blocks, discarding tokens after three of them."""

    _layer_class = STAVideoMAELayer

    def forward(self, tokens: Tensor, layouts, options, trace: bool, spans: Tensor | None):  # type: ignore[override]
        """Returns tokens, None for sizes (all count the same), and places, see `TokenReductionVideoMAEModel`."""
        stages, source = self.config.stages(), None
        visits = list(stages)
        for block, (layer, (before, after, attention, _)) in enumerate(
            zip(self.layer, blockwise(layouts, options), strict=True)
        ):
            tokens, metric = layer(tokens, attention=attention)
            if after.total == before.total:
                continue
            with torch.autocast(tokens.device.type, enabled=False):  # what leaves is not decided by rounding
                stays = accumulate(tokens, metric, stages[block], self.config.r, backward=visits.index(block) == 1)
            tokens = tokens.gather(1, stays[..., None].expand(-1, -1, tokens.shape[2]))
            if trace:
                source = compose(source, left(stays, before, after))
        return tokens, None, source


def left(stays: Tensor, before: PackedLayout, after: PackedLayout) -> Tensor:
    """Returns `(L,)`: the place of each token among those that stay `(B, n')`, -1 for those that left."""
    places = stays.new_full((before.total,), -1)
    rows = stays + torch.arange(before.batch, device=stays.device)[:, None] * before.max_length
    places[rows.flatten()] = torch.arange(after.total, device=stays.device)
    return places


class STAVideoMAEModel(TokenReductionVideoMAEModel):
    """VideoMAE's encoder with semantic-aware temporal accumulation. All clips must be dense.

    Source: Ding et al., ICCV 2023. Where the paper is silent: tokens that stay are ordered by their score.
    """

    config_class = STAVideoMAEConfig
    _encoder_class = STAVideoMAEEncoder
    _can_record_outputs = {"hidden_states": STAVideoMAELayer, "attentions": KeyedSelfAttention}  # noqa: RUF012
    _no_split_modules = ["RLTVideoMAEEmbeddings", "STAVideoMAELayer"]  # noqa: RUF012

    def _layouts(self, layout: PackedLayout, device: torch.device) -> list[PackedLayout]:
        if not layout.is_dense:
            raise HfRltError(
                f"STA needs every token of a clip ({layout.positions}), received run_lengths that keep "
                f"{min(layout.lengths)}: leave run_lengths out, or set the processor's threshold to None."
            )
        return super()._layouts(layout, device)


class STAVideoMAEForVideoClassification(RLTVideoMAEForVideoClassification):
    """VideoMAE's classifier with semantic-aware temporal accumulation; the mean over what is left is unweighted."""

    config_class = STAVideoMAEConfig
    _base_model_class = STAVideoMAEModel
    _no_split_modules = STAVideoMAEModel._no_split_modules


register_checkpoint_conversion_mapping(
    "STAVideoMAEModel", get_checkpoint_conversion_mapping("videomae"), overwrite=True
)
