# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The anchor rule and budgets against literal references, over generated clips."""

import math
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import reference
from helpers import reference_rules as slow
from helpers.generated import clips_and_sizes
from hf_rlt import HfRltError, RLTVideoMAEConfig, RLTVideoProcessor
from hf_rlt.models.run_rule import RULES, RunRule

thresholds = st.sampled_from([-1, 0, 0.1, 0.37, 1.01, 2.3, math.inf])


def starts_of(rule: RunRule, clips: torch.Tensor) -> np.ndarray:
    lengths = rule.find(clips)
    grid = rule.grid(clips)
    np.testing.assert_array_equal(lengths, reference.run_lengths((lengths > 0).view(len(clips), *grid).numpy()))
    return (lengths > 0).view(len(clips), *grid).numpy()


def sizes(rule: RunRule) -> tuple:
    return rule.tubelet_size, rule.patch_size


@st.composite
def budgets(draw):
    """Clips, the sizes of tubelets, and a number of tokens, groups and a scope that fit."""
    clips, tubelet, patch = draw(clips_and_sizes())
    tubelets, rows, columns = RunRule(0.1, tubelet, patch).grid(clips)
    tokens = draw(st.integers(rows * columns, tubelets * rows * columns))
    groups = draw(st.integers(1, max(tubelets - 1, 1)))
    return (
        clips,
        RunRule(0.1, tubelet, patch, budget=draw(st.sampled_from(["clip", "batch"])), budget_groups=groups),
        tokens,
    )


@settings(max_examples=60, deadline=None)
@given(clips_and_sizes(), thresholds)
def test_the_anchor_rule_follows_its_definition_and_keeps_its_promise(sample, threshold):
    clips, tubelet, patch = sample
    between = slow.tubelet_differences(clips, tubelet, patch)
    starts = starts_of(RunRule(threshold, tubelet, patch, rule="anchor"), clips)
    np.testing.assert_array_equal(starts, slow.anchor_starts(between, threshold))
    assert slow.largest_error(between, starts) <= max(threshold, 0)


@settings(max_examples=80, deadline=None)
@given(budgets())
def test_a_budget_takes_the_highest_differences(sample):
    clips, rule, tokens = sample
    later = rule.differences(clips).numpy()  # held against the definition in test_runs; ties are ties of these
    expected = slow.ranked_starts(later, tokens, rule.budget == "batch", rule.budget_groups)
    exactly = starts_of(replace(rule, num_tokens=tokens), clips)
    np.testing.assert_array_equal(exactly, expected)
    assert exactly.sum() == tokens * len(clips)
    if rule.budget == "clip":
        assert (exactly.reshape(len(clips), -1).sum(1) == tokens).all()
        assert replace(rule, num_tokens=tokens).exact_tokens(rule.grid(clips)) == tokens
    at_most = starts_of(replace(rule, max_tokens=tokens), clips)
    np.testing.assert_array_equal(at_most, expected & starts_of(rule, clips))


@settings(max_examples=60, deadline=None)
@given(budgets())
def test_an_anchor_budget_is_kept_with_the_lowest_threshold_there_is(sample):
    clips, rule, tokens = sample
    rule = replace(rule, rule="anchor", budget_groups=1)
    between = slow.tubelet_differences(clips, rule.tubelet_size, rule.patch_size)
    pools = [range(len(clips))] if rule.budget == "batch" else [[clip] for clip in range(len(clips))]
    exactly, at_most = (starts_of(replace(rule, **{name: tokens}), clips) for name in ("num_tokens", "max_tokens"))
    for pool in pools:
        own = between[pool]

        def fits(threshold, own=own, pool=pool):
            return slow.anchor_starts(own, threshold).sum() <= tokens * len(pool)

        values = sorted({0.0, *own.flatten()})
        # Above this one all fit: the number of runs may rise again below it.
        lowest = max([0.0, *(b for a, b in pairwise(values) if not fits(a))])
        lowest = 0.0 if fits(0.0) and lowest == 0.0 else lowest
        near = lowest + 1e-4 * (1 + values[-1])
        assert exactly[pool].sum() == tokens * len(pool)
        assert slow.largest_error(own, exactly[pool]) <= near
        assert at_most[pool].sum() <= tokens * len(pool)
        assert slow.largest_error(own, at_most[pool]) <= max(near, rule.threshold)
    plain = starts_of(rule, clips)
    if plain.reshape(len(clips), -1).sum(1).max() <= tokens:
        np.testing.assert_array_equal(at_most, plain)


