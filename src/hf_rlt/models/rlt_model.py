# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the encoders of all families share: from clips to packed tokens and back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import create_bidirectional_mask, packed_sequence_mask_function
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import is_flash_attention_requested

from .errors import HfRltError
from .packing import Layout, PackedLayout, PaddedLayout, equal_layout, mean_per_sequence, pack, packed_layout, unpack
from .runs import check_run_lengths, fill_runs, to_2tuple
from .tubelets import join_tubelets
from .varlen_attention import VARLEN, takes_varlen

CAPTURABLE = ("hidden_states", "attentions")
DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")  # of attention, in the blocks and in a pooler
Pool = Callable[[Tensor, Layout, dict[str, Any]], Tensor]


@dataclass
class RLTModelOutput(BaseModelOutputWithPooling):
    """Output of an encoder.

    Attributes:
        last_hidden_state: `(B, N, D)`, runs filled back to the grid.
        pooler_output: `(B, D)`, the pool of the computed tokens.
        run_lengths: `(B, N)` int64, those that were used.
    """

    run_lengths: Tensor | None = None


def drop_clips(branch: Tensor, rate: float, clip_ids: Tensor | None, clips: int | None) -> Tensor:
    """Stochastic depth: drop the branch of whole clips, which a pack holds many of.

    Args:
        branch: `(B, n, D)`, or a pack `(1, L, D)`.
        rate: probability, 0 outside of training.
        clip_ids: `(L,)`, the clip of each packed token; None for a batch.
        clips: number of clips in a pack.
    """
    if rate == 0:
        return branch
    keep = 1 - rate
    scale = branch.new_empty(clips or branch.shape[0]).bernoulli_(keep).div_(keep)
    return branch * (scale[:, None, None] if clip_ids is None else scale[clip_ids][None, :, None])


