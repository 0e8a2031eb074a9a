# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The blocks of RLT-V-JEPA 2: V-JEPA 2's, where clips of unequal length stand packed behind each other."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.vjepa2.modeling_vjepa2 import (
    VJEPA2MLP,
    VJEPA2AttentivePooler,
    VJEPA2Embeddings,
    VJEPA2Encoder,
    VJEPA2Layer,
    VJEPA2PatchEmbeddings3D,
    VJEPA2PoolerCrossAttentionLayer,
    VJEPA2PoolerSelfAttentionLayer,
)

from .attention_rlt_vjepa2 import (
    RLTVJEPA2Attention,
    RLTVJEPA2PoolerCrossAttention,
    RLTVJEPA2PoolerSelfAttention,
    Rotary,
)
from .configuration_rlt_vjepa2 import RLTVJEPA2Config
from .packing import Layout, PackedLayout
from .rlt_model import drop_clips
from .runs import to_2tuple
from .tubelets import TubeletProjection, cut_tubelets, flat_tubelets


class RLTVJEPA2PatchEmbeddings(VJEPA2PatchEmbeddings3D):
    """Embeds all tubelets of a batch, or only those of a layout."""

    def __init__(self, config: RLTVJEPA2Config, hidden_size: int) -> None:
        super().__init__(config, hidden_size)
        kernel = (config.tubelet_size, *to_2tuple(config.patch_size))
        self.proj = TubeletProjection(config.in_chans, hidden_size, kernel_size=kernel, stride=kernel)

    def forward(self, pixel_values: Tensor, layout: PackedLayout) -> Tensor:  # type: ignore[override]
        """Embed clips `(B, F, C, H, W)`: to `(B, n, D)` if all have n computed tokens, else to `(1, L, D)`."""
        if layout.is_dense:
            return super().forward(pixel_values.transpose(1, 2))
        tubelets = cut_tubelets(pixel_values, layout, self.tubelet_size, self.patch_size)
        tokens = self.proj(flat_tubelets(tubelets))
        return tokens.view(layout.batch, layout.max_length, -1) if layout.is_uniform else tokens[None]


class RLTVJEPA2Embeddings(VJEPA2Embeddings):
    """V-JEPA 2's embeddings, which are those of the patches: positions are in the attention."""

    def __init__(self, config: RLTVJEPA2Config) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.hidden_size, self.patch_size = config.hidden_size, config.patch_size
        self.patch_embeddings = RLTVJEPA2PatchEmbeddings(config, config.hidden_size)
        self.num_patches = self.patch_embeddings.num_patches

    def forward(self, pixel_values: Tensor, layout: PackedLayout) -> Tensor:  # type: ignore[override]
        """Embed the computed tokens."""
        return self.patch_embeddings(pixel_values, layout)


def feed_forward(mlp: VJEPA2MLP, states: Tensor) -> Tensor:
    """Compute an MLP layer by layer: a call of the whole would keep its input while the widest states are in memory."""
    states = mlp.fc1(states)
    states = mlp.activation(states)
    return mlp.fc2(states)


class RLTVJEPA2Layer(VJEPA2Layer):
    """V-JEPA 2's block with stochastic depth per clip."""

    def __init__(self, config: RLTVJEPA2Config, drop_path_rate: float) -> None:
        size, heads = config.hidden_size, config.num_attention_heads
        super().__init__(config, drop_path_rate, size, heads, config.mlp_ratio)
        self.attention = RLTVJEPA2Attention(config, size, heads)
        self.drop_path_rate = drop_path_rate

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, clip_ids: Tensor | None = None, clips: int | None = None, **kwargs
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the block. `clip_ids` `(L,)` and `clips` say which clip a packed token belongs to."""
        rate = self.drop_path_rate if self.training else 0.0
        attended, probabilities = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = drop_clips(attended, rate, clip_ids, clips) + hidden_states
        del attended  # not needed where the most memory is, in the MLP
        branch = feed_forward(self.mlp, self.norm2(hidden_states))
        return drop_clips(branch, rate, clip_ids, clips) + hidden_states, probabilities


class RLTVJEPA2Encoder(VJEPA2Encoder):
    """V-JEPA 2's embeddings and stack of blocks."""

    def __init__(self, config: RLTVJEPA2Config) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.embeddings = RLTVJEPA2Embeddings(config)
        depth = config.num_hidden_layers
        rates = [config.drop_path_rate * block / max(depth - 1, 1) for block in range(depth)]
        self.layer = nn.ModuleList([RLTVJEPA2Layer(config, rate) for rate in rates])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False

    def forward(self, tokens: Tensor, rotary: Rotary, **kwargs) -> Tensor:  # type: ignore[override]
        """Compute the blocks on embedded tokens."""
        for layer in self.layer:
            tokens = layer(tokens, rotary=rotary, **kwargs)[0]
        return self.layernorm(tokens)


class RLTVJEPA2PoolerSelfAttentionLayer(VJEPA2PoolerSelfAttentionLayer):
    """The pooler's block on a pack."""

    def __init__(self, config: RLTVJEPA2Config) -> None:
        super().__init__(config)
        self.self_attn = RLTVJEPA2PoolerSelfAttention(config)

    def forward(self, hidden_states: Tensor, **kwargs) -> Tensor:  # type: ignore[override]
        """Compute the block; `kwargs` are those of the attention."""
        hidden_states = hidden_states + self.self_attn(self.layer_norm1(hidden_states), **kwargs)[0]
        return hidden_states + feed_forward(self.mlp, self.layer_norm2(hidden_states))


class RLTVJEPA2PoolerCrossAttentionLayer(VJEPA2PoolerCrossAttentionLayer):
    """The pooler's last block, which reads each clip's tokens into one."""

    def __init__(self, config: RLTVJEPA2Config) -> None:
        super().__init__(config)
        self.cross_attn = RLTVJEPA2PoolerCrossAttention(config)

    def forward(self, queries: Tensor, hidden_states: Tensor, **kwargs) -> Tensor:  # type: ignore[override]
        """Compute the block; `kwargs` are those of the attention."""
        queries = queries + self.cross_attn(queries, self.layer_norm1(hidden_states), **kwargs)[0]
        return queries + self.mlp(self.layer_norm2(queries))


class RLTVJEPA2AttentivePooler(VJEPA2AttentivePooler):
    """V-JEPA 2's attentive pooler on packed clips: a query per clip reads its computed tokens."""

    def __init__(self, config: RLTVJEPA2Config) -> None:
        nn.Module.__init__(self)
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.cross_attention_layer = RLTVJEPA2PoolerCrossAttentionLayer(config)
        blocks = range(config.num_pooler_layers)
        self.self_attention_layers = nn.ModuleList([RLTVJEPA2PoolerSelfAttentionLayer(config) for _ in blocks])

    def forward(  # type: ignore[override]
        self, tokens: Tensor, layout: Layout, options: dict[str, Any], crossing: dict[str, Any]
    ) -> Tensor:
        """Pool tokens `(B, n, D)`, or a pack `(1, L, D)`: `(B, D)`.

        Args:
            tokens: of the layout.
            layout: of the computed tokens.
            options: of attention among tokens.
            crossing: of attention from one query per clip.
        """
        for layer in self.self_attention_layers:
            tokens = layer(tokens, **options)
        queries = self.query_tokens.repeat(layout.batch, 1, 1)
        queries = queries if layout.is_uniform else queries.transpose(0, 1)
        return self.cross_attention_layer(queries, tokens, **crossing).flatten(0, 1)
