# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A command that is started again in a folder: finished, longer, with other settings, after damage."""

import logging
import re
import shutil

import pytest
from safetensors.torch import save_file
from torch import ones

from helpers.training import content, write_checkpoint
from hf_rlt.training.checkpoints import RECORD, CheckpointError, complete_checkpoint
from hf_rlt.training.resume import FinishedError, begin, find_start, finish

SPLIT = {"per_device_train_batch_size": 4, "processes": 1, "gradient_accumulation_steps": 1}
SETTINGS = {"seed": 42, "threshold": 0.1, "num_clips": 1, "length": {"max_steps": 6}, "split": SPLIT}
STEPS = (2, 4, 6)


def changed(**changes):
    return {**SETTINGS, **changes}


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


@pytest.fixture
def killed(tmp_path):
    """What is left of a training that was killed after step 6, its last, was saved."""
    folder = tmp_path / "run"
    for step in STEPS:
        write_checkpoint(folder, step, settings=SETTINGS)
    begin(folder, SETTINGS)
    return folder


@pytest.fixture
def finished(killed):
    save_file({"weight": ones(9)}, killed / "model.safetensors")
    (killed / "trainer_state.json").write_text("{}")
    finish(killed, SETTINGS, 6)
    return killed


def refused(folder, settings, message, error=CheckpointError, asked=None):
    """Check that a start is refused in one line and nothing is touched."""
    before = content(folder)
    with pytest.raises(error, match=message) as raised:
        find_start(folder, settings, asked)
    assert "\n" not in str(raised.value)
    assert content(folder) == before


@pytest.mark.parametrize("asked", [None, "True"])
def test_a_finished_run_says_so_in_one_line_and_is_left_as_it_is(finished, asked):
    message = r"finished, after 6 steps; nothing is done.*another --output_dir.*larger --max_steps"
    refused(finished, SETTINGS, message, FinishedError, asked)
    for step in STEPS:
        shutil.rmtree(finished / f"checkpoint-{step}")
    refused(finished, SETTINGS, r"to start anew; hf-rlt evaluate --model", FinishedError)
    refused(finished, changed(length={"max_steps": 8}), "after 6 steps and left no whole checkpoint to go on from")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"seed": 3, "threshold": None}, "seed was 42, is 3; threshold was 0.1, is None"),
        ({"length": {"max_steps": 5}}, "max_steps was 6, is 5"),
        ({"length": {"num_train_epochs": 9}}, "max_steps was 6, num_train_epochs is 9"),
        ({"length": {"max_steps": 8}, "seed": 1}, "seed was 42, is 1"),
    ],
)
def test_other_settings_are_refused_by_name_and_nothing_is_touched(killed, settings, named):
    message = f"holds a training with other settings: {re.escape(named)}. Pass another --output_dir to start anew"
    refused(killed, changed(**settings), message)
    finish(killed, SETTINGS, 6)
    refused(killed, changed(**settings), f"{message}.*hf-rlt evaluate --model")


def test_what_counts_at_the_end_only_may_change_until_then(killed):
    assert find_start(killed, changed(num_clips=2)) == killed / "checkpoint-6"
    finish(killed, SETTINGS, 6)
    refused(killed, changed(num_clips=2), r"num_clips was 1, is 2\..*hf-rlt evaluate --model")


def test_a_finished_run_goes_on_for_more_steps_or_epochs(finished, caplog):
    assert find_start(finished, changed(length={"max_steps": 9})) == finished / "checkpoint-6"
    assert "checkpoint-6: max_steps was 6, is 9: the learning rate follows" in caplog.text
    epochs = changed(length={"num_train_epochs": 2})
    for step in STEPS:
        complete_checkpoint(finished / f"checkpoint-{step}", epochs, step)
    finish(finished, epochs, 6)
    refused(finished, SETTINGS, "num_train_epochs was 2, max_steps is 6")
    longer = changed(length={"max_steps": 7})
    assert find_start(finished, longer) == finished / "checkpoint-6"
    (finished / "model.safetensors").unlink()  # killed before its first checkpoint, it goes on as well
    begin(finished, longer)
    assert find_start(finished, longer) == finished / "checkpoint-6"


