# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches: mixing, targets, and the runs of the final pixels."""

import pytest
import torch

from hf_rlt import find_runs
from hf_rlt.data import ClipCollator, ClipMix, TrainDataset


def count(run_lengths):
    return (run_lengths > 0).sum(-1).tolist()


def test_mixing_happens_before_runs_are_found_and_follows_the_seeds(items, digits_processor):
    plain = ClipCollator(digits_processor)(items)
    for alphas in ({"mixup": 0.8, "cutmix": 0}, {"mixup": 0, "cutmix": 1.0}):
        collator = ClipCollator(digits_processor, ClipMix(8, **alphas), label_smoothing=0.1, num_classes=8)
        batch = collator(items)
        assert not torch.equal(batch["pixel_values"], plain["pixel_values"])
        assert torch.equal(batch["run_lengths"], find_runs(batch["pixel_values"], 0.1, 2, 8))
        assert batch["labels"].shape == (6, 8)
        assert torch.allclose(batch["labels"].sum(1), torch.ones(6))
        assert batch["labels"].min() >= 0.1 / 8 - 1e-6
        assert torch.equal(collator(items)["pixel_values"], batch["pixel_values"])
    later = collator([{**item, "seeds": item["seeds"] + 1} for item in items])
    assert not torch.equal(later["pixel_values"], batch["pixel_values"])


def test_mixup_and_its_targets_are_those_of_the_definition(items, digits_processor):
    items = items[:4]
    clips = torch.cat([item["pixel_values"] for item in items])
    labels = [int(item["labels"]) for item in items]
    batch = ClipCollator(digits_processor, ClipMix(8, 0.8, 0.0), 0.1, 8)(items)
    one_hot = torch.eye(8)[labels]
    share = (batch["labels"][0, labels[0]] - 0.1 / 8) / 0.9
    if labels[0] == labels[-1]:
        pytest.fail("the first and the last clip are of one class: the share cannot be read off")
    for i in range(4):
        mixed = share * clips[i] + (1 - share) * clips[i - 1]
        assert (batch["pixel_values"][i] - mixed).abs().max() < 1e-5
        target = 0.9 * (share * one_hot[i] + (1 - share) * one_hot[i - 1]) + 0.1 / 8
        assert torch.allclose(batch["labels"][i], target, atol=1e-6)


def test_with_repeats_neighbours_are_different_clips(train, digits_processor):
    data = TrainDataset(train, digits_processor, repeats=2)
    one_class_each = [train.labels.index(k) for k in range(3)]
    batch = ClipCollator(digits_processor, ClipMix(8, 0.8, 0), num_classes=8)([data[i] for i in one_class_each])
    assert batch["pixel_values"].shape == (6, 16, 3, 64, 64)
    assert ((batch["labels"] > 0).sum(1) == 2).all()


def test_random_thresholds_and_random_masking_are_drawn_for_each_clip(items, digits_processor):
    items = items[:4]
    clips = torch.cat([item["pixel_values"] for item in items])
    full = find_runs(clips, 0.1, 2, 8)
    kept = ClipCollator(digits_processor, token_keep_ratio=0.5)(items)["run_lengths"]
    assert ((kept == full) | (kept == 0)).all()
    assert count(kept) == [round(0.5 * n) for n in count(full)]
    drawn = count(ClipCollator(digits_processor, ranges={"threshold": (0.05, 0.4)})(items)["run_lengths"])
    low, high = (count(find_runs(clips, threshold, 2, 8)) for threshold in (0.4, 0.05))
    assert all(a <= n <= b for a, n, b in zip(low, drawn, high, strict=True))
    assert drawn != count(full)
    both = ClipCollator(digits_processor, token_keep_ratio=0.5, ranges={"threshold": (0.05, 0.4)})
    assert torch.equal(both(items)["run_lengths"][2:3], both(items[2:3])["run_lengths"])  # whatever the batch


def test_each_clip_draws_its_own_budget_whatever_the_batch_and_the_processors_own(items, digits_processor):
    items = items[:4]
    tokens = items[0]["pixel_values"].shape[1] // 2 * 64
    for own in ({}, {"max_tokens": 0.2}):
        collate = ClipCollator(
            type(digits_processor)(**{**digits_processor.to_dict(), **own}), ranges={"num_tokens": (0.2, 0.6)}
        )
        drawn = count(collate(items)["run_lengths"])
        assert all(0.2 * tokens - 1 <= n <= 0.6 * tokens + 1 for n in drawn)
        assert len(set(drawn)) > 1
        assert count(collate(items[2:3])["run_lengths"]) == drawn[2:3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_keep_ratio": 0.0}, "Expected token_keep_ratio in .* received 0.0"),
        ({"ranges": {"threshold": (0.2, 0.1)}}, "Expected the range of threshold to be"),
        ({"ranges": {"num_tokens": (0.2, 1.5)}}, "Expected num_tokens to be"),
        ({"label_smoothing": 1.0, "num_classes": 3}, "Expected label_smoothing in"),
        ({"label_smoothing": 0.1}, "Expected num_classes"),
        ({}, "remove_unused_columns=False"),
    ],
)
def test_settings_out_of_range_and_items_without_seeds(digits_processor, settings, message):
    with pytest.raises(ValueError, match=message):
        ClipCollator(digits_processor, **settings)([{"pixel_values": torch.zeros(1)}])


def test_mixing_needs_an_alpha_and_uses_each_kind():
    with pytest.raises(ValueError, match="one of them > 0"):
        ClipMix(3, mixup=0, cutmix=0)
    clips = torch.arange(4.0)[:, None, None, None, None].expand(4, 2, 3, 8, 8).clone()
    kinds = set()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, targets = ClipMix(4)(clips, torch.arange(4))
        assert targets.shape == (4, 4)
        kinds.add(len(mixed[1].unique()) > 1)  # cutmix leaves two values in a clip, mixup one
    assert kinds == {True, False}