class RLTModelMixin:
    """From clips to the computed tokens of each, packed without padding, and back to the grid.

    A model has `config` and defines `clip_grid`, which tubelets a clip has, and `blocks`, the encoder itself; to be exported
    also `embed_tubelets`.
    """

    config: Any
    training: bool

    def clip_grid(self, pixel_values: Tensor) -> tuple[int, int, int]:
        """Return the grid `(T, H', W')` of clips `(B, F, C, H, W)`; raise HfRltError for clips that do not fit the model."""
        raise NotImplementedError

    def blocks(self, tokens: Tensor, layout: Layout | None, options: dict[str, Any]) -> Tensor:
        """Compute the blocks on tokens of a layout, or on all of the grid (None); `options` are the attention's."""
        raise NotImplementedError

    def embed_tubelets(self, tubelets: Tensor, run_lengths: Tensor, layout: PaddedLayout) -> Tensor:
        """Embed tubelets `(B * n, C * s * p * p)` whose runs are `(B, n)` tubelets long: `(B, n, D)`."""
        raise NotImplementedError

    def pool(self, tokens: Tensor, layout: Layout, options: dict[str, Any]) -> Tensor:
        """Pool the computed tokens of each clip: `(B, D)`."""
        return mean_per_sequence(tokens, layout)

    def encode(
        self,
        tokens: Tensor,
        run_lengths: Tensor,
        layout: PackedLayout,
        kwargs: dict[str, Any],
        wanted: bool,
        pool: Pool | None = None,
    ) -> RLTModelOutput:
        """Compute the blocks on embedded tokens.

        What is captured (`kwargs` ask for it) must be batch-first: a dropped position repeats its run's token then, and is
        masked as a key.

        Args:
            tokens: of the layout.
            run_lengths: `(B, N)`.
            layout: of the computed tokens.
            kwargs: of the model's forward.
            wanted: whether to return `last_hidden_state`.
            pool: instead of the model's own.
        """
        captured = any(kwargs.get(f"output_{k}", getattr(self.config, f"output_{k}", False)) for k in CAPTURABLE)
        states, pooled = self._encode(tokens, run_lengths, layout, captured, wanted, pool or self.pool)
        return RLTModelOutput(last_hidden_state=states, pooler_output=pooled, run_lengths=run_lengths)

    def _encode(
        self, tokens: Tensor, run_lengths: Tensor, layout: PackedLayout, captured: bool, wanted: bool, pool: Pool
    ) -> tuple[Tensor | None, Tensor]:
        options = self._packed_arguments(tokens, layout)
        if not layout.is_dense:
            options["key_bias"] = self._key_bias(pack(run_lengths, layout).view(len(tokens), -1))
        if captured and not layout.is_dense:
            tokens = self._on_grid(tokens, run_lengths, layout)
            mask = create_bidirectional_mask(self.config, tokens, (run_lengths > 0).long())
            bias = self._key_bias(run_lengths.clamp(min=1))
            packed = pack(self.blocks(tokens, None, {"attention_mask": mask, "key_bias": bias}), layout)
            tokens = packed.view(layout.batch, layout.max_length, -1) if layout.is_uniform else packed
        else:
            tokens = self.blocks(tokens, layout, options)
        return self._on_grid(tokens, run_lengths, layout) if wanted else None, pool(tokens, layout, options)

    def _layout(self, run_lengths: Tensor, grid: tuple[int, int, int], found: bool) -> PackedLayout:
        """Lay out the computed tokens; nothing is read from the device if the model has `found` as many in each clip."""
        tokens = self.config.run_rule.exact_tokens(grid)
        if tokens is not None and (found or torch.compiler.is_compiling()):
            return equal_layout(run_lengths, self.config.token_counts(tokens)[0])
        return packed_layout(run_lengths, max_run=grid[0])

    def join(self, tubelets: Tensor, run_lengths: Tensor | None, pixel_values: Any = None) -> Tensor:
        """Make clips of their computed tubelets: zero where `run_lengths` are 0, which no block reads.

        Args:
            tubelets: `(L, s, C, p, p)`, those of all clips in the order of `run_lengths`.
            run_lengths: `(B, N)` or `(B, V, N)` integers; the clips are `(B, F, C, H, W)` or `(B, V, F, C, H, W)`.
            pixel_values: None, or an error is raised.
        """
        if run_lengths is None or pixel_values is not None:
            wrong = "no run_lengths: pass them" if run_lengths is None else "pixel_values too: leave one out"
            raise HfRltError(f"Expected tubelets with run_lengths, in place of pixel_values, received {wrong}.")
        for name, each, ndims in (("tubelets", tubelets, (5,)), ("run_lengths", run_lengths, (2, 3))):
            if not isinstance(each, Tensor) or each.ndim not in ndims:
                received = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
                raise HfRltError(
                    f"Expected {name} as a tensor of {ndims[0]} dimensions, received {received}: process with "
                    'return_tensors="pt".'
                )
        config = self.config
        (_, channels, height, width), (_, rows, columns) = config.clip_shape, config.grid
        grid = (max(run_lengths.shape[-1] // (rows * columns), 1), rows, columns)
        flat = run_lengths.flatten(0, -2).to(tubelets.device)
        check_run_lengths(flat, len(flat), grid)
        layout = self._layout(flat, grid, found=False)
        expected = (layout.total, config.tubelet_size, channels, *to_2tuple(config.patch_size))
        if tuple(tubelets.shape) != expected:
            raise HfRltError(
                f"Expected tubelets of shape {expected}, one for each run length above 0, received {tuple(tubelets.shape)}: "
                "pass both as the processor gave them."
            )
        return join_tubelets(tubelets, layout, grid, height, width).unflatten(0, run_lengths.shape[:-1])

    def _checked_run_lengths(self, pixel_values: Any, run_lengths: Tensor | None) -> Tensor:
        """Check what the model was given; find the runs if it was given none."""
        if pixel_values is None or pixel_values.ndim != 5:
            received = None if pixel_values is None else tuple(pixel_values.shape)
            raise HfRltError(
                f"Expected pixel_values of shape (batch, frames, channels, height, width), received {received}."
            )
        grid = self.clip_grid(pixel_values)
        if run_lengths is None:
            with torch.no_grad():
                return self.config.run_rule.find(pixel_values)
        check_run_lengths(run_lengths, pixel_values.shape[0], grid)
        return run_lengths.to(device=pixel_values.device, dtype=torch.int64)

    def _packed_arguments(self, tokens: Tensor, layout: PackedLayout) -> dict:
        """Say how the blocks keep clips apart; made once per forward."""
        if layout.is_uniform:
            return {}
        drops = self.training and self.config.drop_path_rate > 0
        options: dict = {"clip_ids": layout.clip_ids, "clips": layout.batch} if drops else {}
        backend = self.config._attn_implementation
        drops = self.training and any(getattr(self.config, name, 0) for name in DROPOUTS)
        if (backend == VARLEN and not drops and takes_varlen(tokens)) or is_flash_attention_requested(self.config):
            for side in "qk":
                options |= {f"cu_seq_lens_{side}": layout.cu_seqlens, f"max_length_{side}": layout.max_length}
            return options
        if backend == "flex_attention":
            same_clip = packed_sequence_mask_function(layout.clip_ids[None])
            mask = create_bidirectional_mask(self.config, tokens, None, and_mask_function=same_clip)
            return {**options, "attention_mask": mask}
        return {**options, "sequence_lengths": layout.lengths}

    def _key_bias(self, lengths: Tensor) -> Tensor | None:
        """Make the bias `(B, 1, 1, n)` that counts a token of k tubelets k times as a key."""
        return lengths.float().log()[:, None, None] if self.config.proportional_attention else None

    def _on_grid(self, tokens: Tensor, run_lengths: Tensor, layout: PackedLayout) -> Tensor:
        if layout.is_dense:
            return tokens
        grid = unpack(tokens.reshape(1, layout.total, -1), layout)
        return fill_runs(grid, run_lengths, layout.positions // math.prod(self.config.grid[1:]))
