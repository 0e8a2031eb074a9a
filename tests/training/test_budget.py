# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Trainings with a budget of tokens for each batch."""

import copy
import csv
import logging
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.tiny import randomise
from helpers.training import AUGMENTED, MIXED, QUIET, TWO_PROCESSES, difference, finish, history, start, train, words
from hf_rlt import RLTVideoMAEConfig
from hf_rlt.baselines import ByDifferenceVideoMAEConfig, RandomMaskingVideoMAEConfig
from hf_rlt.data import ClipCollator, VideoList
from hf_rlt.training import finetune
from hf_rlt.training.parsing import read_arguments


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_step_follows_the_mean_over_its_clips_however_many_a_batch_holds(
    model, trainer, counts, digits_processor, accumulation
):
    made_of = randomise(model)
    sgd = {"learning_rate": 0.1, "optim": "sgd", "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
    options = {"max_steps": 1, "gradient_accumulation_steps": accumulation, **sgd}
    collator, batches = ClipCollator(digits_processor), []

    def collate(items):
        batches.append(collator(items))
        return dict(batches[-1])

    trained = copy.deepcopy(model)
    budget = {"token_counts": counts.tolist(), "max_tokens": 420}
    made = trainer(trained, data_collator=collate, **budget, **options)
    made.train()
    step = batches[:accumulation]
    clips = sum(len(batch["labels"]) for batch in step)
    losses = [
        F.cross_entropy(made_of.train()(batch["pixel_values"]).logits, batch["labels"], reduction="sum")
        for batch in step
    ]
    (sum(losses) / clips).backward()
    for (name, before), after in zip(made_of.named_parameters(), trained.parameters(), strict=True):
        assert torch.allclose(after, before - 0.1 * before.grad, atol=1e-6), name
    logged = next(entry for entry in made.state.log_history if "budget_used" in entry)
    tokens = [int((batch["run_lengths"] > 0).sum()) for batch in step]
    assert logged["budget_used"] == pytest.approx(np.mean(tokens) / 420, abs=1e-4)
    assert logged["budget_highest"] == pytest.approx(max(tokens) / 420, abs=1e-4)
    assert max(tokens) <= 420


def test_an_epoch_of_training_takes_every_clip_with_loading_processes_that_stay(model, trainer, counts):
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_drop_last": True}
    options = {"max_steps": -1, "num_train_epochs": 3, "gradient_accumulation_steps": 2, **workers}
    made = trainer(model, token_counts=counts.tolist(), max_tokens=300, **options)
    seen: list[int] = []
    forward = model.forward
    model.forward = lambda **inputs: seen.append(int((inputs["run_lengths"] > 0).sum())) or forward(**inputs)
    made.train()
    epoch = len(made.budget_sampler)
    assert (len(seen), sum(seen)) == (3 * epoch, 3 * counts.sum())
    assert max(seen) <= 300
    assert made.state.global_step == 3 * epoch / 2
    assert made.state.epoch == 3
    assert seen[:epoch] != seen[epoch : 2 * epoch]


@pytest.mark.slow
def test_repeats_masking_and_clips_per_step_count_and_bad_videos_are_left_out(rendered_digits, tmp_path, caplog):
    rows = [(path, path.parent.name) for path in sorted((rendered_digits / "train").rglob("*.mp4"))]
    for split, gone in (("train", [("gone.mp4", rows[0][1])]), ("validation", [])):
        with (tmp_path / f"{split}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("path", "label"), *gone, *rows])
    argv = ["--train_file", tmp_path / "train.csv", "--validation_file", tmp_path / "validation.csv"]
    argv += ["--output_dir", tmp_path / "out", "--on_bad_video", "skip", "--max_tokens_per_batch", "500"]
    argv += ["--repeated_augmentation", "2", "--token_keep_ratio", "0.5", "--base_learning_rate", "0.256"]
    with caplog.at_level(logging.INFO):
        made = train([*argv, "--num_train_epochs", "2", *QUIET])
    sampler = made.budget_sampler
    assert "1 of 17 training videos cannot be read: they are left out" in caplog.text
    assert made.train_dataset.unreadable() == [str(tmp_path / "gone.mp4")]
    assert len(sampler.clips) == 16
    assert made.args.learning_rate == pytest.approx(1e-3 * round(16 / len(sampler)))
    used, highest = history(tmp_path / "out", "budget_used"), history(tmp_path / "out", "budget_highest")
    assert len(used) == made.state.global_step == 2 * len(sampler)
    assert np.mean(used) == pytest.approx(sampler.fill, abs=0.01)
    assert max(highest) < 1.01  # halves are rounded


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_that_accumulates_and_go_on_where_they_were(rendered_digits, tmp_path):
    options = (*AUGMENTED, "--max_steps", "5", "--max_tokens_per_batch", "500", "--optim", "sgd")
    one, two = tmp_path / "one", tmp_path / "two"
    checkpoints = ("--save_strategy", "steps", "--save_steps", "3")  # of 2 steps an epoch: in the middle of the second
    argv = words(rendered_digits, two, *options, *checkpoints)
    process = start(argv, TWO_PROCESSES)
    train(words(rendered_digits, one, *options, "--gradient_accumulation_steps", "2"))
    finish(process)
    assert history(two) == pytest.approx(history(one), abs=1e-5)
    assert difference(one, two) < 1e-6
    assert all(0 <= waited < 0.2 for waited in history(two, "tokens_waited"))
    (two / "model.safetensors").rename(tmp_path / "model.safetensors")
    shutil.rmtree(two / "checkpoint-5")
    finish(start(argv, TWO_PROCESSES))
    assert history(two) == pytest.approx(history(one), abs=1e-5)
    assert difference(tmp_path, two) == 0


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_weights_of_one_that_was_not_interrupted(rendered_digits, tmp_path):
    options = (*AUGMENTED, *MIXED, "--max_steps", "7", "--max_tokens_per_batch", "350")
    options += ("--gradient_accumulation_steps", "2", "--save_strategy", "steps", "--save_steps", "1")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    made = train(words(rendered_digits, whole, *options))
    steps = len(made.budget_sampler) // 2
    assert steps < 7
    for step in (steps - 1, steps):  # in the middle of the first epoch, and between two
        shutil.rmtree(cut, ignore_errors=True)
        shutil.copytree(whole / f"checkpoint-{step}", cut / f"checkpoint-{step}")
        resumed = train(words(rendered_digits, cut, *options, "--dataloader_num_workers", "1"))
        assert resumed._initial_global_step == step
        assert difference(whole, cut) == 0
        assert history(whole) == history(cut)


def test_tokens_are_counted_as_the_method_computes_them(digits_processor, monkeypatch, tmp_path):
    folders = ["--train_dir", str(tmp_path), "--validation_dir", str(tmp_path)]
    groups = read_arguments([*folders, "--max_tokens_per_batch", "300"])
    for config, counted, wanted in (
        (RLTVideoMAEConfig(), [512, 0, 40], [512, 0, 40]),
        (RandomMaskingVideoMAEConfig(token_keep_ratio=0.5), [512, 0, 40], [256, 0, 20]),
        (ByDifferenceVideoMAEConfig(num_tokens=0.25), [1568, 0, 1568], [392, 0, 392]),  # its rule drops nothing
    ):
        monkeypatch.setattr(finetune, "count_tokens", lambda *_, found=counted, **__: np.array(found))
        clips = VideoList(["a", "b", "c"], [0, 0, 0], ["name"])
        assert finetune.clip_tokens(clips, digits_processor, config, groups) == wanted
        assert clips.unreadable_mask.tolist() == [False, True, False]
