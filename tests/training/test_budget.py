# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches by tokens: what the plan promises, for any counts; trainings, memory and restarts with them."""

import copy
import csv
import importlib
import json
import logging
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from test_finetuning import AUGMENTED, LAUNCH, SCRIPT, difference, finish, losses, start, train, words
from test_training import CONFIG, arguments, trainer
from torch.utils.data import DataLoader

from helpers.paths import CLIPS
from helpers.tiny import randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification
from hf_rlt.data import ClipCollator, EvalDataset, TrainDataset, from_folder
from hf_rlt.data.token_budget import TokenBudgetSampler, batches_within
from hf_rlt.inference.measure import peak_bytes
from hf_rlt.tokens import count_tokens

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


@pytest.mark.parametrize("clips", [16, 300])
def test_batches_of_a_small_set_change_from_epoch_to_epoch(clips):
    counts = np.random.default_rng(0).integers(196, 1569, clips)
    (one,), (two,) = (epoch_of(counts.tolist(), 4 * 882, 1, 1, epoch) for epoch in (0, 1))
    pairs = [{(a, b) for batch in run for a in batch for b in batch if a < b} for run in (one, two)]
    assert len(pairs[0] & pairs[1]) < (0.6 if clips == 16 else 0.1) * len(pairs[0])


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


@pytest.fixture
def finetune(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("finetune")


@pytest.fixture(scope="module")
def digits(rendered_digits, digits_processor, tmp_path_factory):
    """The rendered clips, and their tokens."""
    data = TrainDataset(from_folder(rendered_digits / "train"), digits_processor, cache_bytes=10**8)
    return data, count_tokens(data.clips, digits_processor, cache_dir=tmp_path_factory.mktemp("tokens"))


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 150), st.integers(1, 9), st.integers(2, 9))
def test_looking_ahead_loses_nothing_and_holds_little(items, max_tokens, max_items, ahead):
    pulled = []
    numbered = (pulled.append(place) or (place, size) for place, size in enumerate(items))
    given = []
    for batch in batches_within(numbered, max_tokens, lambda item: item[1], max_items, ahead):
        assert len(batch) <= max_items
        assert sum(size for _, size in batch) <= max_tokens or len(batch) == 1
        first = min(set(range(len(items))) - {place for place, _ in given})
        assert batch[0][0] == first  # nobody waits forever
        given += batch
        assert len(pulled) - len(given) <= ahead
    assert sorted(given) == list(enumerate(items))


def test_looking_ahead_fills_batches():
    items = [70, 60, 30, 40, 50, 50]
    assert list(batches_within(items, 100, tokens=int)) == [[70], [60, 30], [40, 50], [50]]
    assert list(batches_within(items, 100, tokens=int, ahead=3)) == [[70, 30], [60, 40], [50, 50]]
    items = [90, 80, 60, 20, 30]
    assert list(batches_within(items, 100, tokens=int, max_items=2, ahead=4)) == [[90], [80, 20], [60, 30]]
    assert list(batches_within([*items, 10], 100, tokens=int, max_items=2, ahead=4)) == [[90], [80, 20], [60, 30], [10]]
    with pytest.raises(ValueError, match="ahead >= 1, received 0"):
        batches_within(items, 100, ahead=0)


def test_items_of_an_evaluation_are_grouped_by_what_they_compute(digits, digits_processor):
    views = EvalDataset(digits[0].clips, digits_processor)
    batches = list(batches_within(DataLoader(views, batch_size=None, num_workers=1), 400))
    tokens = [sum(int((item["run_lengths"] > 0).sum()) for item in batch) for batch in batches]
    assert sum(tokens) == digits[1].sum()
    assert max(tokens) <= 400
    assert [int(item["labels"]) for batch in batches for item in batch] == digits[0].clips.labels


