# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decide where a training starts: anew, from a checkpoint, or not at all if finished or not the one in its folder."""

import logging
from pathlib import Path
from typing import Any

from ..errors import HfRltError
from .checkpoints import (
    RECORD,
    CheckpointError,
    TrainingRecord,
    checkpoint_folders,
    checkpoint_problem,
    file_problem,
    newest_checkpoint,
    read_record,
    set_aside,
    write_record,
)
from .settings import Settings, changes, length_change, split_change

logger = logging.getLogger(__name__)

ANEW = "pass another --output_dir to start anew"


class FinishedError(Exception):
    """The training is finished. The message says what is there, and how to go on or start anew."""


def find_start(output_dir: str | Path, settings: Settings, asked: str | bool | None = None) -> Path | None:
    """Return the checkpoint to resume a training from, or None to start anew; log which, and why.

    Writes nothing, but renames damaged checkpoints.

    Args:
        output_dir: of the training.
        settings: of the training, see `training_settings`.
        asked: `resume_from_checkpoint` as it was given.

    Raises:
        FinishedError: if the training is finished.
        CheckpointError: if the folder holds a training with other settings, or one that cannot be resumed.
    """
    output_dir = Path(output_dir)
    record = _read(output_dir)
    there = any(checkpoint_folders(output_dir)) or (output_dir / "trainer_state.json").exists()
    if record is not None and (there or any(output_dir.glob("*.safetensors"))):
        _check_settings(output_dir, record, settings, record.step, finished=record.step is not None)
        _check_finished(output_dir, record, settings)
    found, damaged = choose_checkpoint(output_dir, asked)
    if found is not None:
        _check_checkpoint(found, settings, begun=record is not None)
    elif there:
        _check_leftovers(output_dir, record, damaged)
    elif record is not None:
        logger.warning(f"{output_dir}: a training was begun here and left no checkpoint: starting anew.")
    set_aside(damaged)
    if found is not None:
        logger.warning(f"Resuming from {found}; to start anew pass another --output_dir.")
    return found


def begin(output_dir: str | Path, settings: Settings) -> None:
    """Record the settings with which a training begins, unless they are recorded already."""
    if read_record(output_dir) != TrainingRecord(settings, None, {}):
        write_record(output_dir, settings)


def finish(output_dir: str | Path, settings: Settings, step: int) -> None:
    """Record that a training is finished, after how many steps, and with which weights."""
    write_record(output_dir, settings, step, Path(output_dir).glob("*.safetensors"))


def choose_checkpoint(output_dir: str | Path, asked: str | bool | None) -> tuple[Path | None, dict[Path, str]]:
    """Return the checkpoint asked for or the newest complete one, if any, and the damaged ones that are newer.

    Args:
        output_dir: of the training.
        asked: a checkpoint, or whether there has to be one.

    Raises:
        CheckpointError: if the one asked for cannot be used, or one is asked for and there is none.
    """
    found, damaged = newest_checkpoint(output_dir)
    if found is None and str(asked).lower() == "true":
        raise CheckpointError(f"{output_dir}: expected a checkpoint to resume from, found no whole one.")
    if str(asked).lower() in ("none", "false", "true"):
        return found, damaged
    problem = checkpoint_problem(str(asked))
    if problem is None:
        return Path(str(asked)), damaged
    other, _ = newest_checkpoint(Path(str(asked)).parent)
    remedy = f"{other} is whole: resume from that" if other else "start anew without --resume_from_checkpoint"
    raise CheckpointError(f"Cannot resume from {asked}: {problem}. {remedy}.")


def _read(folder: Path) -> TrainingRecord | None:
    try:
        return read_record(folder)
    except HfRltError as error:
        raise CheckpointError(f"{folder}: {error}, so nobody knows with which settings it was made: {ANEW}.") from None


def _check_settings(
    folder: Path, record: TrainingRecord, settings: Settings, steps: int | None, finished: bool = False
) -> None:
    """Raise CheckpointError, naming what differs, unless a training can go on with these settings."""
    if record.settings is None or not record.settings.keys() >= {"length", "split"}:
        raise CheckpointError(f"{folder}: does not say with which settings it was made: {ANEW}.")
    length, longer = length_change(record.settings, settings, steps)
    differing = ([length] if length and not longer else []) + changes(record.settings, settings, finished)
    if differing:
        hint = f" hf-rlt evaluate --model {folder} evaluates it as it is." if finished else ""
        raise CheckpointError(
            f"{folder}: holds a training with other settings: {'; '.join(differing)}. {ANEW.capitalize()}, with "
            f"--model_name_or_path {folder} from its weights.{hint}"
        )


def _check_finished(folder: Path, record: TrainingRecord, settings: dict[str, Any]) -> None:
    """Raise FinishedError if a training is finished and is not to be longer."""
    if record.step is None or length_change(record.settings or {}, settings, record.step)[1]:
        return
    problem = file_problem(folder, record)
    if problem is None:
        more = ", a larger --max_steps or --num_train_epochs to go on" if any(checkpoint_folders(folder)) else ""
        raise FinishedError(
            f"{folder}: this training is finished, after {record.step} steps; nothing is done. Pass another --output_dir to "
            f"start anew{more}; hf-rlt evaluate --model {folder} evaluates it."
        )
    if not problem.endswith("is missing"):  # it may have been changed on purpose: do not overwrite it
        raise CheckpointError(
            f"{folder}: this training is finished, but {problem}: remove that file to have it made again from the newest "
            f"checkpoint, or {ANEW}."
        )
    logger.warning(f"{folder}: this training is finished, but {problem}: going on from the newest checkpoint.")


def _check_leftovers(folder: Path, record: TrainingRecord | None, damaged: dict[Path, str]) -> None:
    """Raise CheckpointError unless a training without a complete checkpoint may start anew in its folder; log that."""
    why = "".join(f" ({path.name}: {problem})" for path, problem in list(damaged.items())[:1])
    if record is None:
        raise CheckpointError(
            f"{folder}: holds a training without {RECORD}, so nobody knows with which settings it was made, and no whole "
            f"checkpoint{why}: {ANEW}."
        )
    if record.step is not None:
        raise CheckpointError(
            f"{folder}: the training finished after {record.step} steps and left no whole checkpoint to go on from{why}: "
            f"{ANEW}, with --model_name_or_path {folder} from its weights."
        )
    logger.warning(f"{folder}: a training was begun here and left no whole checkpoint{why}: starting anew.")


def _check_checkpoint(found: Path, settings: Settings, begun: bool) -> None:
    """Raise CheckpointError if a complete checkpoint is of another training; log what changes in resuming it."""
    record = _read(found)
    assert record is not None  # the checkpoint is complete
    # If the training was begun in this folder, the folder's own record determines its planned length.
    _check_settings(found, record, settings, record.step if begun else None)
    assert record.settings is not None
    if length := length_change(record.settings, settings)[0]:
        logger.warning(f"{found}: {length}: the learning rate follows the new schedule from here on.")
    if split := split_change(record.settings, settings):
        logger.warning(f"{split}: steps are of the same clips, other random numbers are drawn, sums round otherwise.")