@settings(max_examples=40, deadline=None)
@given(budgets())
def test_anchor_groups_have_their_shares(sample):
    clips, rule, tokens = sample
    rule = replace(rule, rule="anchor", num_tokens=tokens)
    starts = starts_of(rule, clips)
    tubelets, rows, columns = rule.grid(clips)
    pool = len(clips) if rule.budget == "batch" else 1
    groups = [slow.group_of(i, tubelets, rule.budget_groups) for i in range(1, tubelets)]
    room = [groups.count(g) * rows * columns * pool for g in range(rule.budget_groups)]
    expected = slow.group_counts((tokens - rows * columns) * pool, room)
    for clip in range(0, len(clips), pool):
        own = starts[clip : clip + pool, 1:]
        found = [sum(own[:, i].sum() for i, of in enumerate(groups) if of == g) for g in range(rule.budget_groups)]
        assert found == expected
    plenty = replace(rule, num_tokens=None, max_tokens=1.0)
    np.testing.assert_array_equal(starts_of(plenty, clips), starts_of(RunRule(0.1, *sizes(rule), rule="anchor"), clips))


def test_an_exact_budget_is_filled_up_from_the_ends_of_runs():
    """With 2 tokens for 0, 4, -3.9 the one in the middle may not be split off: it would stand for -3.9."""
    levels = torch.tensor([0.0, 0, 4, 4, -3.9, -3.9]).view(1, 6, 1, 1, 1).expand(1, 6, 3, 16, 16)
    starts = starts_of(RunRule(rule="anchor", num_tokens=2), levels)
    assert starts[0, :, 0, 0].tolist() == [True, False, True]


def test_slow_drift_is_seen_from_the_anchor_only():
    drift = torch.linspace(0, 0.4, 16).view(1, 16, 1, 1, 1).expand(1, 16, 3, 16, 16)
    assert starts_of(RunRule(0.1), drift).sum() == 1
    assert starts_of(RunRule(0.1, rule="anchor"), drift).sum() == 4


@pytest.mark.parametrize("rule", RULES)
def test_what_cannot_be_compared_is_computed_first(rule):
    clips = torch.zeros(2, 8, 3, 32, 32)
    clips[0, 4, 0, 0, 0] = math.nan
    clips[1, 7, 0, 20, 20] = math.inf
    free = starts_of(RunRule(0.1, rule="anchor" if rule == "optimal" else rule), clips)
    assert (free.reshape(2, -1).sum(1) > 4).all()
    for name in ("num_tokens", "max_tokens"):
        starts = starts_of(RunRule(0.1, rule=rule, **{name: 6}), clips)
        assert (starts >= free).all()


def test_with_no_threshold_a_budget_alone_decides():
    clips = torch.rand(2, 8, 3, 32, 32)
    for rule in RULES:
        exactly = RunRule(0.1, rule=rule, num_tokens=0.5).find(clips)
        assert ((exactly > 0).sum(1) == 8).all()
        if rule == "threshold":
            assert torch.equal(RunRule(None, rule=rule, max_tokens=8).find(clips), exactly)
    assert (RunRule(None, rule="anchor").find(clips) == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "nearest"}, "Expected rule to be one of threshold, anchor, optimal, received 'nearest'"),
        ({"budget": "video"}, "Expected budget to be one of clip, batch"),
        ({"num_tokens": 0}, "Expected num_tokens to be a number of tokens"),
        ({"num_tokens": 1.5}, "Expected num_tokens to be a number of tokens"),
        ({"max_tokens": 0.2, "num_tokens": 0.2}, "leave one out"),
        ({"budget_groups": 0}, "Expected budget_groups to be 1 or more"),
    ],
)
def test_settings_that_make_no_rule(changes, message):
    for kind in (RunRule, RLTVideoMAEConfig, RLTVideoProcessor):
        with pytest.raises((ValueError, StrictDataclassError), match=message):
            kind(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tokens": 3}, r"at least 4 \(0.25 of a clip's 16 tokens\), .* received 3, 3 tokens"),
        ({"max_tokens": 0.1}, r"Expected max_tokens to be at least 4 .* received 0.1, 2 tokens"),
        ({"num_tokens": 17}, "at most 16, the tokens of a clip; received 17"),
        (
            {"num_tokens": 8, "budget_groups": 4},
            "Expected budget_groups to be at most 3, since a clip has 4 tubelets in time; received 4",
        ),
    ],
)
def test_budgets_that_no_clip_can_have(changes, message):
    with pytest.raises(ValueError, match=message):
        RunRule(**changes).find(torch.rand(1, 8, 3, 32, 32))


def test_processor_and_configuration_carry_the_rule(tmp_path):
    own = {"rule": "anchor", "num_tokens": 0.25, "budget": "batch", "budget_groups": 2, "threshold": 0.2}
    RLTVideoProcessor(**own).save_pretrained(tmp_path)
    RLTVideoMAEConfig(**own).save_pretrained(tmp_path)
    for loaded in (RLTVideoProcessor.from_pretrained(tmp_path), RLTVideoMAEConfig.from_pretrained(tmp_path)):
        assert loaded.run_rule == RunRule(**own)
    for kind in (RLTVideoProcessor, RLTVideoMAEConfig):
        changed = kind.from_pretrained(tmp_path, num_tokens=None, max_tokens=512)
        assert changed.run_rule == replace(RunRule(**own), num_tokens=None, max_tokens=512)


