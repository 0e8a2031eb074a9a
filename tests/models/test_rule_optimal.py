# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Optimal runs against trying every way to cut a place into runs."""

import json
from functools import partial
from itertools import product

import pytest
import torch

from helpers.training import finish, start, words
from hf_rlt.errors import HfRltError
from hf_rlt.models.rule_anchor import anchor_differences
from hf_rlt.models.rule_optimal import best_starts, optimal_starts, run_errors
from hf_rlt.models.run_rule import RULES, Rule, RunRule

POWERS = {"optimal": 4, "optimal_p1": 1}
CLIPS, TUBELETS, PLACES = 2, 5, 2
SCALES = torch.tensor([1.0, 0.6]).view(CLIPS, 1, 1, 1, 1)
PIXELS = SCALES * torch.randn(CLIPS, 2 * TUBELETS, 3, 4, 8, generator=torch.Generator().manual_seed(1)).cumsum(1)
WAYS = [(1, *later) for later in product((0, 1), repeat=TUBELETS - 1)]  # whether each tubelet starts a run


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(RULES, "optimal_p1", Rule(anchor_differences, partial(optimal_starts, power=1)))


def tubelet(clip, time, place):
    return PIXELS[clip, 2 * time : 2 * time + 2, :, :, 4 * place : 4 * place + 4].double()


def error(clip, time, start, place):
    return float((tubelet(clip, time, place) - tubelet(clip, start, place)).abs().mean())


def loss(clip, place, way, power):
    """Add up what stands wrong at a place if the tubelets marked in `way` start runs."""
    total = 0.0
    for time in range(TUBELETS):
        start = max(i for i in range(time + 1) if way[i])
        total += error(clip, time, start, place) ** power
    return total


def loss_of(clip, run_lengths, power):
    marked = (run_lengths[clip].view(TUBELETS, PLACES) > 0).int()
    return sum(loss(clip, place, tuple(marked[:, place].tolist()), power) for place in range(PLACES))


def least_losses(clips, power):
    """Return the least loss of clips for each number of tokens that is the best one at some price."""
    least = {0: 0.0}
    for clip, place in product(clips, range(PLACES)):
        more = {}
        for (tokens, total), way in product(least.items(), WAYS):
            count = tokens + sum(way)
            more[count] = min(more.get(count, float("inf")), total + loss(clip, place, way, power))
        least = more
    prices = torch.logspace(-6, 6, 2000).tolist()
    return {count: least[count] for price in prices for count in [min(least, key=lambda n: least[n] + price * n)]}


def rule(name, **settings):
    return RunRule(patch_size=4, rule=name, **settings)


@pytest.mark.parametrize("power", [1, 4])
@pytest.mark.parametrize("price", [0.0, 0.1, 0.3, 1.0, 3.0, 1e6])
def test_no_other_runs_have_a_lower_sum_of_errors_and_prices(power, price):
    costs = torch.zeros(TUBELETS, TUBELETS, PLACES, dtype=torch.float64)
    for b, a, place in product(range(TUBELETS), range(TUBELETS), range(PLACES)):
        costs[b, a, place] = sum(error(0, i, a, place) ** power for i in range(a, b + 1))
    found = best_starts(costs[None, :, :, None], torch.tensor([price]))[0, :, 0]
    for place in range(PLACES):
        totals = {way: loss(0, place, way, power) + price * sum(way) for way in WAYS}
        assert totals[tuple(found[:, place].int().tolist())] == pytest.approx(min(totals.values()))


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("setting", ["num_tokens", "max_tokens"])
def test_a_clip_has_the_tokens_wanted_and_the_least_error_of_all_with_as_many(name, setting):
    least = [least_losses([clip], POWERS[name]) for clip in range(CLIPS)]
    assert min(map(len, least)) > 3
    for tokens in range(PLACES, TUBELETS * PLACES + 1):
        found = rule(name, **{setting: tokens}).find(PIXELS)
        assert (found > 0).sum(1).tolist() == [tokens] * CLIPS
        assert found.view(CLIPS, TUBELETS, PLACES).sum(1).tolist() == [[TUBELETS] * PLACES] * CLIPS
        for clip in range(CLIPS):
            if tokens in least[clip]:
                assert loss_of(clip, found, POWERS[name]) == pytest.approx(least[clip][tokens], rel=1e-5)


@pytest.mark.parametrize("name", POWERS)
def test_clips_that_share_tokens_have_the_least_error_together(name):
    least = least_losses(range(CLIPS), POWERS[name])
    assert len(least) > 6
    for tokens in range(PLACES, TUBELETS * PLACES + 1):
        found = rule(name, num_tokens=tokens, budget="batch").find(PIXELS)
        assert (found > 0).sum() == CLIPS * tokens
        if CLIPS * tokens in least:
            together = sum(loss_of(clip, found, POWERS[name]) for clip in range(CLIPS))
            assert together == pytest.approx(least[CLIPS * tokens], rel=1e-5)


def test_a_still_clip_is_filled_up_from_the_first_place():
    found = rule("optimal", num_tokens=5).find(torch.zeros(1, 2 * TUBELETS, 3, 4, 8))
    assert found.view(TUBELETS, PLACES).tolist() == [[1, 1], [1, 4], [3, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("levels", [(0, 1, 0, 1, 0), (0, 0, 1, 1, 1), (0, 1, 3, 1, 0)])
@pytest.mark.parametrize("name", POWERS)
def test_numbers_of_tokens_that_no_price_gives_are_filled_up(name, levels):
    pixels = torch.tensor(levels, dtype=torch.float32).repeat_interleave(2).view(1, -1, 1, 1, 1).expand(1, -1, 3, 4, 8)
    for tokens in range(PLACES, TUBELETS * PLACES + 1):
        assert (rule(name, num_tokens=tokens).find(pixels) > 0).sum() == tokens


def test_errors_are_those_of_the_latest_start():
    marked = torch.tensor([[way, WAYS[-1 - i]] for i, way in enumerate(WAYS[3:5])]).transpose(1, 2).bool()
    found = run_errors(rule("anchor").differences(PIXELS), marked[:, 1:, None])[:, :, 0]
    for clip, time, place in product(range(CLIPS), range(1, TUBELETS), range(PLACES)):
        start = max(i for i in range(time + 1) if marked[clip, i, place])
        assert float(found[clip, time - 1, place]) == pytest.approx(error(clip, time, start, place), abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"num_tokens": 4, "budget_groups": 2}])
def test_a_number_of_tokens_is_needed(settings):
    with pytest.raises(HfRltError, match='Expected num_tokens, and budget_groups=1, with rule="optimal", received'):
        rule("optimal", **settings)
    assert not rule("optimal", threshold=None).drops


@pytest.mark.slow
def test_a_model_is_trained_with_them(rendered_digits, tmp_path):
    options = ("--rule", "optimal", "--num_tokens", "0.2", "--max_steps", "1", "--dataloader_num_workers", "1")
    finish(start(words(rendered_digits, tmp_path, *options)))
    assert json.loads((tmp_path / "all_results.json").read_text())["eval_tokens_computed"] == pytest.approx(
        0.2, abs=1e-3
    )
    assert json.loads((tmp_path / "config.json").read_text())["rule"] == "optimal"
