# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What ToMe and STA share: attention that shows its keys, blocks that lose tokens, and the way back to the grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..errors import HfRltError
from ..models.attention_rlt_videomae import RLTVideoMAESelfAttention
from ..models.configuration_rlt_videomae import VIDEOMAE_LINK, RLTVideoMAEConfig
from ..models.layers_rlt_videomae import RLTVideoMAEAttention, RLTVideoMAELayer
from ..models.modeling_rlt_videomae import RLTVideoMAEModel, RLTVideoMAEModelOutput
from ..models.packing import PackedLayout, layout_of_lengths, mean_per_sequence, pack, packed_layout


def baseline_sentence(name: str, detail: str) -> str:
    """Return a baseline's `card_sentence`."""
    return f"{VIDEOMAE_LINK} with {name}, a baseline that RLT is compared with, not an RLT model. {detail}"


def after_rlt(config: RLTVideoMAEConfig) -> str:
    """Return the words that say that a method starts from the tokens that RLT computes, if it does."""
    return "" if config.threshold is None else f", of those that RLT computes (threshold {config.threshold:g})"


class KeyedSelfAttention(RLTVideoMAESelfAttention):
    """VideoMAE's attention that also shows what its keys say of the tokens. Same parameters."""

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor | None, Tensor]:  # type: ignore[override]
        """Returns the context, the probabilities if the backend gives them, and the metric.

        The metric is `(B, n, head size)`: keys averaged over heads, of length 1, without gradient. Arguments are those of
        `RLTVideoMAESelfAttention`.
        """
        query, key, value = self.project(hidden_states)
        metric = F.normalize(key.detach().mean(1), dim=-1)
        return *self.attend(query, key, value, **kwargs), metric


class KeyMetricAttention(RLTVideoMAEAttention):
    """VideoMAE's attention block; returns its output and the metric."""

    _self_attention_class = KeyedSelfAttention

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Returns the block's output `(B, n, D)` and the metric `(B, n, head size)`."""
        context, _, metric = self.attention(hidden_states, **kwargs)
        return self.output(context, hidden_states), metric


class KeyMetricLayer(RLTVideoMAELayer):
    """VideoMAE's block in two halves, between which tokens may leave."""

    _attention_class = KeyMetricAttention

    def attend(
        self, hidden_states: Tensor, clip_ids: Tensor | None = None, clips: int | None = None, **kwargs
    ) -> tuple[Tensor, Tensor]:
        """Returns the tokens after attention, `(B, n, D)`, and the metric."""
        attended, metric = self.attention(self.layernorm_before(hidden_states), **kwargs)
        return self._drop_clips(attended, clip_ids, clips) + hidden_states, metric


class TokenReductionVideoMAEModel(RLTVideoMAEModel):
    """VideoMAE's encoder with blocks that lose tokens; base of ToMe and STA.

    An encoder takes the tokens, the layouts before each block and after the last, the attention's arguments for each layout,
    and with proportional attention how many tubelets each token stands for. It returns the tokens, their sizes `(L, 2)`
    (tokens, tubelets) or None, and for each token that came in the place of the one that stands for it, or -1.
    """

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: Tensor,
        run_lengths: Tensor | None = None,
        return_last_hidden_state: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTVideoMAEModelOutput:
        """Returns the tokens on the grid, their pool, and the run lengths used; as `RLTVideoMAEModel.forward`.

        Merged tokens stand at all places they were merged from; places of discarded tokens are zero.

        Raises:
            ValueError: as `RLTVideoMAEModel.forward`; or if hidden states or attentions are asked for of clips whose
                tokens differ in number.
        """
        run_lengths = self._checked_run_lengths(pixel_values, run_lengths, kwargs)
        layout = packed_layout(run_lengths, max_run=self.embeddings.patch_embeddings.grid[0])
        layouts = self._layouts(layout, run_lengths.device)
        if self._captures(kwargs) and not all(each.is_uniform for each in layouts):
            raise HfRltError(
                f"Hidden states of clips with {', '.join(map(str, layout.lengths))} tokens cannot be stacked: "
                "pass clips one by one."
            )
        tokens = self.embeddings(pixel_values, run_lengths, layout)
        # Of a pack only the shape is looked at, which another block's is not.
        options = [self._packed_arguments(tokens.new_empty(1, each.total, 1), each) for each in layouts]
        counted = self.config.proportional_attention and not layout.is_dense
        spans = pack(run_lengths, layout)[0].float() if counted else None
        tokens, sizes, source = self.encoder(tokens, layouts, options, trace=return_last_hidden_state, spans=spans)
        filled = None
        if return_last_hidden_state:
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
        return RLTVideoMAEModelOutput(last_hidden_state=filled, pooler_output=pooled, run_lengths=run_lengths)

    def _layouts(self, layout: PackedLayout, device: torch.device) -> list[PackedLayout]:
        """Returns the layouts before the first block and after each; lengths follow from the configuration."""
        lengths = list(zip(*map(self.config.token_counts, layout.lengths), strict=True))
        counts = torch.tensor(lengths).to(device, non_blocking=True)  # all blocks in one copy
        layouts = [layout_of_lengths(lengths[0], counts[0])]
        for block in range(1, len(lengths)):
            same = lengths[block] == lengths[block - 1]
            layouts.append(layouts[-1] if same else layout_of_lengths(lengths[block], counts[block]))
        return layouts


def check_pooling(config, method: str) -> None:
    """Returns nothing; raises if the classifier looks at the first token, which such a method may remove."""
    if not config.use_mean_pooling:
        raise HfRltError(
            f"{method} changes which token is the first: expected use_mean_pooling=True, received False. Use a checkpoint "
            "with mean pooling (VideoMAE's fine-tuned ones have it)."
        )


def compose(source: Tensor | None, step: Tensor) -> Tensor:
    """Returns where tokens are after one more step; `step` says it for each token before it, -1 for those that left."""
    if source is None:
        return step
    return torch.where(source < 0, source, step[source.clamp(min=0)])


def blockwise(layouts: Sequence[PackedLayout], options: Sequence[dict]):
    """Returns for each block the layouts before and after it and the arguments of attention and of the MLP."""
    drops = [{key: each.get(key) for key in ("clip_ids", "clips")} for each in options]
    return zip(layouts[:-1], layouts[1:], options[:-1], drops[1:], strict=True)
