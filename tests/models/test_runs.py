# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Runs against the literal definition, on any shape and dtype."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import reference
from helpers.generated import clips_and_sizes
from helpers.op_counts import OpCounts
from hf_rlt.models.errors import HfRltError
from hf_rlt.models.run_rule import RunRule, find_runs
from hf_rlt.models.runs import check_run_lengths, drop_random, fill_runs, lengths_from_starts

thresholds = st.sampled_from([-1, 0, 0.1, 0.37, 1.01, 2.3, math.inf])


@settings(max_examples=150, deadline=None)
@given(clips_and_sizes(), thresholds)
def test_starts_lengths_and_fill_follow_the_definition(sample, threshold):
    clips, tubelet, patch = sample
    expected = reference.run_starts(clips, threshold, tubelet, patch)
    lengths = find_runs(clips, threshold, tubelet, patch)
    assert lengths.dtype == torch.int64
    np.testing.assert_array_equal(lengths.numpy(), reference.run_lengths(expected))
    tubelets = expected.shape[1]
    assert (lengths.view(len(clips), tubelets, -1).sum(1) == tubelets).all()
    np.testing.assert_array_equal((lengths > 0).numpy(), expected.reshape(len(clips), -1))

    tokens = torch.randn(*lengths.shape, 2)
    filled = fill_runs(tokens, lengths, tubelets)
    assert torch.equal(filled, reference.fill(tokens, lengths, tubelets))
    assert torch.equal(fill_runs(filled, lengths, tubelets), filled)
    assert torch.equal(filled[lengths > 0], tokens[lengths > 0])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**20))
def test_fill_leaves_positions_of_removed_runs_zero(tubelets, places, seed):
    generator = torch.Generator().manual_seed(seed)
    starts = torch.rand(2, tubelets, places, 1, generator=generator) < 0.5
    lengths = lengths_from_starts(starts)
    lengths = lengths * (torch.rand(lengths.shape, generator=generator) < 0.6)
    tokens = torch.randn(*lengths.shape, 3, generator=generator)
    assert torch.equal(fill_runs(tokens, lengths, tubelets), reference.fill(tokens, lengths, tubelets))


@pytest.mark.parametrize(("tubelet", "patch"), [(1, 8), (2, 8), (2, 16), (4, 8)])
def test_differences_equal_the_authors_formulation_bit_for_bit(tubelet, patch):
    clips = torch.randn(2, 16, 3, 64, 48, generator=torch.Generator().manual_seed(tubelet))
    ours = RunRule(0.1, tubelet, patch).differences(clips)
    assert torch.equal(ours, reference.authors_differences(clips, tubelet, patch))
    literal = reference.differences(clips, tubelet, patch)[:, 1:]
    np.testing.assert_allclose(ours.numpy(), literal, rtol=1e-5)


def test_threshold_is_strict():
    clips = torch.zeros(1, 4, 1, 2, 2)
    clips[:, 3] = 0.5  # the last frame of tubelet 1 against the first frame of tubelet 0
    assert find_runs(clips, 0.5, 2, 2).tolist() == [[2, 0]]
    assert find_runs(clips, 0.49999, 2, 2).tolist() == [[1, 1]]
    clips[:, 3], clips[:, 2] = 0.0, 9.0  # frames in between are not looked at
    assert find_runs(clips, 0.0, 2, 2).tolist() == [[2, 0]]


def test_half_precision_is_compared_in_float32():
    clips = torch.zeros(1, 4, 1, 16, 16, dtype=torch.float16)
    clips[:, 0], clips[:, 3] = 60000, -60000  # the difference is infinite in float16
    difference = RunRule(0.1, 2, 16).differences(clips)
    assert difference.dtype == torch.float32
    assert difference.item() == pytest.approx(119968, abs=100)


def test_nan_starts_a_run_and_inf_threshold_keeps_only_first():
    clips = torch.zeros(1, 4, 1, 4, 4)
    clips[:, 3, 0, 0, 0] = math.nan
    assert find_runs(clips, math.inf, 2, 2).view(2, 4).tolist() == [[1, 2, 2, 2], [1, 0, 0, 0]]
    assert find_runs(torch.randn(1, 8, 3, 8, 8), math.inf, 2, 4).view(4, 4).tolist() == [[4] * 4] + [[0] * 4] * 3


