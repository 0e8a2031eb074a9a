# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Whole trainings, as a user starts them: several processes, kills and restarts, bad videos, every source of clips.

A run in a process of its own takes seconds to start: what does not need one calls the script's functions.
"""

import csv
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.paths import CLIPS, ROOT
from helpers.tiny import TINY, randomise
from hf_rlt import RLTVideoMAEForVideoClassification
from hf_rlt.training.checkpoints import checkpoint_folders, checkpoint_problem
from hf_rlt.training.record import RECORD

SCRIPT = ROOT / "examples" / "finetune.py"
TWO_PROCESSES = ROOT / "examples" / "accelerate_configs" / "cpu.yaml"
LAUNCH = (str(Path(sys.executable).with_name("accelerate")), "launch", "--config_file", str(TWO_PROCESSES))
# Two threads, as in this process: sums are rounded by how they are split.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
# Everything that is random, but drop path and mixing, which depend on what else is in a batch.
AUGMENTED = ("--augment", "True", "--horizontal_flip", "0", "--layer_decay", "0.8", "--label_smoothing_factor", "0.1")


def words(rendered_digits, output, *options) -> list[str]:
    sets = ("--train_dir", rendered_digits / "train", "--validation_dir", rendered_digits / "validation")
    plain = ("--output_dir", output, "--disable_tqdm", "True", "--logging_steps", "1", "--learning_rate", "1e-3")
    return [str(word) for word in (*sets, *plain, *options)]


@pytest.fixture
def finetune(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("finetune")


def train(finetune, argv: list[str]):
    """Runs the script in this process; returns its trainer."""
    job = finetune.make_trainer(argv)
    finetune.run(*job)
    return job[0]


def start(command, argv, **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, str(SCRIPT), *argv], env=ENVIRONMENT, **pipes, **options)


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    return out, error


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def difference(first: Path, second: Path) -> float:
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


# Of 16 clips; accelerate fills up the last batch of an epoch with clips of its beginning, batch_rebalance does not.
# AdamW turns the rounding of gradients that are next to nothing into steps of the learning rate: 4 x 1e-3 here.
@pytest.mark.parametrize(
    ("strategy", "size", "optimiser", "tolerance"),
    [("random", 4, "sgd", 1e-6), ("batch_rebalance", 3, "adamw_torch", 1e-4)],
)
def test_two_processes_train_as_one_does_with_their_total_batch(
    finetune, rendered_digits, tmp_path, strategy, size, optimiser, tolerance
):
    options = (*AUGMENTED, "--max_steps", "5", "--train_sampling_strategy", strategy, "--optim", optimiser)
    one, two = tmp_path / "one", tmp_path / "two"
    checkpoints = ("--save_strategy", "steps", "--save_steps", "4")  # of 3 steps an epoch: in the middle of the second
    argv = words(rendered_digits, two, *options, *checkpoints, "--per_device_train_batch_size", size)
    process = start(LAUNCH, argv)
    train(finetune, words(rendered_digits, one, *options, "--per_device_train_batch_size", 2 * size))
    out, _ = finish(process)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert difference(one, two) < tolerance
    results = [json.loads((folder / "all_results.json").read_text()) for folder in (one, two)]
    for name in ("eval_accuracy", "eval_tokens_computed", "eval_clips"):
        assert results[0][name] == pytest.approx(results[1][name], abs=1e-6)
    assert "of 8" in out
    history = json.loads((two / "trainer_state.json").read_text())["log_history"]
    assert all(0 <= entry["tokens_waited"] < 0.5 for entry in history[:5])
    if strategy == "random":  # all processes end alike
        out, _ = finish(start(LAUNCH, argv))
        assert out.count("this training is finished, after 5 steps") == 1
    if strategy == "batch_rebalance":  # resumed on two processes it ends with the same weights
        (two / "model.safetensors").rename(tmp_path / "model.safetensors")
        shutil.rmtree(two / "checkpoint-5", ignore_errors=True)
        finish(start(LAUNCH, argv))
        assert losses(two) == pytest.approx(losses(one), abs=1e-5)
        assert difference(tmp_path, two) == 0


def test_two_processes_report_a_bad_video_once_and_count_no_clip_twice(rendered_digits, tmp_path):
    for split, size in (("train", 16), ("validation", 7)):
        with (tmp_path / f"{split}.csv").open("w", newline="") as stream:
            files = sorted((rendered_digits / split).rglob("*.mp4"))[:size]
            rows = [(path, path.parent.name) for path in files]
            csv.writer(stream).writerows([("path", "label"), *rows, (f"gone_{split}.mp4", rows[0][1])])
    argv = ["--train_file", tmp_path / "train.csv", "--validation_file", tmp_path / "validation.csv"]
    argv += ["--on_bad_video", "skip", "--output_dir", tmp_path / "out", "--num_train_epochs", "3"]
    argv += ["--per_device_train_batch_size", "4", "--per_device_eval_batch_size", "2", "--disable_tqdm", "True"]
    out, error = finish(start(LAUNCH, [str(word) for word in argv]))
    assert error.count("gone_train.mp4 (") == 1
    assert "1 of 17 training videos: " in out
    assert "1 of 8 validation videos: " in out
    result = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert (result["eval_clips"], result["eval_unreadable"]) == (7, 1)


@pytest.mark.parametrize("moment", ["between checkpoints", "while a checkpoint is written"])
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(finetune, rendered_digits, tmp_path, moment):
    options = (*AUGMENTED, "--mixup", "0.8", "--cutmix", "1", "--drop_path_rate", "0.3", "--random_clips", "True")
    options += ("--max_steps", "12", "--per_device_train_batch_size", "3", "--gradient_accumulation_steps", "2")
    options += ("--save_steps", "2", "--save_strategy", "steps", "--save_total_limit", "3", "--frame_stride", "1")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start((sys.executable,), words(rendered_digits, killed, *options, "--dataloader_num_workers", "1"))
    # Three optimiser steps are an epoch: step 4 is in the middle of the second.
    awaited = killed / (f"checkpoint-4/{RECORD}" if moment.startswith("between") else "checkpoint-6")
    deadline = time.monotonic() + 120
    while not awaited.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if moment.startswith("while") and checkpoint_problem(killed / "checkpoint-6") is None:
        (killed / "checkpoint-6" / "trainer_state.json").unlink()  # it was faster than the kill
    assert not (killed / "checkpoint-12").exists()
    assert checkpoint_folders(killed)
    resumed = train(finetune, words(rendered_digits, killed, *options))
    assert resumed._initial_global_step in (2, 4, 6)  # 2 if the kill hit before step 4 was whole
    train(finetune, words(rendered_digits, whole, *options))
    assert difference(whole, killed) == 0
    assert losses(whole) == losses(killed)
    if moment.startswith("while"):
        assert (killed / "damaged-checkpoint-6").is_dir()


def test_real_clips_with_a_corrupt_file_finish_and_name_it(finetune, tmp_path, capfd):
    if not (CLIPS / "real").is_dir():
        pytest.skip("needs the real clips beside the checkout, ../shared/clips/real")
    still = ("highway_static_60fps_first3s.mp4", "surveillance_vtest_first64.avi", "webcam_face_vfr_vp8.webm")
    moving = ("bbb_720p_onekey.mp4", "face_cut_cartoon_hevc_vfr.mov", "marathon_static_onekey.mp4")
    for label, files in {"still": still, "moving": moving}.items():
        for split in ("train", "validation"):
            (tmp_path / split / label).mkdir(parents=True)
            for name in files:
                (tmp_path / split / label / name).symlink_to(CLIPS / "real" / name)
    broken = tmp_path / "train" / "still" / "broken.mp4"
    broken.write_bytes((CLIPS / "odd" / "truncated_no_moov.mp4").read_bytes())
    options = ("--train_dir", tmp_path / "train", "--validation_dir", tmp_path / "validation", "--augment", "True")
    options += ("--output_dir", tmp_path / "out", "--num_train_epochs", "2", "--per_device_train_batch_size", "4")
    options += ("--num_clips", "2", "--num_crops", "3", "--mixup", "0.8", "--disable_tqdm", "True")
    argv = [str(word) for word in options]
    trainer = train(finetune, [*argv, "--on_bad_video", "skip"])
    out = capfd.readouterr().out
    assert "1 of 7 training videos" in out
    assert str(broken) in out
    assert "of 6, 6 views each" in out
    assert trainer.train_dataset.unreadable() == [str(broken)]
    with pytest.raises(finetune.UnreadableClipError, match=r"broken\.mp4"):
        train(finetune, [*argv, "--output_dir", str(tmp_path / "strict")])


def test_a_stream_trains_and_goes_on_where_it_was(finetune, rendered_digits, tmp_path):
    argv = ["--dataset_name", str(rendered_digits), "--validation_split", "validation", "--streaming", "True"]
    argv += ["--per_device_train_batch_size", "4", "--disable_tqdm", "True", "--logging_steps", "1"]
    argv += ["--save_strategy", "steps", "--save_steps", "6", "--augment", "True"]
    with pytest.raises(ValueError, match="--streaming needs --validation_split and --max_steps"):
        finetune.make_trainer(argv)
    whole, cut = tmp_path / "whole", tmp_path / "cut"  # four batches are a pass
    trainer = train(finetune, [*argv, "--max_steps", "9", "--output_dir", str(whole)])
    assert trainer.state.global_step == 9
    shutil.copytree(whole / "checkpoint-6", cut / "checkpoint-6")
    train(finetune, [*argv, "--max_steps", "9", "--output_dir", str(cut)])
    assert losses(cut) == losses(whole)
    assert difference(cut, whole) == 0
    with pytest.raises(ValueError, match="cannot balance a stream"):
        finetune.make_trainer([*argv, "--max_steps", "9", "--train_sampling_strategy", "batch_rebalance"])


def test_the_recipe_is_videomaes_and_the_user_goes_before_it(finetune, tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    base = ["--recipe", "videomae", "--train_dir", "x", "--output_dir", str(tmp_path)]

    def parsed(*more):
        argv = [*base, *more]
        groups = finetune.read_arguments(argv)
        smoothing = finetune.settle(groups[2], groups[3])
        return (*groups, smoothing)

    model, data, recipe, args, smoothing = parsed("--gradient_accumulation_steps", "4")
    assert args.learning_rate == pytest.approx(1e-3 * 8 * 4 / 256)
    assert (smoothing, args.label_smoothing_factor) == (0.1, 0.0)
    assert (recipe.layer_decay, recipe.mixup, recipe.cutmix, model.drop_path_rate) == (0.75, 0.8, 1.0, 0.1)
    assert (args.num_train_epochs, args.lr_scheduler_type, args.warmup_steps) == (100, "cosine_with_min_lr", 0.05)
    assert args.lr_scheduler_kwargs == {"min_lr_rate": 1e-3}
    assert (data.num_clips, data.num_crops, recipe.horizontal_flip) == (5, 3, 0.5)
    _, data, recipe, args, _ = parsed("--learning_rate", "0.5", "--mixup", "0", "--horizontal_flip=0")
    assert (args.learning_rate, recipe.mixup, recipe.horizontal_flip, recipe.cutmix) == (0.5, 0, 0, 1.0)
    model, data, recipe, args, _ = parsed("--recipe", "videomae-ssv2")
    assert (recipe.horizontal_flip, model.sampling, data.num_clips, args.num_train_epochs) == (0, "uniform", 2, 50)
    assert finetune.recipe("videomae", 1024)["num_train_epochs"] == 35
    assert finetune.recipe("videomae", 1280)["drop_path_rate"] == 0.2
    with pytest.raises(ValueError, match="expected none, videomae or videomae-ssv2, received 'mae'"):
        parsed("--recipe", "mae")
    with pytest.raises(ValueError, match="--threshold_range draws another"):
        parsed("--threshold_range", "0", "0.2", "--train_sampling_strategy", "batch_rebalance")
    _, _, recipe, args, _ = parsed()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"Expected 2 processes to train together, found 1: .*--use_cpu True"):
        finetune.settle(recipe, args)


def test_a_new_head_starts_small_and_an_old_one_is_kept(finetune, rendered_digits, tmp_path):
    first = train(
        finetune, words(rendered_digits, tmp_path / "first", "--max_steps", "1", "--head_init_scale", "0.001")
    )
    arguments = finetune.ModelArguments(head_init_scale=0.001)
    names = first.train_dataset.clips.names
    fresh, _ = finetune.load_model(arguments, names)
    assert 0 < float(fresh.classifier.weight.detach().abs().max()) < 0.001
    arguments.model_name_or_path = str(tmp_path / "first")
    kept, processor = finetune.load_model(arguments, names)
    assert torch.equal(kept.classifier.weight, first.model.classifier.weight)
    assert processor.frame_stride == 2
    kept.config.length_embedding = True
    RLTVideoMAEForVideoClassification(kept.config).save_pretrained(tmp_path / "first")
    assert finetune.load_model(arguments, names)[0].config.length_embedding  # as the model has it
    replaced, _ = finetune.load_model(arguments, names[:3])
    assert replaced.classifier.weight.shape[0] == 3
    assert float(replaced.classifier.weight.detach().abs().max()) < 0.001


def test_a_pre_trained_checkpoint_is_fine_tuned_on_the_mean_of_its_tokens(finetune, tmp_path):
    from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEImageProcessor

    stock = randomise(VideoMAEForPreTraining(VideoMAEConfig(**TINY, use_mean_pooling=False)))
    stock.save_pretrained(tmp_path)
    VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    arguments = finetune.ModelArguments(model_name_or_path=str(tmp_path))
    model, processor = finetune.load_model(arguments, ["a", "b", "c"])
    assert model.config.use_mean_pooling
    assert model.fc_norm is not None
    theirs, ours = stock.videomae.encoder.state_dict(), model.videomae.encoder.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    # A classifier that already pools otherwise keeps doing so.
    model.config.use_mean_pooling = False
    RLTVideoMAEForVideoClassification(model.config).save_pretrained(tmp_path / "trained")
    processor.save_pretrained(tmp_path / "trained")
    arguments.model_name_or_path = str(tmp_path / "trained")
    assert not finetune.load_model(arguments, ["a", "b", "c"])[0].config.use_mean_pooling


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sampling", "unifrom"), 'Expected sampling to be "clip" or "uniform", received \'unifrom\''),
        (("--frame_stride", "0"), "Expected frame_stride >= 1, received 0"),
        (("--threshold", "nan"), "received NaN"),
        (("--drop_path_rate", "2"), "Expected drop_path_rate in [0, 1), received 2"),
        (("--dataloader_drop_last", "True", "--per_device_train_batch_size", "17"), "at least 17 training clips"),
        (("--on_bad_video", "ignore"), "Expected on_bad_video to be one of"),
        (("--output_dir", "/proc/nowhere"), "expected a folder that can be written"),
        (("--resume_from_checkpoint", "nowhere"), "Cannot resume from nowhere: there is no such folder"),
        (("--mixup", "-1"), "Expected mixup >= 0"),
        (("--token_keep_ratio", "0"), "Expected token_keep_ratio in (0, 1]"),
    ],
)
def test_a_wrong_setting_is_one_line_and_code_2(
    finetune, rendered_digits, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.setattr(sys, "argv", ["finetune.py", *words(rendered_digits, tmp_path / "out", *options)])
    with pytest.raises(SystemExit) as stopped:
        finetune.main()
    assert stopped.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("finetune.py: error: ")]
    assert len(error) == 1
    assert message in error[0]


def test_a_json_file_says_the_same_and_another_trainings_folder_is_refused(finetune, rendered_digits, tmp_path):
    sets = {"train_dir": str(rendered_digits / "train"), "validation_dir": str(rendered_digits / "validation")}
    more = {"max_steps": 2, "save_steps": 2, "output_dir": str(tmp_path / "out"), "disable_tqdm": True}
    for threshold, expected in ((0.2, 0.2), (None, None), ("none", None)):
        (tmp_path / "job.json").write_text(json.dumps({**sets, **more, "threshold": threshold}))
        trainer, *_ = finetune.make_trainer([str(tmp_path / "job.json")])
        assert trainer.model.config.threshold == trainer.processing_class.threshold == expected
    train(finetune, [str(tmp_path / "job.json")])
    few = tmp_path / "few"
    for split in ("train", "validation"):
        for name in ("grows", "stays"):
            (few / split).mkdir(parents=True, exist_ok=True)
            (few / split / name).symlink_to(rendered_digits / split / name)
    with pytest.raises(finetune.CheckpointError, match=r"other settings: .*classes was with \["):
        finetune.make_trainer(words(few, tmp_path / "out"))


def test_the_final_evaluation_takes_all_views_with_persistent_loading_processes(finetune, rendered_digits, tmp_path):
    options = ("--dataloader_num_workers", "1", "--dataloader_persistent_workers", "True", "--eval_strategy", "epoch")
    job = finetune.make_trainer(words(rendered_digits, tmp_path, *options, "--max_steps", "2", "--num_clips", "2"))
    shapes = []
    forward = job[0].model.forward
    job[0].model.forward = lambda **inputs: shapes.append(inputs["pixel_values"].ndim) or forward(**inputs)
    finetune.run(*job)
    assert shapes[-1] == 6
    assert 5 in shapes