class Recorded(ClipCollator):
    """Remembers the labels and tokens of each batch it made, in this process."""

    def __init__(self, processor) -> None:
        super().__init__(processor)
        self.tokens: list[int] = []
        self.batches: list[dict] = []

    def __call__(self, items):
        batch = super().__call__(items)
        self.tokens.append(int((batch["run_lengths"] > 0).sum()))
        self.batches.append({name: value.clone() for name, value in batch.items()})
        return batch


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_step_follows_the_mean_over_its_clips_however_many_a_batch_holds(
    tmp_path, digits, digits_processor, accumulation
):
    data, counts = digits
    made_of = randomise(RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**CONFIG)))
    model = copy.deepcopy(made_of)
    args = arguments(
        tmp_path,
        max_steps=1,
        gradient_accumulation_steps=accumulation,
        learning_rate=0.1,
        optim="sgd",
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
    )
    collator = Recorded(digits_processor)
    budget = {"token_counts": counts, "max_tokens": 420}
    made = trainer(model, args, data, digits_processor, data_collator=collator, **budget)
    made.train()
    step = collator.batches[:accumulation]
    clips = sum(len(batch["labels"]) for batch in step)
    losses = [
        F.cross_entropy(made_of.train()(batch["pixel_values"]).logits, batch["labels"], reduction="sum")
        for batch in step
    ]
    (sum(losses) / clips).backward()
    for (name, before), after in zip(made_of.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(after, before - 0.1 * before.grad, atol=1e-6), name
    logged = next(entry for entry in made.state.log_history if "budget_used" in entry)
    tokens = np.array(collator.tokens[:accumulation])
    assert logged["budget_used"] == pytest.approx(tokens.mean() / 420, abs=1e-4)
    assert logged["budget_highest"] == pytest.approx(tokens.max() / 420, abs=1e-4)
    assert tokens.max() <= 420


def test_an_epoch_of_training_takes_every_clip_with_loading_processes_that_stay(tmp_path, digits, digits_processor):
    data, counts = digits
    model = RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**CONFIG))
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_drop_last": True}
    args = arguments(tmp_path, max_steps=-1, num_train_epochs=3, gradient_accumulation_steps=2, **workers)
    made = trainer(model, args, data, digits_processor, token_counts=counts, max_tokens=300)
    seen: list[int] = []
    forward = model.forward

    def counted(**inputs):
        seen.append(int((inputs["run_lengths"] > 0).sum()))
        return forward(**inputs)

    model.forward = counted
    made.train()
    assert len(seen) == 3 * len(made.budget_sampler)
    assert sum(seen) == 3 * counts.sum()
    assert max(seen) <= 300
    assert made.state.global_step == 3 * len(made.budget_sampler) / 2
    assert made.state.epoch == 3
    assert seen[: len(seen) // 3] != seen[len(seen) // 3 : 2 * len(seen) // 3]


def test_settings_with_another_idea_of_a_batch_are_refused(tmp_path, digits, digits_processor):
    data, counts = digits
    model = RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**CONFIG))

    def make(token_counts=counts, **changes):
        args = arguments(tmp_path, **changes)
        return trainer(model, args, data, digits_processor, token_counts=token_counts, max_tokens=300)

    with pytest.raises(ValueError, match="--train_sampling_strategy batch_rebalance in another: leave one out"):
        make(train_sampling_strategy="batch_rebalance")
    with pytest.raises(ValueError, match="--auto_find_batch_size changes a number of clips"):
        make(auto_find_batch_size=True)
    with pytest.raises(ValueError, match="max_tokens needs the tokens of each clip: pass token_counts"):
        make(token_counts=None).get_train_dataloader()
    with pytest.raises(ValueError, match="Expected token_counts of 16 clips, received 15"):
        make(token_counts=counts[1:]).get_train_dataloader()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--per_device_train_batch_size", "4"), "takes as many as fit: leave one out"),
        (("--threshold_range", "0", "0.2"), "--threshold_range draws another for each clip: leave one out"),
        (("--train_sampling_strategy", "group_by_length"), "--train_sampling_strategy group_by_length in another"),
        (("--gradient_accumulation_steps", "17"), "at least 17 readable clips"),
        (("--max_tokens_per_batch", "0"), "Expected max_tokens >= 1"),
    ],
)
def test_the_script_says_what_contradicts_a_budget(finetune, rendered_digits, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        finetune.make_trainer(words(rendered_digits, tmp_path, "--max_tokens_per_batch", "300", *options))


def test_the_script_counts_repeats_masking_and_clips_per_step_and_leaves_bad_videos_out(
    finetune, rendered_digits, tmp_path, caplog
):
    files = sorted((rendered_digits / "train").rglob("*.mp4"))
    rows = [(path, path.parent.name) for path in files]
    for split, gone in (("train", [("gone.mp4", rows[0][1])]), ("validation", [])):
        with (tmp_path / f"{split}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("path", "label"), *gone, *rows])
    argv = ["--train_file", tmp_path / "train.csv", "--validation_file", tmp_path / "validation.csv"]
    argv += ["--output_dir", tmp_path / "out", "--on_bad_video", "skip", "--max_tokens_per_batch", "500"]
    argv += ["--repeated_augmentation", "2", "--token_keep_ratio", "0.5", "--base_learning_rate", "0.256"]
    argv += ["--num_train_epochs", "2", "--logging_steps", "1", "--disable_tqdm", "True"]
    with caplog.at_level(logging.INFO):
        made = train(finetune, [str(word) for word in argv])
    sampler = made.budget_sampler
    assert "1 of 17 training videos cannot be read: they are left out" in caplog.text
    assert made.train_dataset.unreadable() == [str(tmp_path / "gone.mp4")]
    assert len(sampler.clips) == 16
    assert made.args.learning_rate == pytest.approx(1e-3 * round(16 / len(sampler)))
    logged = [entry for entry in made.state.log_history if "budget_used" in entry]
    assert len(logged) == made.state.global_step == 2 * len(sampler)
    assert np.mean([entry["budget_used"] for entry in logged]) == pytest.approx(sampler.fill, abs=0.01)
    assert max(entry["budget_highest"] for entry in logged) < 1.01  # halves are rounded


def test_two_processes_take_the_steps_of_one_that_accumulates_and_go_on_where_they_were(
    finetune, rendered_digits, tmp_path
):
    options = (*AUGMENTED, "--max_steps", "5", "--max_tokens_per_batch", "500", "--optim", "sgd")
    one, two = tmp_path / "one", tmp_path / "two"
    checkpoints = ("--save_strategy", "steps", "--save_steps", "3")  # of 2 steps an epoch: in the middle of the second
    argv = words(rendered_digits, two, *options, *checkpoints)
    process = start(LAUNCH, argv)
    made = train(finetune, words(rendered_digits, one, *options, "--gradient_accumulation_steps", "2"))
    finish(process)
    assert len(made.budget_sampler) == 4
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert difference(one, two) < 1e-6
    history = json.loads((two / "trainer_state.json").read_text())["log_history"]
    assert all(0 <= entry["tokens_waited"] < 0.2 for entry in history[:5])
    assert all(entry["budget_used"] <= entry["budget_highest"] for entry in history[:5])
    (two / "model.safetensors").rename(tmp_path / "model.safetensors")
    shutil.rmtree(two / "checkpoint-5")
    finish(start(LAUNCH, argv))
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert difference(tmp_path, two) == 0


def test_a_resumed_training_ends_with_the_weights_of_one_that_was_not_interrupted(finetune, rendered_digits, tmp_path):
    options = (*AUGMENTED, "--max_steps", "7", "--max_tokens_per_batch", "350", "--gradient_accumulation_steps", "2")
    options += ("--save_strategy", "steps", "--save_steps", "1", "--mixup", "0.8", "--drop_path_rate", "0.3")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    made = train(finetune, words(rendered_digits, whole, *options))
    assert len(made.budget_sampler) == 6  # three steps an epoch
    for step in (2, 3):  # in the middle of the first epoch, and between two
        shutil.rmtree(cut, ignore_errors=True)
        shutil.copytree(whole / f"checkpoint-{step}", cut / f"checkpoint-{step}")
        resumed = train(finetune, words(rendered_digits, cut, *options, "--dataloader_num_workers", "1"))
        assert resumed._initial_global_step == step
        assert difference(whole, cut) == 0
        assert losses(whole) == losses(cut)


def places(files, processor) -> list[dict]:
    """Returns training items from eight places of each real file."""
    items = []
    for number, file in enumerate(files):
        for clip in processor.decode(str(file), np.linspace(0, 1, 8).tolist()):
            item = processor([clip], input_data_format="channels_last", do_sample_frames=False, return_tensors="pt")
            items.append({name: item[name][0] for name in ("pixel_values", "run_lengths")})
            items[-1]["labels"] = torch.tensor(number)
    return items


@pytest.mark.parametrize("source", ["digits", "real clips"])
def test_peak_memory_of_batches_lies_within_a_tenth(digits, digits_processor, source):
    if source == "digits":
        views = EvalDataset(digits[0].clips, digits_processor)
        items = [views[clip] for clip in range(16)] * 3
    elif (CLIPS / "real").is_dir():
        items = places(sorted((CLIPS / "real").iterdir()), digits_processor)
    else:
        pytest.skip("needs the real clips beside the checkout, ../shared/clips/real")
    counts = np.array([int((item["run_lengths"] > 0).sum()) for item in items])
    config = {**CONFIG, "hidden_size": 96, "num_hidden_layers": 3, "intermediate_size": 192}
    model = RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**config)).train()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    collate = ClipCollator(digits_processor)

    def peaks(batches):
        made = [collate([items[clip] for clip in batch]) for batch in batches]
        return np.array([peak_bytes(lambda batch=batch: model(**batch).loss.backward()) for batch in made])

    budget = peaks(TokenBudgetSampler(counts.tolist(), int(8 * counts.mean())).plan(0))
    order = np.argsort(counts)
    fixed = peaks([order[:8], order[-8:]])
    assert budget.min() > 0.9 * budget.max()
    assert fixed.min() < 0.6 * fixed.max()
