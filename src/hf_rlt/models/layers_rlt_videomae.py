# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The blocks of RLT-VideoMAE: VideoMAE's, where clips of unequal length stand packed behind each other."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.videomae.modeling_videomae import (
    VideoMAEAttention,
    VideoMAEEncoder,
    VideoMAEIntermediate,
    VideoMAELayer,
    VideoMAEOutput,
    VideoMAEPatchEmbeddings,
    VideoMAESelfOutput,
)

from .attention_rlt_videomae import RLTVideoMAESelfAttention
from .configuration_rlt_videomae import RLTVideoMAEConfig
from .packing import Layout, PackedLayout, pack
from .rlt_model import drop_clips
from .tubelets import TubeletProjection, cut_tubelets, flat_tubelets


def sinusoid_table(positions: int, width: int) -> Tensor:
    """Make VideoMAE's fixed `(1, positions, width)` float32 position table, bit for bit, without its Python loop."""
    divisors = np.array([np.power(10000, 2 * (column // 2) / width) for column in range(width)])
    table = np.arange(positions)[:, None] / divisors
    table[:, 0::2] = np.sin(table[:, 0::2])
    table[:, 1::2] = np.cos(table[:, 1::2])
    return torch.from_numpy(table.astype(np.float32)).unsqueeze(0)


def position_table(grid: tuple[int, ...], trained: tuple[int, ...], width: int) -> Tensor:
    """Make the `(1, N, width)` float32 position table of a grid (T, H', W') by resizing that of the trained grid."""
    table = sinusoid_table(math.prod(trained), width)
    if grid == trained:
        return table
    table = table.unflatten(1, trained).movedim(-1, 1)  # (1, width, T, H', W')
    return F.interpolate(table, size=grid, mode="trilinear", align_corners=False).flatten(2).mT.contiguous()


class RLTVideoMAERunLengthEmbedding(nn.Embedding):
    """Table of `(T, D)`, T of the trained grid. A class of its own, so that `_init_weights` sets it to zero."""


class RLTVideoMAEPatchEmbeddings(VideoMAEPatchEmbeddings):
    """Embeds all tubelets of a batch, or only those of a layout."""

    patch_size: tuple[int, int]

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        super().__init__(config)
        kernel, channels, width = (self.tubelet_size, *self.patch_size), config.num_channels, config.hidden_size
        self.projection = TubeletProjection(channels, width, kernel_size=kernel, stride=kernel)
        self.grid = config.grid

    def forward(self, pixel_values: Tensor, layout: PackedLayout | None = None) -> Tensor:
        """Embed all tubelets `(B, N, D)`, or the layout's `(1, L, D)`: dropped tubelets are never read."""
        if layout is None or layout.is_dense:
            return super().forward(pixel_values)
        tubelets = cut_tubelets(pixel_values, layout, self.tubelet_size, self.patch_size)
        return self.projection(flat_tubelets(tubelets))[None]


class RLTVideoMAEEmbeddings(nn.Module):
    """Embeds the computed tokens: patch + position of their own (t, h, w) + run length (optional)."""

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embeddings = RLTVideoMAEPatchEmbeddings(config)
        self.num_patches = self.patch_embeddings.num_patches
        grid = self.patch_embeddings.grid
        self.trained_grid = tuple(config.position_grid or grid)
        self.position_embeddings = position_table(grid, self.trained_grid, config.hidden_size)
        if config.length_embedding:
            self.run_length_embeddings = RLTVideoMAERunLengthEmbedding(self.trained_grid[0], config.hidden_size)

    def forward(self, pixel_values: Tensor, run_lengths: Tensor, layout: PackedLayout) -> Tensor:
        """Embed to `(B, n, D)` if all clips have n computed tokens, else to `(1, L, D)`."""
        lengths = run_lengths if layout.is_dense else pack(run_lengths, layout)
        return self.place(self.patch_embeddings(pixel_values, layout), lengths, layout)

    def place(self, tokens: Tensor, lengths: Tensor, layout: Layout) -> Tensor:
        """Add positions, and run `lengths` that lie as the tokens do, to embedded tubelets."""
        tokens = tokens + self._positions(tokens, layout)
        if self.config.length_embedding:
            # In tubelets of the trained grid, as positions are, rounded up: what lasts as long gets the same row.
            measured = -(-lengths * self.trained_grid[0] // self.patch_embeddings.grid[0])
            tokens = tokens + self.run_length_embeddings(measured - 1)
        return tokens.reshape(layout.batch, layout.max_length, -1) if layout.is_uniform else tokens

    def _positions(self, tokens: Tensor, layout: Layout) -> Tensor:
        if self.position_embeddings.device != tokens.device and not torch.compiler.is_compiling():
            self._move_positions(tokens.device)  # `_apply` has not seen weights that were loaded onto their device
        table = self.position_embeddings.to(tokens.device)
        return (table if layout.is_dense else table[:, layout.indices % layout.positions]).to(tokens.dtype)

    def _move_positions(self, device: torch.device) -> None:
        with torch.inference_mode(False):  # or training could not use what an evaluation has moved
            self.position_embeddings = self.position_embeddings.to(device)

    def _apply(self, fn, recurse: bool = True) -> "RLTVideoMAEEmbeddings":
        """Move the position table with the weights; float32, and no buffer, which data-parallel training sends around."""
        super()._apply(fn, recurse)
        device = self.patch_embeddings.projection.weight.device
        if device.type != "meta":
            self._move_positions(device)
        return self


class RLTVideoMAEAttention(VideoMAEAttention):
    """VideoMAE's attention block around the packed attention."""

    _self_attention_class = RLTVideoMAESelfAttention

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        nn.Module.__init__(self)
        self.attention = self._self_attention_class(config)
        self.output = VideoMAESelfOutput(config)


class RLTVideoMAELayer(VideoMAELayer):
    """VideoMAE's block with stochastic depth per clip."""

    _attention_class = RLTVideoMAEAttention

    def __init__(self, config: RLTVideoMAEConfig, drop_path: float) -> None:
        nn.Module.__init__(self)
        self.drop_path = drop_path
        self.attention = self._attention_class(config)
        self.intermediate = VideoMAEIntermediate(config)
        self.output = VideoMAEOutput(config)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self, hidden_states: Tensor, clip_ids: Tensor | None = None, clips: int | None = None, **kwargs
    ) -> Tensor:
        """Compute the block. `clip_ids` `(L,)` and `clips` say which clip a packed token belongs to."""
        attended = self.attention(self.layernorm_before(hidden_states), **kwargs)
        return self.feed_forward(self._drop_clips(attended, clip_ids, clips) + hidden_states, clip_ids, clips)

    def feed_forward(self, hidden_states: Tensor, clip_ids: Tensor | None, clips: int | None) -> Tensor:
        """Compute the block's second half, the MLP."""
        branch = self.output.dense(self.intermediate(self.layernorm_after(hidden_states)))
        return self._drop_clips(self.output.dropout(branch), clip_ids, clips) + hidden_states

    def _drop_clips(self, branch: Tensor, clip_ids: Tensor | None, clips: int | None) -> Tensor:
        return drop_clips(branch, self.drop_path if self.training else 0, clip_ids, clips)


class RLTVideoMAEEncoder(VideoMAEEncoder):
    """VideoMAE's stack of blocks."""

    _layer_class = RLTVideoMAELayer

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        depth = config.num_hidden_layers
        rates = [config.drop_path_rate * block / max(depth - 1, 1) for block in range(depth)]
        self.layer = nn.ModuleList([self._layer_class(config, rate) for rate in rates])
        self.gradient_checkpointing = False