def test_one_full_size_float_copy_and_no_more():
    clips = torch.zeros(2, 16, 3, 32, 32, dtype=torch.uint8)
    with OpCounts() as ops:
        RunRule(0.1, 2, 8).differences(clips)
    full = 4 * 2 * 7 * 3 * 32 * 32  # bytes
    whole = {name: size for name, size in ops.written.items() if size >= full and not name.endswith("_")}
    assert whole == {"_to_copy": full}


@pytest.mark.parametrize(
    ("clips", "sizes", "numbers"),
    [
        (torch.zeros(8, 3, 16, 16), (2, 8), ["(8, 3, 16, 16)", "batch, frames, channels, height, width"]),
        (torch.zeros(1, 1, 3, 16, 16), (2, 8), ["1 frames", "2 frames"]),
        (torch.zeros(1, 4, 3, 16, 6), (2, 8), ["16x6", "8x8"]),
        (torch.zeros(1, 4, 3, 16, 16), (0, 8), ["0", "8", ">= 1"]),
        (torch.zeros(1, 4, 3, 16, 16, dtype=torch.bool), (2, 8), ["torch.bool"]),
        (torch.zeros(1, 4, 3, 16, 16, dtype=torch.complex64), (2, 8), ["torch.complex64"]),
        (np.zeros((1, 4, 3, 16, 16)), (2, 8), ["ndarray"]),
    ],
)
def test_bad_clips_are_refused_with_what_was_expected_and_received(clips, sizes, numbers):
    for threshold in (0.1, None):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            find_runs(clips, threshold, *sizes)
        for number in numbers:
            assert number in str(error.value)


def test_bad_thresholds_are_refused():
    clips = torch.zeros(1, 4, 3, 16, 16)
    with pytest.raises(ValueError, match="NaN"):
        find_runs(clips, math.nan, 2, 8)
    for threshold in ("0.1", True, [0.1]):
        with pytest.raises(HfRltError, match="threshold"):
            find_runs(clips, threshold, 2, 8)


def test_mismatched_run_lengths_are_refused_with_numbers():
    check_run_lengths(torch.ones(2, 64, dtype=torch.int32), 2, (4, 4, 4))
    with pytest.raises(ValueError, match=r"\(2, 64\).*4x4x4.*\(2, 63\)"):
        check_run_lengths(torch.ones(2, 63, dtype=torch.int64), 2, (4, 4, 4))
    with pytest.raises(ValueError, match=r"\(2, 64\).*\(1, 64\)"):
        check_run_lengths(torch.ones(1, 64, dtype=torch.int64), 2, (4, 4, 4))
    for wrong, name in [(torch.ones(2, 64), "float32"), ([[1] * 64], "list")]:
        with pytest.raises(ValueError, match=name):
            check_run_lengths(wrong, 2, (4, 4, 4))


@given(st.integers(0, 10_000), st.floats(0.01, 1.0), st.integers(1, 4))
def test_random_masking_keeps_a_rounded_share_of_each_clips_tokens(seed, ratio, batch):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 4, (batch, 24), generator=generator)
    lengths[:, 0] = 1
    kept = drop_random(lengths, ratio, [torch.Generator().manual_seed(seed + clip) for clip in range(batch)])
    for before, after in zip(lengths.tolist(), kept.tolist(), strict=True):
        assert all(b in (0, a) for a, b in zip(before, after, strict=True))
        computed = sum(a > 0 for a in before)
        assert sum(b > 0 for b in after) == max(round(float(torch.tensor(computed) * ratio)), 1)
    for clip in range(batch):  # whatever else is in the batch
        alone = drop_random(lengths[clip : clip + 1], ratio, [torch.Generator().manual_seed(seed + clip)])
        assert torch.equal(alone[0], kept[clip])


def test_random_masking_is_uniform_over_the_computed_tokens():
    lengths = torch.tensor([[2, 0, 1, 1, 0, 1]]).expand(4000, 6)
    kept = drop_random(lengths, 0.5, [torch.Generator().manual_seed(clip) for clip in range(4000)])
    share = (kept > 0).float().mean(0)
    assert share[[1, 4]].tolist() == [0, 0]
    assert ((share[[0, 2, 3, 5]] - 0.5).abs() < 0.04).all()  # five standard errors
    assert torch.equal(drop_random(lengths, 1.0), lengths)


def test_random_masking_refuses_other_ratios_and_too_few_generators():
    for ratio in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"Expected a ratio of tokens in \(0, 1\]"):
            drop_random(torch.ones(1, 4, dtype=torch.int64), ratio)
    with pytest.raises(ValueError, match="one generator for each of 2 clips, received 1"):
        drop_random(torch.ones(2, 4, dtype=torch.int64), 0.5, [torch.Generator()])
