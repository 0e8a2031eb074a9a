# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The packed layout: the computed tokens of a batch, clip after clip, without padding.

This is the only place that knows how computed tokens lie in memory. `(B, N, ...)` grids become `(1, L, ...)`, with
`L` the number of computed tokens of the whole batch, and go back.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import HfRltError


@dataclass(frozen=True)
class PackedLayout:
    """Where the computed tokens of a batch stand.

    Two clips of five positions, x computed: `x.x.. | xxx.x` has indices 0 2 5 6 7 9, lengths (2, 4), cu_seqlens 0 2 6.
    """

    batch: int  # B, the number of clips
    positions: int  # N, the number of grid positions of a clip
    indices: Tensor  # (L,) int64, positions in the flattened (B * N) grid, clip by clip, ascending
    cu_seqlens: Tensor  # (B + 1,) int32, cumulative lengths, from 0 to L
    lengths: tuple[int, ...]  # computed tokens of each clip, on the host
    total: int = field(init=False)  # L, the computed tokens of the batch
    max_length: int = field(init=False)  # of the longest clip
    is_uniform: bool = field(init=False)  # all clips have as many computed tokens: the pack is a plain batch
    is_dense: bool = field(init=False)  # every position is computed

    def __post_init__(self) -> None:
        # Once, and on the host: what compiled code only reads, it does not specialise on.
        total, longest = sum(self.lengths), max(self.lengths)
        uniform, dense = total == longest * self.batch, total == self.batch * self.positions
        self.__dict__.update(total=total, max_length=longest, is_uniform=uniform, is_dense=dense)

    @property
    def clip_ids(self) -> Tensor:
        """`(L,)` int64: the clip each packed token belongs to."""
        return self.indices // self.positions


@dataclass(frozen=True)
class PaddedLayout:
    """Where the tokens of a batch stand whose clips are padded to n tokens, as exported models take them.

    It answers what a `PackedLayout` of clips of n tokens each would.
    """

    places: Tensor  # (B, n) int64, positions in the grid
    counts: Tensor  # (B, n) bool: True for a token, False for padding
    positions: int  # N, the number of grid positions of a clip, at least
    is_uniform: ClassVar[bool] = True
    is_dense: ClassVar[bool] = False

    @property
    def indices(self) -> Tensor:
        """`(B * n,)` int64 positions, clip by clip."""
        return self.places.flatten()

    @property
    def batch(self) -> int:
        """B, the number of clips."""
        return self.places.shape[0]

    @property
    def max_length(self) -> int:
        """n, to which clips are padded."""
        return self.places.shape[1]


Layout = PackedLayout | PaddedLayout


