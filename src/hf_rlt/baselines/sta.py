# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""STA: in three blocks, discard tokens that earlier time slots already showed (semantic-aware temporal accumulation)."""

from typing import ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from ..models.packing import PackedLayout
from .token_reduction import (
    KeyMetricLayer,
    TokenReductionEncoder,
    TokenReductionVideoMAEModel,
    baseline_sentence,
    check_pooling,
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
        """Raise HfRltError if r, depth, clip length, threshold or pooling do not fit."""
        check_pooling(self, "STA")
        if self.run_rule.drops or self.proportional_attention:
            raise HfRltError(
                f"STA needs every token, for itself, received {self.run_rule.describe()}: pass threshold=None, no budget, "
                "and proportional_attention=False."
            )
        if self.r < 0:
            raise HfRltError(f"Expected r >= 0 (tokens that leave each time slot), received {self.r}.")
        if self.num_hidden_layers < STAGES or self.grid[0] % 4:  # slots are fused two by two, twice
            raise HfRltError(
                f"Expected at least {STAGES} blocks and a number of tubelets in time that 4 divides, received "
                f"{self.num_hidden_layers} and {self.grid[0]}."
            )

    @property
    def card_sentence(self) -> str:
        """What a model card says about the model's method, in Markdown."""
        detail = f"{self.r} tokens leave each time slot in each of three stages."
        return baseline_sentence(self, "Semantic-aware Temporal Accumulation (STA)", detail)

    def stages(self) -> dict[int, int]:
        """Map each block after which tokens leave to the number of its time slots."""
        depth = self.num_hidden_layers
        return {stage * depth // STAGES: self.grid[0] >> stage for stage in range(STAGES)}

    def token_counts(self, computed: int) -> list[int]:
        """List the tokens of a clip before the first block and after each; raise HfRltError if r leaves none of a slot."""
        stages, counts = self.stages(), [computed]
        for block in range(self.num_hidden_layers):
            slots = stages.get(block, 0)
            if slots and self.r >= counts[-1] // slots:
                left = f"{counts[-1] // slots} tokens of a time slot after block {block}"
                raise HfRltError(f"Expected r below the {left}, received {self.r}: nothing would be left.")
            counts.append(counts[-1] - slots * self.r)
        return counts

    def choice_flops(self, computed: int) -> int:
        """Count the operations of the matrix products that find what leaves one clip."""
        head, counts, total = self.hidden_size // self.num_attention_heads, self.token_counts(computed), 0
        for block, slots in self.stages().items() if self.r else ():
            n = counts[block] // slots
            total += 2 * (n - n // 2) * (n // 2) * head
            for visit in range(1, slots):
                before = n if visit == 1 else n - self.r
                total += 2 * n * before * (head + (visit > 1))
        return total


def semantic_score(tokens: Tensor) -> Tensor:
    """Score tokens `(B, n, D)` of a slot in [0, 1]: the sum of |x| over channels, scaled to the slot's range."""
    strength = tokens.detach().to(torch.promote_types(tokens.dtype, torch.float32)).abs().sum(2)
    lowest, highest = strength.aminmax(dim=1, keepdim=True)
    return (strength - lowest) / (highest - lowest).clamp(min=torch.finfo(torch.float32).tiny)


def accumulate(tokens: Tensor, metric: Tensor, slots: int, r: int, backward: bool) -> Tensor:
    """Choose the tokens that stay, `(B, n')` indices: all but r of each time slot, slot after slot in time.

    The first slot that is visited loses its even tokens that are most like an odd one. In later ones a token's accumulated
    score says how much of the slot visited before it takes over, weighted by what that one had taken over; it leaves if
    the score is high and its own features are weak.

    Args:
        tokens: `(B, n, D)`, time-major, a block's output.
        metric: `(B, n, d)` of length 1, of the same block's keys.
        slots: number of time slots.
        r: tokens that leave each slot.
        backward: whether the last slot is visited first.
    """
    keys = metric.to(torch.promote_types(metric.dtype, torch.float32)).unflatten(1, (slots, -1))
    scores = semantic_score(tokens.unflatten(1, (slots, -1)).flatten(0, 1)).unflatten(0, (-1, slots))
    size = keys.shape[2]
    kept, before, weights = {}, None, None
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
    """Choose the tokens of the slot visited first that stay `(B, n - r)`; also order all keys by the choice."""
    batch, size, width = keys.shape
    match = (keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)).amax(2) if size > 1 else keys.new_zeros((batch, 1))
    odd = torch.arange(1, size, 2, device=keys.device).expand(batch, -1)
    order = torch.cat([odd, match.argsort(dim=1, stable=True) * 2], dim=1)
    return order[:, : size - r], keys.gather(1, order[..., None].expand(-1, -1, width))


class STAVideoMAELayer(KeyMetricLayer):
    """VideoMAE's block that also returns the metric of its keys."""

    def forward(self, hidden_states: Tensor, attention: dict) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return tokens `(B, n, D)` and metric `(B, n, head size)`."""
        hidden_states, metric = self.attention_block(hidden_states, **attention)
        return self.feed_forward(hidden_states, None, None), metric


class STAVideoMAEEncoder(TokenReductionEncoder):
    """VideoMAE's blocks, discarding tokens after three of them."""

    _layer_class = STAVideoMAELayer

    def compute(self, block, tokens, sizes, step):
        """Compute a block, see `TokenReductionEncoder`; all tokens count the same."""
        tokens, metric = self.layer[block](tokens, attention=step.attention)
        if step.after.total == step.before.total:
            return tokens, None, None
        stages = self.config.stages()
        backward = list(stages).index(block) == 1
        with torch.autocast(tokens.device.type, enabled=False):  # what leaves is not decided by rounding
            stays = accumulate(tokens, metric, stages[block], self.config.r, backward)
        tokens = tokens.gather(1, stays[..., None].expand(-1, -1, tokens.shape[2]))
        return tokens, None, kept_positions(stays, step.before, step.after)


def kept_positions(stays: Tensor, before: PackedLayout, after: PackedLayout) -> Tensor:
    """Number the places `(L,)` of tokens among those that stay `(B, n')`; -1 for those that left."""
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

    def _layouts(self, layout: PackedLayout, device: torch.device) -> list[PackedLayout]:
        if not layout.is_dense:
            raise HfRltError(
                "STA needs every token of a clip: leave run_lengths out, or set the processor's threshold to None."
            )
        return super()._layouts(layout, device)


class STAVideoMAEForVideoClassification(RLTVideoMAEForVideoClassification):
    """VideoMAE's classifier with semantic-aware temporal accumulation; the mean over what is left is unweighted."""

    config_class = STAVideoMAEConfig
    _base_model_class = STAVideoMAEModel
