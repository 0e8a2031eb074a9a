# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decide where a training starts: anew, from a checkpoint, or not at all if finished or not the one in its folder."""

import logging
from pathlib import Path
from typing import Any

from .checkpoints import CheckpointError, checkpoint_folders, checkpoint_to_resume, set_aside
from .record import RECORD, TrainingRecord, file_problem, read_record, write_record
from .settings import Settings, changes, length_of, longer, other_split, shortened

logger = logging.getLogger(__name__)

ANEW = "pass another --output_dir to start anew"


class FinishedError(Exception):
    """The training is finished. The message says what is there, and how to go on or start anew."""


def find_start(output_dir: str | Path, settings: Settings, asked: str | bool | None = None) -> Path | None:
    """Return the checkpoint to resume a training from, or None to start anew; log which, and why.

    Writes nothing, but renames checkpoints that turn out to be damaged.

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
    damaged: dict[Path, str] = {}
    found = checkpoint_to_resume(output_dir, asked, damaged)
    if found is not None:
        _check_checkpoint(found, settings, begun=record is not None)
    elif there:
        _check_left(output_dir, record, damaged)
    elif record is not None:
        logger.warning(f"{output_dir}: a training was begun here and left no checkpoint: starting anew.")
    set_aside(damaged)
    if found is not None:
        logger.warning(f"Resuming from {found}; to start anew pass another --output_dir.")
    return found


def begin(output_dir: str | Path, settings: Settings) -> None:
    """Record the settings with which a training begins, unless they are recorded already."""
    record = read_record(output_dir)
    if record is None or record.step is not None or record.settings != settings:
        write_record(output_dir, settings)


def finish(output_dir: str | Path, settings: Settings, step: int) -> None:
    """Record that a training is finished, after how many steps, and with which weights."""
    write_record(output_dir, settings, step, sorted(Path(output_dir).glob("*.safetensors")))


def _read(folder: Path) -> TrainingRecord | None:
    try:
        return read_record(folder)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}, so nobody knows with which settings it was made: {ANEW}.") from None


def _check_settings(
    folder: Path, record: TrainingRecord, settings: Settings, steps: int | None, finished: bool = False
) -> None:
    """Raise CheckpointError, naming what differs, unless a training can go on with these settings."""
    if record.settings is None or not record.settings.keys() >= {"length", "split"}:
        raise CheckpointError(f"{folder}: does not say with which settings it was made: {ANEW}.")
    differing = shortened(record.settings, settings, steps) + changes(record.settings, settings, finished)
    if differing:
        hint = f" hf-rlt evaluate {folder} evaluates it as it is." if finished else ""
        raise CheckpointError(
            f"{folder}: holds a training with other settings: {'; '.join(differing)}. {ANEW.capitalize()}, with "
            f"--model_name_or_path {folder} from its weights.{hint}"
        )


def _check_finished(folder: Path, record: TrainingRecord, settings: dict[str, Any]) -> None:
    """Raise FinishedError if a training is finished and is not to be longer."""
    if record.step is None or longer(record.settings or {}, settings, record.step):
        return
    problem = file_problem(folder, record)
    if problem is None:
        more = "a larger --max_steps or --num_train_epochs to go on" if any(checkpoint_folders(folder)) else ""
        raise FinishedError(
            f"{folder}: this training is finished, after {record.step} steps; nothing is done. Pass another --output_dir to "
            f"start anew{', ' * bool(more)}{more}; hf-rlt evaluate {folder} evaluates it."
        )
    if not problem.endswith("is missing"):  # it may have been changed on purpose: do not overwrite it
        raise CheckpointError(
            f"{folder}: this training is finished, but {problem}: remove that file to have it made again from the newest "
            f"checkpoint, or {ANEW}."
        )
    logger.warning(f"{folder}: this training is finished, but {problem}: going on from the newest checkpoint.")


def _check_left(folder: Path, record: TrainingRecord | None, damaged: dict[Path, str]) -> None:
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
    if record.settings["length"] != settings["length"]:
        logger.warning(
            f"{found} is of a training with {length_of(record.settings)}, this one has {length_of(settings)}: the learning "
            "rate follows the new schedule from here on."
        )
    split = other_split(record.settings, settings)
    if split is not None:
        logger.warning(f"{split}: steps are of the same clips, other random numbers are drawn, sums round otherwise.")
