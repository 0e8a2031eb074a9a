# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches within a token budget: what they promise, for any counts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from hf_rlt.data.token_budget import TokenBudgetSampler, batches_within

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=120)
BATCHES_PER_STEP = st.tuples(st.integers(1, 3), st.integers(1, 3))  # ranks, accumulation


def epoch_of(counts, max_tokens, ranks=1, accumulation=1, epoch=0, seed=0) -> list[list[list[int]]]:
    """The batches of each rank."""
    found = []
    for rank in range(ranks):
        sampler = TokenBudgetSampler(counts, max_tokens, ranks, rank, accumulation, seed)
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(found[-1]) == len(sampler)
    return found


@given(COUNTS, st.integers(1, 200), BATCHES_PER_STEP, st.integers(0, 3))
def test_each_clip_once_within_the_budget_in_the_same_steps_on_any_split(counts, max_tokens, split, epoch):
    ranks, accumulation = split
    slots = ranks * accumulation
    readable = [clip for clip, count in enumerate(counts) if count]
    assume(len(readable) >= slots)
    ranked = epoch_of(counts, max_tokens, ranks, accumulation, epoch)
    assert len({len(batches) for batches in ranked}) == 1
    assert len(ranked[0]) % accumulation == 0
    batches = [batch for rank in ranked for batch in rank]
    assert all(batches)
    assert all(sum(counts[clip] for clip in batch) <= max_tokens or len(batch) == 1 for batch in batches)
    taken = sorted(clip for batch in batches for clip in batch)
    if len(batches) <= len(readable):
        assert taken == readable
    else:  # hardly any two clips share a batch: some come twice, so that all ranks have equally many
        assert set(taken) == set(readable)
        assert len(taken) - len(readable) < slots
    assert epoch_of(counts, max_tokens, ranks, accumulation, epoch) == ranked
    assert len(epoch_of(counts, max_tokens, ranks, accumulation, epoch + 1)[0]) == len(ranked[0])
    (one,) = epoch_of(counts, max_tokens, 1, slots, epoch)
    for step in range(len(one) // slots):
        part = slice(step * accumulation, (step + 1) * accumulation)
        theirs = sorted(batch for rank in ranked for batch in rank[part])
        assert theirs == sorted(one[step * slots : (step + 1) * slots])


def test_epochs_and_seeds_differ_and_neighbours_are_strangers():
    counts = np.random.default_rng(0).integers(196, 1569, 2000).tolist()
    runs = [epoch_of(counts, 8000, epoch=epoch, seed=seed)[0] for epoch, seed in ((0, 0), (1, 0), (0, 7))]
    together = [{frozenset(pair) for batch in run for pair in pairwise(batch)} for run in runs]
    for first, second in ((0, 1), (0, 2)):
        assert len(together[first] & together[second]) < 0.01 * len(together[first])
    # Long and short clips come at any time: the tenths of an epoch are alike.
    order = np.array([counts[clip] for batch in runs[0] for clip in batch])
    means = [part.mean() for part in np.array_split(order, 10)]
    assert max(means) / min(means) < 1.15  # a standard error of 3 % each
    # Nor are they sorted by tokens within their batch, where mixup pairs them.
    falls = np.mean([counts[a] > counts[b] for batch in runs[0] for a, b in pairwise(batch)])
    assert 0.45 < falls < 0.55


@pytest.mark.parametrize(("clips", "share"), [(16, 0.6), (300, 0.1)])
def test_batches_of_a_small_set_change_from_epoch_to_epoch(clips, share):
    counts = np.random.default_rng(0).integers(196, 1569, clips).tolist()
    (one,), (two,) = (epoch_of(counts, 4 * 882, epoch=epoch) for epoch in (0, 1))
    pairs = [{(a, b) for batch in run for a in batch for b in batch if a < b} for run in (one, two)]
    assert len(pairs[0] & pairs[1]) < share * len(pairs[0])


DISTRIBUTIONS = {
    "uniform": lambda rng: rng.integers(196, 1569, 3000),
    "skewed": lambda rng: np.clip(rng.lognormal(6.2, 0.6, 3000), 196, 1568).astype(int),
    "two kinds": lambda rng: rng.normal(np.where(rng.random(3000) < 0.7, 300, 1400), 80).clip(196, 1568).astype(int),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("ranks", [1, 4])
def test_batches_are_full_and_alike(name, ranks):
    counts = DISTRIBUTIONS[name](np.random.default_rng(1))
    for clips in (8, 16):
        sampler = TokenBudgetSampler(counts.tolist(), int(clips * counts.mean()), ranks)
        for epoch in range(2):
            tokens = np.array([counts[batch].sum() for batch in sampler.plan(epoch)])
            assert tokens.mean() / sampler.max_tokens == pytest.approx(sampler.fill)
            assert sampler.fill > 0.95
            assert tokens.min() > 0.9 * tokens.max()
            steps = tokens.reshape(-1, ranks)
            assert (steps.max(1) - steps.mean(1)).mean() < 0.01 * tokens.mean()


def test_large_clips_and_repeats_are_told(caplog):
    sampler = TokenBudgetSampler([100, 30, 30, 30, 30, 70, 200], 65)
    assert sum(batch in ([0], [5], [6]) for epoch in range(3) for batch in sampler.plan(epoch)) == 9
    TokenBudgetSampler([10] * 5, 15, ranks=2)
    large, twice = caplog.messages
    assert "3 of 7 clips have more than the 65 tokens of a batch, the largest 200" in large
    assert "5 batches of one clip each are not a multiple of 2: in each epoch 1 clips come twice" in twice


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"at least 4 readable clips, one for each of 2 processes x 2 .* received 3"):
        TokenBudgetSampler([5, 0, 5, 5], 100, ranks=2, accumulation=2)
    for call in (lambda: TokenBudgetSampler([5], 0), lambda: list(batches_within([], 10, max_items=0))):
        with pytest.raises(ValueError, match=r"Expected max_tokens, max_items and ahead >= 1"):
            call()


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 150), st.none() | st.integers(1, 9), st.integers(1, 9))
def test_looking_ahead_loses_nothing_and_holds_little(items, max_tokens, max_items, ahead):
    pulled = []
    numbered = (pulled.append(place) or (place, size) for place, size in enumerate(items))
    given = []
    for batch in batches_within(numbered, max_tokens, lambda item: item[1], max_items, ahead):
        assert max_items is None or len(batch) <= max_items
        assert sum(size for _, size in batch) <= max_tokens or len(batch) == 1
        assert batch[0][0] == min(set(range(len(items))) - {place for place, _ in given})  # nobody waits forever
        given += batch
        assert len(pulled) - len(given) <= ahead
    assert sorted(given) == list(enumerate(items))
    assert ahead > 1 or given == list(enumerate(items))


@pytest.mark.parametrize(
    ("items", "limits", "batches"),
    [
        ([70, 60, 30, 40, 50, 50], {}, [[70], [60, 30], [40, 50], [50]]),
        ([70, 60, 30, 40, 50, 50], {"ahead": 3}, [[70, 30], [60, 40], [50, 50]]),
        ([90, 80, 60, 20, 30, 10], {"ahead": 4, "max_items": 2}, [[90], [80, 20], [60, 30], [10]]),
    ],
)
def test_lists_are_filled_as_far_as_the_budget_goes(items, limits, batches):
    assert list(batches_within(items, 100, tokens=int, **limits)) == batches
    computed = [{"run_lengths": torch.tensor([size] * size + [0])} for size in items]
    assert [
        [len(item["run_lengths"]) - 1 for item in batch] for batch in batches_within(computed, 100, **limits)
    ] == batches