def test_after_damage_the_checkpoint_before_is_taken_or_a_new_start_is_made_aloud(killed, caplog):
    (killed / "checkpoint-6" / "scheduler.pt").unlink()
    assert find_start(killed, SETTINGS) == killed / "checkpoint-4"
    assert "damaged-checkpoint-6: scheduler.pt is missing" in caplog.text
    assert f"Resuming from {killed / 'checkpoint-4'}" in caplog.text
    for step in (2, 4):
        (killed / f"checkpoint-{step}" / "scheduler.pt").unlink()
    assert find_start(killed, SETTINGS) is None
    assert "left no whole checkpoint (checkpoint-4: scheduler.pt is missing): starting anew" in caplog.text


def test_checkpoints_of_another_run_are_not_resumed_from(killed, tmp_path):
    other = write_checkpoint(tmp_path / "other", 8, seed=1, settings=changed(seed=1))
    message = "checkpoint-8: holds a training with other settings: seed was 1, is 42"
    refused(killed, SETTINGS, message, asked=str(other))
    shutil.copytree(other, killed / "checkpoint-8")
    refused(killed, SETTINGS, message)
    shutil.rmtree(killed / "checkpoint-8")
    (killed / RECORD).unlink()  # what the checkpoints say counts then
    refused(killed, changed(seed=1), "seed was 42, is 1")
    assert find_start(killed, SETTINGS) == killed / "checkpoint-6"
    for told in (None, {"mine": 1}):
        complete_checkpoint(killed / "checkpoint-6", told, 6)
        refused(killed, SETTINGS, "checkpoint-6: does not say with which settings")


def test_a_finished_model_that_is_gone_is_made_again_and_one_that_differs_is_nobodys_to_overwrite(finished):
    data = (finished / "model.safetensors").read_bytes()
    (finished / "model.safetensors").write_bytes(data[:-1] + b"\1")
    refused(finished, SETTINGS, r"finished, but model.safetensors is damaged.*remove that file")
    (finished / "model.safetensors").unlink()
    assert find_start(finished, SETTINGS) == finished / "checkpoint-6"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "holds a training without .*, so nobody knows"),
        (lambda path: path.write_text("5"), "is damaged, so nobody knows"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"42", b"43")), "is damaged"),
    ],
)
def test_a_run_without_a_readable_record_is_refused_and_left(finished, spoil, message):
    for step in STEPS:
        shutil.rmtree(finished / f"checkpoint-{step}")
    spoil(finished / RECORD)
    refused(finished, SETTINGS, f"{message}.*pass another --output_dir")


def test_checkpoints_that_another_program_wrote_are_refused_and_left(killed):
    for path in (killed, *killed.glob("checkpoint-*")):
        (path / RECORD).unlink()
    refused(killed, SETTINGS, r"no whole checkpoint \(checkpoint-6: .* is missing: it was not written")


def test_a_step_may_be_shared_out_otherwise_which_is_said_aloud(killed, caplog):
    split = {"per_device_train_batch_size": 1, "processes": 2, "gradient_accumulation_steps": 2}
    assert find_start(killed, changed(split=split)) == killed / "checkpoint-6"
    assert "gradient_accumulation_steps was 4 x 1 x 1, is 1 x 2 x 2: " in caplog.text


def test_a_start_that_left_nothing_does_not_bind_the_next_one(tmp_path, caplog):
    begin(tmp_path, SETTINGS)
    assert find_start(tmp_path, changed(seed=2)) is None
    assert "starting anew" in caplog.text
    assert find_start(tmp_path / "new", SETTINGS) is None
