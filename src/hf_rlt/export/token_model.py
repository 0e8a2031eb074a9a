# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The part of a classifier that is exported: from the computed tubelets of each clip to logits."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..models.packing import PaddedLayout, packed_layout
from ..models.tubelets import cut_tubelets

POSITIONS = 1 << 30  # more than any clip has: places are positions in one clip, not in a batch


class TokenModel(nn.Module):
    """A classifier on clips that are filled up to equally many tokens; nothing in it depends on what they show.

    Args:
        classifier: of a family, with sdpa or eager attention.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier.eval()

    def forward(self, tubelets: Tensor, places: Tensor, run_lengths: Tensor) -> Tensor:
        """Compute logits `(B, K)`.

        Args:
            tubelets: `(B, n, C * s * p * p)`, normalised; anything where a clip is filled up.
            places: `(B, n)` int64, positions in the grid; 0 where a clip is filled up.
            run_lengths: `(B, n)` int64; 0 where a clip is filled up.
        """
        model, base = self.classifier, self.classifier.base_model
        layout = PaddedLayout(places, run_lengths > 0, POSITIONS)
        tokens = base.embed_tubelets(tubelets.flatten(0, 1), run_lengths.clamp(min=1), layout)
        # What is added to the logits of a key is the logarithm of how often it counts: what fills up counts never.
        times = run_lengths if base.config.proportional_attention else run_lengths.clamp(max=1)
        options = {"key_bias": times.to(tokens.dtype).log()[:, None, None]}
        tokens = base.blocks(tokens, layout, options)
        return model.head(model.pool_tokens(tokens, layout, options))


def filled_up(
    pixel_values: Tensor, run_lengths: Tensor, tubelet_size: int, patch_size: Any, tokens: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Make what a `TokenModel` takes of clips `(B, F, C, H, W)` and their runs `(B, N)`.

    Clips are filled up to `tokens`; to those of the longest unless given.
    """
    layout = packed_layout(run_lengths)
    length = layout.max_length if tokens is None else tokens
    kept, places = (run_lengths > 0).sort(dim=1, descending=True, stable=True)
    kept, places = kept[:, :length], places[:, :length]
    cut = cut_tubelets(pixel_values, layout, tubelet_size, patch_size).transpose(1, 2).flatten(1)
    tubelets = cut.new_zeros((*kept.shape, cut.shape[1]))
    tubelets[kept] = cut
    return tubelets, places * kept, run_lengths.gather(1, places).long()


def example_inputs(config: Any, counts: tuple[int, ...] = (4, 3, 2)) -> tuple[Tensor, Tensor, Tensor]:
    """Make inputs of a `TokenModel` from clips of noise, of which every 4th, 3rd and 2nd tubelet is computed."""
    clips = torch.randn(len(counts), *config.clip_shape, generator=torch.Generator().manual_seed(0))
    every = torch.arange(math.prod(config.grid)) % torch.tensor(counts)[:, None] == 0
    return filled_up(clips, every.long(), config.tubelet_size, config.patch_size)