def test_the_clips_of_one_call_share_a_budget_of_the_batch():
    still, moving = torch.zeros(16, 32, 32, 3, dtype=torch.uint8), torch.randint(0, 255, (16, 32, 32, 3)).byte()
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "num_tokens": 0.5}
    lengths = RLTVideoProcessor(**size, budget="batch")([still, moving], return_tensors="pt")["run_lengths"]
    assert (lengths > 0).sum(1).tolist() == [4, 28]
    lengths = RLTVideoProcessor(**size)([still, moving], return_tensors="pt", budget="clip")["run_lengths"]
    assert (lengths > 0).sum(1).tolist() == [16, 16]
    again = RLTVideoProcessor(**size)([still, moving], return_tensors="pt", num_tokens=None, max_tokens=0.5)
    assert (again["run_lengths"] > 0).sum(1).tolist() == [4, 16]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "threshold 0.1"),
        ({"threshold": None}, "dense"),
        ({"rule": "anchor"}, "anchor, threshold 0.1"),
        ({"num_tokens": 0.2}, "20 % of the tokens"),
        ({"num_tokens": 512, "rule": "anchor", "budget": "batch"}, "anchor, 512 tokens of a batch"),
        ({"max_tokens": 0.5, "budget_groups": 4}, "threshold 0.1, at most 50 % of the tokens, in 4 groups"),
    ],
)
def test_a_rule_describes_itself(changes, words):
    assert RunRule(**changes).describe() == words


@pytest.mark.parametrize(
    ("own", "changes", "words"),
    [
        ({"num_tokens": 0.2}, {"threshold": 0.3}, "threshold 0.3"),
        ({"num_tokens": 0.2}, {"threshold": None}, "dense"),
        ({"num_tokens": 0.2}, {"max_tokens": 0.4}, "threshold 0.1, at most 40 % of the tokens"),
        ({"num_tokens": 0.2}, {"rule": "anchor", "budget_groups": 2}, "anchor, 20 % of the tokens, in 2 groups"),
        ({"max_tokens": 0.2}, {"threshold": 0.3}, "threshold 0.3, at most 20 % of the tokens"),
        ({"max_tokens": 0.2}, {"threshold": None}, "dense"),
        ({"max_tokens": 0.2}, {"num_tokens": 300}, "300 tokens"),
        ({"max_tokens": 0.2}, {"threshold": None, "max_tokens": 0.4}, "at most 40 % of the tokens"),
        ({"threshold": None}, {"num_tokens": 0.2}, "20 % of the tokens"),
    ],
)
def test_a_change_takes_the_place_of_a_budget_that_would_overrule_it(tmp_path, own, changes, words):
    wanted = RunRule(**own).changed(**changes)
    assert wanted.describe() == words
    for kind in (RLTVideoMAEConfig, RLTVideoProcessor):
        kind(**own).save_pretrained(tmp_path)
        assert kind.from_pretrained(tmp_path, **changes).run_rule == wanted
    clip = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    size = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    inputs = RLTVideoProcessor(**size, **own)(clip, return_tensors="pt", **changes)
    assert torch.equal(inputs["run_lengths"], wanted.find(inputs["pixel_values"]))


@pytest.mark.parametrize(
    ("own", "asked", "message"),
    [
        ({}, {"budget": "batch"}, 'max_tokens or num_tokens with budget="batch"'),
        ({"num_tokens": 0.2}, {"threshold": 0.1, "budget_groups": 2}, "max_tokens or num_tokens with budget_groups=2"),
        ({"num_tokens": 0.2}, {"threshold": None, "rule": "anchor"}, 'a threshold or num_tokens with rule="anchor"'),
        ({"num_tokens": 0.2, "budget_groups": 2, "rule": "anchor"}, {"threshold": None}, None),
        ({"num_tokens": 0.2}, {"budget": "batch", "budget_groups": 2, "rule": "anchor"}, None),
    ],
)
def test_what_was_asked_for_has_an_effect(tmp_path, own, asked, message):
    RLTVideoMAEConfig(**own).save_pretrained(tmp_path)
    with pytest.raises(HfRltError, match=message) if message else nullcontext():
        RLTVideoMAEConfig.from_pretrained(tmp_path, **asked)


def test_no_clips_have_no_runs():
    for changes in ({}, {"rule": "anchor"}, {"rule": "anchor", "max_tokens": 0.5, "budget": "batch"}):
        assert RunRule(patch_size=8, **changes).find(torch.zeros(0, 4, 3, 16, 16)).shape == (0, 8)