@torch.compiler.disable  # it reads from the device: the one break in a compiled model, before its blocks
def packed_layout(run_lengths: Tensor, max_run: int | None = None) -> PackedLayout:
    """Lay out the tokens with `run_lengths > 0`, `(B, N)` integers or bools. Reads the lengths to the host, once.

    Raises:
        HfRltError: if a clip has no computed token, or a run length is negative or above `max_run`.
    """
    if run_lengths.ndim != 2 or 0 in run_lengths.shape:
        raise HfRltError(
            f"Expected run_lengths of shape (batch, tokens), none empty, received {tuple(run_lengths.shape)}."
        )
    batch, positions = run_lengths.shape
    keep, rows = run_lengths > 0, run_lengths.long()
    # The one synchronisation of a forward pass (with tubelets in place of clips one of two).
    lengths, smallest, largest = torch.stack([keep.sum(1), rows.amin(1), rows.amax(1)]).tolist()
    if 0 in lengths:
        raise HfRltError(
            f"Clip {lengths.index(0)} of {batch} has no computed token: each clip needs at least one run length >= 1."
        )
    if min(smallest) < 0 or (max_run is not None and max(largest) > max_run):
        raise HfRltError(
            f"Expected run lengths from 0 to {max_run}, received {min(smallest)} to {max(largest)}: of another grid?"
        )
    cu_seqlens = F.pad(keep.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    return PackedLayout(batch, positions, _positions(keep, sum(lengths)), cu_seqlens, tuple(lengths))


def equal_layout(run_lengths: Tensor, tokens: int) -> PackedLayout:
    """Lay out clips of `tokens` computed tokens each, without reading anything to the host.

    Where compiled code is given other run lengths than its model computes, the device raises an error.
    """
    batch, positions = run_lengths.shape
    keep = run_lengths > 0
    torch._assert_async(
        (keep.sum(1) == tokens).all(), f"Expected run lengths of {tokens} computed tokens in each clip."
    )
    cu_seqlens = torch.arange(batch + 1, dtype=torch.int32, device=keep.device) * tokens
    return PackedLayout(batch, positions, _positions(keep, batch * tokens), cu_seqlens, (tokens,) * batch)


def _positions(keep: Tensor, total: int) -> Tensor:
    """List the positions `(total,)` that are kept, of `(B, N)` bools flattened."""
    flat = keep.flatten()
    # Scatter instead of nonzero(): its size is known, so the device is not waited for.
    slot = torch.where(flat, flat.cumsum(0) - 1, total)
    return slot.new_empty(total + 1).scatter_(0, slot, torch.arange(flat.numel(), device=flat.device))[:total]


def layout_of_lengths(lengths: tuple[int, ...], counts: Tensor) -> PackedLayout:
    """Lay out sequences of these lengths: N is the longest, and each holds its first positions.

    `counts` `(B,)` are the lengths on the device, so that neither side waits for the other.
    """
    device = counts.device
    batch, longest, total = len(lengths), max(lengths), sum(lengths)
    if total == batch * longest:
        offsets = torch.arange(batch + 1, dtype=torch.int32, device=device) * longest
        return PackedLayout(batch, longest, torch.arange(total, device=device), offsets, lengths)
    ends = counts.cumsum(0)
    clips = torch.repeat_interleave(torch.arange(batch, device=device), counts, output_size=total)
    within = torch.arange(total, device=device) - (ends - counts)[clips]
    cu_seqlens = F.pad(ends, (1, 0)).to(torch.int32)
    return PackedLayout(batch, longest, clips * longest + within, cu_seqlens, lengths)


def pack(grid: Tensor, layout: PackedLayout) -> Tensor:
    """Gather the `(1, L, ...)` computed tokens of a `(B, N, ...)` grid; raise HfRltError if it is not the layout's."""
    if tuple(grid.shape[:2]) != (layout.batch, layout.positions):
        raise HfRltError(f"Expected a ({layout.batch}, {layout.positions}, ...) grid, received {tuple(grid.shape)}.")
    return grid.flatten(0, 1).index_select(0, layout.indices)[None]


def unpack(packed: Tensor, layout: PackedLayout) -> Tensor:
    """Scatter `(1, L, ...)` packed tokens to their `(B, N, ...)` grid, zero where nothing was computed."""
    if tuple(packed.shape[:2]) != (1, layout.total):
        raise HfRltError(f"Expected a (1, {layout.total}, ...) pack, received {tuple(packed.shape)}.")
    grid = packed.new_zeros((layout.batch * layout.positions, *packed.shape[2:]))
    return grid.index_copy(0, layout.indices, packed[0]).unflatten(0, (layout.batch, layout.positions))


def mean_per_sequence(tokens: Tensor, layout: Layout) -> Tensor:
    """Average each clip's computed tokens, `(1, L, D)` packed or `(B, n, D)`: `(B, D)`."""
    if isinstance(layout, PaddedLayout):
        weights = layout.counts[..., None].to(tokens.dtype)
        return (tokens * weights).sum(1) / weights.sum(1)
    if layout.is_uniform:
        return tokens.reshape(layout.batch, layout.max_length, -1).mean(1)
    return torch.stack([clip.mean(0) for clip in tokens[0].split(layout.lengths)])
