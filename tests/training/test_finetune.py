# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Whole trainings: several processes, kills and restarts, bad videos, every source of clips."""

import csv
import json
import logging
import shutil
import signal
import time

import pytest

from helpers.paths import ODD, REAL, ROOT
from helpers.training import (
    AUGMENTED,
    MIXED,
    QUIET,
    TWO_PROCESSES,
    content,
    difference,
    finish,
    history,
    start,
    train,
    words,
)
from hf_rlt import HfRltError
from hf_rlt.baselines import ByDifferenceVideoMAEForVideoClassification
from hf_rlt.data import from_folder
from hf_rlt.inference.decoder import Options
from hf_rlt.inference.evaluate import evaluate_model
from hf_rlt.inference.loading import load
from hf_rlt.training import finetune
from hf_rlt.training.checkpoints import RECORD, CheckpointError, checkpoint_folders, checkpoint_problem, read_record
from hf_rlt.training.resume import FinishedError, begin

EVERY_TWO = ("--save_strategy", "steps", "--save_steps", "2")


# Of 16 clips; accelerate fills up the last batch of an epoch with clips of its beginning, batch_rebalance does not.
# AdamW turns the rounding of gradients that are next to nothing into steps of the learning rate: 4 x 1e-3 here.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "size", "optimiser", "tolerance"),
    [("random", 4, "sgd", 1e-6), ("batch_rebalance", 3, "adamw_torch", 1e-4)],
)
def test_two_processes_train_as_one_does_with_their_total_batch(
    rendered_digits, tmp_path, strategy, size, optimiser, tolerance
):
    options = (*AUGMENTED, "--max_steps", "5", "--train_sampling_strategy", strategy, "--optim", optimiser)
    one, two = tmp_path / "one", tmp_path / "two"
    checkpoints = ("--save_strategy", "steps", "--save_steps", "4")  # of 3 steps an epoch: in the middle of the second
    argv = words(rendered_digits, two, *options, *checkpoints, "--per_device_train_batch_size", size)
    process = start(argv, TWO_PROCESSES)
    train(words(rendered_digits, one, *options, "--per_device_train_batch_size", 2 * size))
    out, _ = finish(process)
    assert history(two) == pytest.approx(history(one), abs=1e-5)
    assert difference(one, two) < tolerance
    results = [json.loads((folder / "all_results.json").read_text()) for folder in (one, two)]
    for name in ("eval_accuracy", "eval_tokens_computed", "eval_clips"):
        assert results[0][name] == pytest.approx(results[1][name], abs=1e-6)
    assert "of 8" in out
    assert all(0 <= waited < 0.5 for waited in history(two, "tokens_waited"))
    if strategy == "random":  # all processes end alike, and one of them says why
        out, _ = finish(start(argv, TWO_PROCESSES))
        assert out.count("this training is finished, after 5 steps") == 1
        process = start([*argv, "--seed", "3"], TWO_PROCESSES)
        _, error = process.communicate(timeout=240)
        assert process.returncode
        assert error.count("finetune.py: error: ") == error.count("seed was 42, is 3") == 1
    else:  # resumed on two processes it ends with the same weights
        (two / "model.safetensors").rename(tmp_path / "model.safetensors")
        shutil.rmtree(two / "checkpoint-5", ignore_errors=True)
        finish(start(argv, TWO_PROCESSES))
        assert history(two) == pytest.approx(history(one), abs=1e-5)
        assert difference(tmp_path, two) == 0


@pytest.mark.slow
def test_two_processes_report_a_bad_video_once_and_count_no_clip_twice(rendered_digits, tmp_path):
    for split, size in (("train", 16), ("validation", 7)):
        with (tmp_path / f"{split}.csv").open("w", newline="") as stream:
            files = sorted((rendered_digits / split).rglob("*.mp4"))[:size]
            rows = [(path, path.parent.name) for path in files]
            csv.writer(stream).writerows([("path", "label"), *rows, (f"gone_{split}.mp4", rows[0][1])])
    argv = ["--train_file", tmp_path / "train.csv", "--validation_file", tmp_path / "validation.csv"]
    argv += ["--on_bad_video", "skip", "--output_dir", tmp_path / "out", "--num_train_epochs", "3", *QUIET]
    argv += ["--per_device_train_batch_size", "4", "--per_device_eval_batch_size", "2"]
    out, error = finish(start(argv, TWO_PROCESSES))
    assert error.count("gone_train.mp4 (") == 1
    assert "1 of 17 training videos: " in out
    assert "1 of 8 validation videos: " in out
    result = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert (result["eval_clips"], result["eval_unreadable"]) == (7, 1)


