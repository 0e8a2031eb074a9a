# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The packed layout: there and back, order, bounds and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import reference
from hf_rlt.models.packing import mean_per_sequence, pack, packed_layout, unpack


def random_lengths(batch, positions, share, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = (torch.rand(batch, positions, generator=generator) < share).long()
    lengths[:, 0] = 1
    return lengths


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**20))
def test_pack_and_unpack_are_inverse_and_keep_order(batch, positions, share, seed):
    lengths = random_lengths(batch, positions, share, seed)
    layout = packed_layout(lengths)
    kept = [[position for position in range(positions) if lengths[b, position] > 0] for b in range(batch)]
    assert layout.lengths == tuple(len(clip) for clip in kept)
    assert layout.indices.tolist() == [b * positions + position for b, clip in enumerate(kept) for position in clip]
    assert layout.clip_ids.tolist() == [b for b, clip in enumerate(kept) for _ in clip]
    ends = torch.tensor(layout.lengths).cumsum(0).tolist()
    assert layout.cu_seqlens.tolist() == [0, *ends]
    assert layout.cu_seqlens.dtype == torch.int32
    assert (layout.total, layout.max_length) == (sum(map(len, kept)), max(map(len, kept)))
    assert layout.is_uniform == (len({len(clip) for clip in kept}) == 1)
    assert layout.is_dense == all(len(clip) == positions for clip in kept)

    grid = torch.randn(batch, positions, 3)
    packed = pack(grid, layout)
    assert packed.shape == (1, layout.total, 3)
    assert torch.equal(packed[0], torch.cat([grid[b, kept[b]] for b in range(batch)]))
    assert torch.equal(unpack(packed, layout), grid * (lengths > 0)[..., None])
    torch.testing.assert_close(mean_per_sequence(packed, layout), reference.mean_per_clip(grid, lengths))


def test_uniform_batches_are_accepted_as_a_plain_batch():
    lengths = torch.tensor([[1, 0, 2], [0, 1, 1]])
    layout = packed_layout(lengths, max_run=2)
    assert layout.is_uniform
    assert not layout.is_dense
    grid = torch.randn(2, 3, 4)
    packed = pack(grid, layout)
    means = reference.mean_per_clip(grid, lengths)
    torch.testing.assert_close(mean_per_sequence(packed, layout), means)
    torch.testing.assert_close(mean_per_sequence(packed.view(2, 2, 4), layout), means)


@pytest.mark.parametrize(
    ("function", "shape"), [(pack, (2, 3, 2)), (unpack, (1, 3, 2)), (mean_per_sequence, (1, 3, 2))]
)
def test_gradients_are_exact(function, shape):
    layout = packed_layout(torch.tensor([[1, 0, 1], [0, 1, 0]]))
    values = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda grid: function(grid, layout), values)


def test_bad_lengths_are_refused_with_numbers():
    with pytest.raises(ValueError, match="Clip 1 of 2 has no computed token"):
        packed_layout(torch.tensor([[1, 0], [0, 0]]))
    with pytest.raises(ValueError, match="received -1 to 1"):
        packed_layout(torch.tensor([[1, -1]]))
    with pytest.raises(ValueError, match="from 0 to 4, received 1 to 5"):
        packed_layout(torch.tensor([[1, 5]]), max_run=4)
    for shape in [(4,), (0, 4)]:
        with pytest.raises(ValueError, match=str(shape[0])):
            packed_layout(torch.ones(shape, dtype=torch.int64))


def test_another_grid_or_pack_is_refused_with_numbers():
    layout = packed_layout(torch.tensor([[1, 0, 1], [0, 1, 0]]))
    with pytest.raises(ValueError, match=r"\(2, 3, \.\.\.\).*\(2, 4, 1\)"):
        pack(torch.zeros(2, 4, 1), layout)
    with pytest.raises(ValueError, match=r"\(1, 3, \.\.\.\).*\(3, 1, 1\)"):
        unpack(torch.zeros(3, 1, 1), layout)
