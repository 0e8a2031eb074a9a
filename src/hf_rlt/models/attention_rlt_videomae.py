# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""VideoMAE's attention over packed clips."""

from torch import Tensor
from transformers.models.videomae.modeling_videomae import VideoMAESelfAttention, eager_attention_forward

from .packed_attention import attend


class RLTVideoMAESelfAttention(VideoMAESelfAttention):
    """VideoMAE's attention inside each clip of a pack. Same parameters."""

    def forward(self, hidden_states: Tensor, **kwargs) -> tuple[Tensor, Tensor | None]:
        """Attend within each clip of `(B, n, D)` or a pack `(1, L, D)`; `kwargs` are those of `packed_attention.attend`."""
        return self.attend(*self.project(hidden_states), **kwargs)

    def project(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project tokens to queries, keys and values, each `(B, heads, n, head size)`."""
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        key = self.key(hidden_states).view(shape).transpose(1, 2)
        value = self.value(hidden_states).view(shape).transpose(1, 2)
        return self.query(hidden_states).view(shape).transpose(1, 2), key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **kwargs) -> tuple[Tensor, Tensor | None]:
        """Return the context `(B, n, D)`, and the probabilities if the backend gives them."""
        options = {"scaling": self.scaling, "dropout": self.dropout_prob if self.training else 0.0, **kwargs}
        context, probabilities = attend(self, eager_attention_forward, (query, key, value), **options)
        return context.flatten(2), probabilities