@pytest.mark.slow
def test_a_training_killed_at_any_moment_ends_with_the_weights_of_one_that_was_not(rendered_digits, tmp_path):
    options = (*AUGMENTED, *MIXED, "--cutmix", "1", "--frame_stride", "1", *EVERY_TWO, "--save_total_limit", "3")
    options += ("--max_steps", "12", "--per_device_train_batch_size", "3", "--gradient_accumulation_steps", "2")
    whole = tmp_path / "whole"
    finish(start(words(rendered_digits, whole, *options)))
    # Three optimiser steps are an epoch: step 4 is in the middle of the second.
    for moment in (f"checkpoint-4/{RECORD}", "checkpoint-6"):
        killed = tmp_path / moment[:12]
        process = start(words(rendered_digits, killed, *options, "--dataloader_num_workers", "1"))
        deadline = time.monotonic() + 120
        while not (killed / moment).exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        written = moment == "checkpoint-6"  # while it was
        if written and checkpoint_problem(killed / moment) is None:
            (killed / moment / "trainer_state.json").unlink()  # it was faster than the kill
        assert not (killed / "checkpoint-12").exists()
        assert checkpoint_folders(killed)
        _, error = finish(start(words(rendered_digits, killed, *options)))
        assert f"Resuming from {killed}/checkpoint-" in error
        assert difference(whole, killed) == 0
        assert history(whole) == history(killed)
        assert (killed / "damaged-checkpoint-6").is_dir() or not written


