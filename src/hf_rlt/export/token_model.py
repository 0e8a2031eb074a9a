# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The part of a classifier that is exported: from the computed tubelets of each clip to logits."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..models.packing import PaddedLayout, packed_layout
from ..models.tubelets import cut_tubelets

POSITIONS = 1 << 30  # more than any clip has: places are positions in one clip, not in a batch
COUNTS = (4, 3, 2)  # of the clips of noise every 4th, 3rd and 2nd tubelet is computed


class TokenModel(nn.Module):
    """A classifier on clips that are padded to the same number of tokens; nothing in it depends on what they show.

    Args:
        classifier: of a family, with sdpa or eager attention.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier.eval()

    def forward(self, tubelets: Tensor, places: Tensor, run_lengths: Tensor) -> Tensor:
        """Compute logits `(B, K)`.

        Args:
            tubelets: `(B, n, C * s * p * p)`, normalised; anything in padding.
            places: `(B, n)` int64, positions in the grid; 0 in padding.
            run_lengths: `(B, n)` int64; 0 in padding.
        """
        model, base = self.classifier, self.classifier.base_model
        layout = PaddedLayout(places, run_lengths > 0, POSITIONS)
        tokens = base.embed_tubelets(tubelets.flatten(0, 1), run_lengths.clamp(min=1), layout)
        # A key that counts k times adds log k to its logits; padding, which counts never, -inf.
        times = run_lengths if base.config.proportional_attention else run_lengths.clamp(max=1)
        options = {"key_bias": times.to(tokens.dtype).log()[:, None, None]}
        tokens = base.blocks(tokens, layout, options)
        return model.head(model.pool_tokens(tokens, layout, options))


def noise(config: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Make clips of noise `(B, F, C, H, W)`, run lengths of different numbers of tokens, and their computed tubelets."""
    clips = torch.randn(len(COUNTS), *config.clip_shape, generator=torch.Generator().manual_seed(0))
    runs = (torch.arange(math.prod(config.grid)) % torch.tensor(COUNTS)[:, None] == 0).long()
    return clips, runs, cut_tubelets(clips, packed_layout(runs), config.tubelet_size, config.patch_size)
