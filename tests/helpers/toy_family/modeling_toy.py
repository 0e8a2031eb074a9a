# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A tiny video transformer: torch's own encoder layers on the computed tokens of each clip."""

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_rlt.models.packing import mean_per_sequence, pack, packed_layout, unpack
from hf_rlt.models.rlt_classifier import RLTClassifierMixin
from hf_rlt.models.rlt_model import RLTModelOutput
from hf_rlt.models.runs import check_run_lengths, fill_runs

from .configuration_toy import ToyConfig


class ToyModel(PreTrainedModel):
    """Linear embedding of tubelets, learned positions, torch's encoder layers."""

    config_class = ToyConfig
    base_model_prefix = "toy"
    main_input_name = "pixel_values"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        width, side = config.hidden_size, config.patch_size
        self.embed = nn.Linear(config.num_channels * config.tubelet_size * side * side, width)
        self.positions = nn.Embedding(math.prod(config.grid), width)
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        blocks = range(config.num_hidden_layers)
        heads, wide = config.num_attention_heads, config.intermediate_size
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(width, heads, wide, **options) for _ in blocks])
        self.post_init()

    def forward(self, pixel_values, run_lengths=None, return_last_hidden_state=True, **kwargs) -> RLTModelOutput:
        """Compute each clip's tokens; `run_lengths` are found if they are not given."""
        grid, size, side = self.config.grid, self.config.tubelet_size, self.config.patch_size
        run_lengths = self.config.run_rule.find(pixel_values) if run_lengths is None else run_lengths
        check_run_lengths(run_lengths, len(pixel_values), grid)
        layout = packed_layout(run_lengths, max_run=grid[0])
        cut = pixel_values.unflatten(1, (-1, size)).unfold(4, side, side).unfold(5, side, side)
        tubelets = cut.permute(0, 1, 4, 5, 3, 2, 6, 7).flatten(4).flatten(1, 3)
        tokens = self.embed(pack(tubelets, layout).to(self.dtype)) + self.positions(layout.indices % layout.positions)
        for block in self.blocks:
            tokens = torch.cat([block(clip) for clip in tokens.split(layout.lengths, dim=1)], dim=1)
        states = fill_runs(unpack(tokens, layout), run_lengths, grid[0]) if return_last_hidden_state else None
        uniform = tokens.view(layout.batch, layout.max_length, -1) if layout.is_uniform else tokens
        pooled = mean_per_sequence(uniform, layout)
        return RLTModelOutput(last_hidden_state=states, pooler_output=pooled, run_lengths=run_lengths)


class ToyForVideoClassification(RLTClassifierMixin, PreTrainedModel):
    """The toy with a linear head."""

    config_class = ToyConfig
    base_model_prefix = "toy"
    main_input_name = "pixel_values"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.toy = ToyModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, pixel_values, labels=None, run_lengths=None, **kwargs):
        """Compute logits, and the loss if labels are given."""
        return self.classify(pixel_values, labels, run_lengths, kwargs)

    def head(self, pooled: Tensor) -> Tensor:
        """Compute logits `(B, K)`."""
        return self.classifier(pooled)