@pytest.mark.slow
def test_a_command_that_is_started_again_ends_as_if_it_had_run_once(rendered_digits, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    plain = (
        "--threshold",
        "0.1",
        "--per_device_train_batch_size",
        "4",
        "--lr_scheduler_type",
        "constant",
        *MIXED,
        *EVERY_TWO,
    )

    def command(folder, *options):
        return words(rendered_digits, folder, *plain, "--max_steps", "6", *options)

    whole, run = tmp_path / "whole", tmp_path / "run"
    train(command(whole))
    settings = read_record(whole).settings

    def killed(last):  # what is left after a kill behind a checkpoint
        shutil.rmtree(run, ignore_errors=True)
        for step in range(2, last + 1, 2):
            shutil.copytree(whole / f"checkpoint-{step}", run / f"checkpoint-{step}")
        begin(run, settings)

    killed(4)  # damage: the checkpoint before is taken
    data = (run / "checkpoint-4" / "model.safetensors").read_bytes()
    (run / "checkpoint-4" / "model.safetensors").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    assert train(command(run))._initial_global_step == 2
    assert difference(run, whole) == 0
    killed(4)  # what counts at the end may change until then; loading processes at any time
    train(command(run, "--num_clips", "2", "--dataloader_num_workers", "1", "--save_total_limit", "1"))
    assert difference(run, whole) == 0
    (run / RECORD).unlink()  # killed while it was evaluated, it keeps what its training gave
    (run / "eval_results.json").unlink()
    begin(run, settings)
    trained = json.loads((run / "train_results.json").read_text())
    assert train(command(run))._initial_global_step == 6
    assert difference(run, whole) == 0
    assert json.loads((run / "train_results.json").read_text()) == trained
    assert len(history(run)) == 6
    assert not (run / "checkpoint-7").exists()
    shutil.rmtree(run)  # made longer, it ends as if it had been as long from the start
    train(command(run, "--max_steps", "4"))
    assert train(command(run))._initial_global_step == 4
    assert difference(run, whole) == 0
    before = content(run)
    moved = shutil.copytree(rendered_digits, tmp_path / "moved")
    for clips, same in (
        (rendered_digits, ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2")),
        (moved, ("--threshold", "0.10", "--logging_steps", "3", "--on_bad_video", "skip", "--cache_megabytes", "1")),
    ):
        with pytest.raises(FinishedError, match="after 6 steps"):
            train(words(clips, run, *plain, "--max_steps", "6", *same))
    for other, named in {"--eval_strategy epoch": "eval_strategy was 'no'", "--tome_r 2": "tome_r was 0"}.items():
        with pytest.raises(CheckpointError, match=f"holds a training with other settings: {named}"):
            train(command(run, *other.split()))
    assert content(run) == before


@pytest.mark.slow
def test_real_clips_with_a_corrupt_file_finish_and_name_it(tmp_path, capfd):
    if not REAL.is_dir():
        pytest.skip("needs the real clips beside the checkout, ../shared/clips/real")
    still = ("highway_static_60fps_first3s.mp4", "surveillance_vtest_first64.avi", "webcam_face_vfr_vp8.webm")
    moving = ("bbb_720p_onekey.mp4", "face_cut_cartoon_hevc_vfr.mov", "marathon_static_onekey.mp4")
    for label, files in {"still": still, "moving": moving}.items():
        for split in ("train", "validation"):
            (tmp_path / split / label).mkdir(parents=True)
            for name in files:
                (tmp_path / split / label / name).symlink_to(REAL / name)
    broken = tmp_path / "train" / "still" / "broken.mp4"
    broken.write_bytes((ODD / "truncated_no_moov.mp4").read_bytes())
    argv = ["--train_dir", tmp_path / "train", "--validation_dir", tmp_path / "validation", "--augment", "True"]
    argv += ["--output_dir", tmp_path / "out", "--num_train_epochs", "2", "--per_device_train_batch_size", "4"]
    argv += ["--num_clips", "2", "--num_crops", "3", "--mixup", "0.8", *QUIET]
    trainer = train([*argv, "--on_bad_video", "skip"])
    out = capfd.readouterr().out
    assert f"1 of 7 training videos: {broken}" in out
    assert "of 6, 6 views each" in out
    assert trainer.train_dataset.unreadable() == [str(broken)]
    with pytest.raises(HfRltError, match=r"broken\.mp4"):
        train([*argv, "--output_dir", tmp_path / "strict"])


@pytest.mark.slow
def test_a_stream_trains_and_goes_on_where_it_was(rendered_digits, tmp_path):
    argv = ["--dataset_name", rendered_digits, "--validation_split", "validation", "--streaming", "True", *QUIET]
    argv += ["--per_device_train_batch_size", "4", "--save_strategy", "steps", "--save_steps", "6", "--augment", "True"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"  # four batches are a pass
    trainer = train([*argv, "--max_steps", "9", "--output_dir", whole])
    assert trainer.state.global_step == 9
    shutil.copytree(whole / "checkpoint-6", cut / "checkpoint-6")
    train([*argv, "--max_steps", "9", "--output_dir", cut])
    assert history(cut) == history(whole)
    assert difference(cut, whole) == 0


@pytest.mark.slow
def test_the_final_evaluation_takes_all_views_with_persistent_loading_processes(rendered_digits, tmp_path):
    options = ("--dataloader_num_workers", "1", "--dataloader_persistent_workers", "True", "--eval_strategy", "epoch")
    job = finetune.make_job(words(rendered_digits, tmp_path, *options, "--max_steps", "2", "--num_clips", "2"))
    shapes = []
    forward = job.trainer.model.forward
    job.trainer.model.forward = lambda **inputs: shapes.append(inputs["pixel_values"].ndim) or forward(**inputs)
    finetune.run(job)
    assert shapes[-1] == 6
    assert 5 in shapes


@pytest.mark.slow
def test_selection_by_difference_trains_from_scratch_and_from_a_model(rendered_digits, tmp_path):
    options = ("--method", "by_difference", "--max_steps", "1", "--per_device_train_batch_size", "4")
    first, second = tmp_path / "first", tmp_path / "second"
    train(words(rendered_digits, first, *options, "--num_tokens", "0.2"))
    train(words(rendered_digits, second, *options, "--num_tokens", "112", "--model_name_or_path", first))
    for folder, tokens in ((first, 102), (second, 112)):
        results = json.loads((folder / "all_results.json").read_text())
        assert results["eval_tokens_computed"] == pytest.approx(tokens / 512, abs=1e-4)
        assert history(folder, "tokens_computed") == [round(tokens / 512, 4)]
        model, processor = load(str(folder))
        assert (type(model), processor.run_rule.drops) == (ByDifferenceVideoMAEForVideoClassification, False)
        assert model.config.token_counts(512)[0] == tokens
        clips = from_folder(rendered_digits / "validation", list(model.config.id2label.values()))
        found = evaluate_model(model, processor, clips, Options(num_workers=0))
        assert found["accuracy"] == results["eval_accuracy"]
        assert found["tokens_computed"] == pytest.approx(tokens / 512)


@pytest.mark.slow
def test_the_small_recipe_keeps_the_best_epoch(rendered_digits, tmp_path):
    model = ROOT / "examples" / "space" / "digits"
    options = ("--recipe", "small", "--model_name_or_path", model, "--learning_rate", "1e-3", "--num_train_epochs", "4")
    trainer = train(words(rendered_digits, tmp_path, *options))
    accuracies = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    results = json.loads((tmp_path / "all_results.json").read_text())
    assert results["eval_accuracy"] == max(accuracies[:4])
    assert len(list(tmp_path.glob("checkpoint-*"))) <= 2  # the last and the best
