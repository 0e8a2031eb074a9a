# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Training with batches within a token budget: steps, memory and restarts."""

import copy
import csv
import importlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_finetuning import AUGMENTED, LAUNCH, SCRIPT, difference, finish, losses, start, train, words
from test_training import CONFIG, arguments, trainer

from helpers.paths import CLIPS
from helpers.tiny import randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification
from hf_rlt.data import ClipCollator, EvalDataset, TrainDataset, from_folder
from hf_rlt.data.token_budget import TokenBudgetSampler
from hf_rlt.inference.measure import peak_bytes
from hf_rlt.tokens import count_tokens


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
