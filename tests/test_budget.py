# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches by tokens: what the plan promises, for any counts; trainings, memory and restarts with them."""

import logging
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hf_rlt.data.budget import TokenBudgetSampler, batches_within

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=120)
SPLITS = st.tuples(st.integers(1, 3), st.integers(1, 3))  # ranks, accumulation


def epoch_of(counts, max_tokens, ranks, accumulation, epoch, seed=0) -> list[list[list[int]]]:
    """Returns the batches of each rank."""
    found = []
    for rank in range(ranks):
        sampler = TokenBudgetSampler(counts, max_tokens, ranks, rank, accumulation, seed)
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(found[-1]) == len(sampler)
    return found


@given(COUNTS, st.integers(1, 200), SPLITS, st.integers(0, 3))
def test_each_clip_once_within_the_budget_and_as_many_batches_on_each_rank(counts, max_tokens, split, epoch):
    ranks, accumulation = split
    readable = [clip for clip, count in enumerate(counts) if count]
    assume(len(readable) >= ranks * accumulation)
    ranked = epoch_of(counts, max_tokens, ranks, accumulation, epoch)
    assert len({len(batches) for batches in ranked}) == 1
    assert len(ranked[0]) % accumulation == 0
    batches = [batch for rank in ranked for batch in rank]
    assert all(batches)
    assert all(sum(counts[clip] for clip in batch) <= max_tokens or len(batch) == 1 for batch in batches)
    taken = sorted(clip for batch in batches for clip in batch)
    if len(batches) <= len(readable):
        assert taken == readable
    else:  # hardly any two clips share a batch: some come twice, so that all ranks have as many
        assert set(taken) == set(readable)
        assert len(taken) - len(readable) < ranks * accumulation
    again = epoch_of(counts, max_tokens, ranks, accumulation, epoch)
    assert again == ranked
    assert len(epoch_of(counts, max_tokens, ranks, accumulation, epoch + 1)[0]) == len(ranked[0])


@given(COUNTS, st.integers(1, 200), SPLITS)
def test_ranks_and_accumulation_take_the_same_steps(counts, max_tokens, split):
    ranks, accumulation = split
    assume(np.count_nonzero(counts) >= ranks * accumulation)
    several = epoch_of(counts, max_tokens, ranks, accumulation, 1)
    (one,) = epoch_of(counts, max_tokens, 1, ranks * accumulation, 1)
    slots = ranks * accumulation
    for step in range(len(one) // slots):
        part = slice(step * accumulation, (step + 1) * accumulation)
        theirs = sorted(batch for rank in several for batch in rank[part])
        assert theirs == sorted(one[step * slots : (step + 1) * slots])


def test_epochs_and_seeds_differ_and_neighbours_are_strangers():
    counts = np.random.default_rng(0).integers(196, 1569, 2000).tolist()
    runs = [epoch_of(counts, 8000, 1, 1, epoch, seed)[0] for epoch, seed in ((0, 0), (1, 0), (0, 7))]
    together = [{frozenset(pair) for batch in run for pair in pairwise(batch)} for run in runs]
    for first, second in ((0, 1), (0, 2)):
        assert len(together[first] & together[second]) < 0.01 * len(together[first])
    # Long and short ones come at any time: the tenths of an epoch are alike.
    order = np.array([counts[clip] for batch in runs[0] for clip in batch])
    means = [part.mean() for part in np.array_split(order, 10)]
    assert max(means) / min(means) < 1.15  # a standard error of 3 % each
    # Nor do they stand in order of tokens in their batch, where mixing pairs them.
    falls = np.mean([counts[a] > counts[b] for batch in runs[0] for a, b in pairwise(batch)])
    assert 0.45 < falls < 0.55


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
        for epoch in range(4):
            tokens = np.array([counts[batch].sum() for batch in sampler.plan(epoch)])
            assert tokens.mean() / sampler.max_tokens == pytest.approx(sampler.fill)
            assert sampler.fill > 0.95
            assert tokens.min() > 0.9 * tokens.max()
            steps = tokens.reshape(-1, ranks)
            assert (steps.max(1) - steps.mean(1)).mean() < 0.01 * tokens.mean()


def test_a_clip_that_is_too_large_stands_alone_and_is_told_once(caplog):
    counts = [100, 30, 30, 30, 30, 70, 200]
    with caplog.at_level(logging.WARNING):
        sampler = TokenBudgetSampler(counts, 65)
        batches = [batch for epoch in range(3) for batch in (sampler.set_epoch(epoch), list(sampler))[1]]
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 7 clips have more than the 65 tokens of a batch, clip 0 has 100, the largest 200: each gets a batch of "
        "its own."
    ]
    assert sum(batch in ([0], [5], [6]) for batch in batches) == 9
    with pytest.raises(
        ValueError, match=r"3 of 7 clips have more than the 65 tokens .*: allow a batch at least as many"
    ):
        TokenBudgetSampler(counts, 65, oversize="raise")


def test_impossible_settings_are_refused_and_repeats_are_told(caplog):
    with pytest.raises(ValueError, match=r"at least 4 readable clips, one for each of 2 processes x 2 .* received 3"):
        TokenBudgetSampler([5, 0, 5, 5], 100, ranks=2, accumulation=2)
    with pytest.raises(ValueError, match=r"Expected max_tokens >= 1 .* received 0"):
        TokenBudgetSampler([5], 0)
    with pytest.raises(ValueError, match="received 10 and 'drop'"):
        TokenBudgetSampler([5], 10, oversize="drop")
    with pytest.raises(ValueError, match="Expected max_tokens >= 1 and max_items >= 1 or None, received 10 and 0"):
        batches_within([], 10, max_items=0)
    TokenBudgetSampler([10] * 5, 15, ranks=2)
    assert "5 batches of one clip each are not a multiple of 2: in each epoch 1 clips come twice" in caplog.text


@given(st.lists(st.integers(0, 40)), st.integers(1, 100), st.none() | st.integers(1, 5))
def test_items_keep_their_order_and_a_batch_ends_where_the_next_would_not_fit(items, max_tokens, max_items):
    batches = list(batches_within(iter(items), max_tokens, tokens=int, max_items=max_items))
    assert [item for batch in batches for item in batch] == items
    for batch, following in zip(batches, [*batches[1:], None], strict=False):
        assert batch
        assert sum(batch) <= max_tokens or len(batch) == 1
        assert max_items is None or len(batch) <= max_items
        if following is not None:
            assert sum(batch) + following[0] > max_tokens or len(batch) == max_items
