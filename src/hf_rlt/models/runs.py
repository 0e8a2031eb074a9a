# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Runs of static tubelets: the grid, lengths of runs, and the way back to the grid. `run_rule` finds them.

Words: a tubelet is a `patch_size` square over `tubelet_size` frames; the grid is `T x H' x W'`, flattened to
`N = T * H' * W'` positions in `(t, h, w)` order. `run_lengths` is `(B, N)` int64: 0 = not computed, k >= 1 = computed
and stands for k tubelets at the same place, itself included.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import HfRltError


def to_2tuple(size: int | Sequence[int]) -> tuple[int, int]:
    """Return the height and width of a configuration's image_size or patch_size."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def grid_size(
    pixel_values_shape: torch.Size | tuple[int, ...], tubelet_size: int, patch_size: int | Sequence[int]
) -> tuple[int, int, int]:
    """Return the tubelet grid `(T, H', W')` of clips `(..., F, C, H, W)`; remainders are cut off, as in Conv3d."""
    height_p, width_p = to_2tuple(patch_size)
    if min(tubelet_size, height_p, width_p) < 1:
        raise HfRltError(f"tubelet_size and patch_size must be >= 1, got {tubelet_size} and {patch_size}.")
    frames, _, height, width = pixel_values_shape[-4:]
    grid = (frames // tubelet_size, height // height_p, width // width_p)
    if min(grid) < 1:
        raise HfRltError(
            f"A clip of {frames} frames of {height}x{width} pixels holds no whole tubelet of {tubelet_size} frames of "
            f"{height_p}x{width_p}: pass at least as many."
        )
    return grid


def lengths_from_starts(starts: Tensor) -> Tensor:
    """Turn a `(B, T, H', W')` bool grid of run starts into run lengths `(B, N)` int64.

    Source: arXiv 2411.05222 section 3.2. Departure: lengths stay on the grid in `(t, h, w)` order (the authors'
    `batched_get_token_lengths` returns them in `(h, w, t)` order, next to tokens in `(t, h, w)` order).
    """
    tubelets = starts.shape[1]
    time = torch.arange(tubelets, device=starts.device).view(1, -1, 1, 1)
    own_or_end = torch.where(starts, time, tubelets)
    next_from_here = own_or_end.flip(1).cummin(1).values.flip(1)
    next_start = F.pad(next_from_here[:, 1:], (0, 0, 0, 0, 0, 1), value=tubelets)
    return ((next_start - time) * starts).flatten(1)


def lengths_from_later_starts(starts: Tensor) -> Tensor:
    """Turn the starts `(B, T - 1, H', W')` of all tubelets but the first, which always starts a run, into run lengths."""
    return lengths_from_starts(F.pad(starts, (0, 0, 0, 0, 1, 0), value=True))


def fill_runs(tokens: Tensor, run_lengths: Tensor, tubelets: int) -> Tensor:
    """Give every position of the grid the value of the token that stands for it; zero where no run covers it.

    Args:
        tokens: `(B, N, ...)` values on the grid; what stands at dropped positions is ignored.
        run_lengths: `(B, N)` integers.
        tubelets: T, the number of tubelets in time.
    """
    batch, positions = run_lengths.shape
    if tokens.shape[:2] != run_lengths.shape or tubelets < 1 or positions % tubelets:
        raise HfRltError(
            f"Expected tokens (B, N, ...) and run_lengths (B, N) with N a multiple of {tubelets} tubelets, received "
            f"{tuple(tokens.shape)} and {tuple(run_lengths.shape)}."
        )
    lengths = run_lengths.view(batch, tubelets, -1)
    time = torch.arange(tubelets, device=lengths.device).view(1, -1, 1)
    source = torch.where(lengths > 0, time, -1).cummax(1).values  # the latest start at or before each tubelet
    reach = lengths.gather(1, source.clamp(min=0)) + source
    covered = ((source >= 0) & (time < reach)).view(batch, positions)
    place = torch.arange(lengths.shape[2], device=lengths.device)
    index = (source.clamp(min=0) * lengths.shape[2] + place).view(batch, positions)
    extra = (1,) * (tokens.ndim - 2)
    filled = tokens.gather(1, index.view(batch, positions, *extra).expand_as(tokens))
    return filled.masked_fill(~covered.view(batch, positions, *extra), 0)


def drop_random(run_lengths: Tensor, ratio: float, generators: Sequence[torch.Generator] | None = None) -> Tensor:
    """Keep `round(ratio * computed tokens)` runs of each clip, at least one, drawn at random; the others become 0.

    Args:
        run_lengths: `(B, N)` integers; all ones for random masking, of runs for RLT with random masking.
        ratio: share of the computed tokens to keep, in (0, 1].
        generators: one for each clip, on the CPU; the default generator if not given.

    Source: arXiv 2411.05222 section 4, random masking as a baseline and combined with RLT.
    """
    if not 0 < ratio <= 1:
        raise HfRltError(f"Expected a ratio of tokens in (0, 1], received {ratio}: 1 keeps all of them.")
    batch, tokens = run_lengths.shape
    if generators is not None and len(generators) != batch:
        raise HfRltError(f"Expected one generator for each of {batch} clips, received {len(generators)}.")
    draws = [torch.rand(tokens, generator=None if generators is None else generators[clip]) for clip in range(batch)]
    computed = run_lengths > 0
    scores = torch.stack(draws).to(run_lengths.device).masked_fill(~computed, 2.0)
    rank = scores.argsort(1).argsort(1)  # dropped positions come last
    count = (computed.sum(1, keepdim=True) * ratio).round().clamp(min=1)
    return run_lengths * (rank < count)


def check_run_lengths(run_lengths: Tensor, batch: int, grid: tuple[int, int, int]) -> None:
    """Raise HfRltError unless `run_lengths` is an integer tensor of shape `(batch, T * H' * W')`."""
    tokens = math.prod(grid)
    kind = run_lengths.dtype if isinstance(run_lengths, Tensor) else type(run_lengths).__name__
    if not isinstance(kind, torch.dtype) or kind.is_floating_point or kind.is_complex:
        raise HfRltError(f"Expected run_lengths to be an integer tensor, received {kind}: 0 = dropped, k = k tubelets.")
    if tuple(run_lengths.shape) != (batch, tokens):
        raise HfRltError(
            f"Expected run_lengths of shape ({batch}, {tokens}) for a tubelet grid of {grid[0]}x{grid[1]}x{grid[2]}, "
            f"received {tuple(run_lengths.shape)}: give processor and model the same num_frames, crop size, tubelet_size "
            "and patch_size."
        )
