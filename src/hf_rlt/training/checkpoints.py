# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Manage Trainer's checkpoints: which of them are complete, which to keep, and whether there is room for one."""

import logging
import os
import re
import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from .record import RECORD, file_problem, read_record, write_record

logger = logging.getLogger(__name__)

MODEL_ONLY = "it holds the model only (save_only_model)"
NUMBERED = re.compile(r"checkpoint-(0|[1-9][0-9]*)")  # as Trainer writes them; no copies or variants


class CheckpointError(ValueError):
    """A checkpoint cannot be written or read, or is of another training. The message says what to do."""


def complete_checkpoint(folder: str | Path, settings: dict[str, Any] | None, step: int) -> None:
    """Write the record that marks a checkpoint as complete, after all its other files.

    Args:
        folder: of the checkpoint.
        settings: of the training; None if they are not known.
        step: optimiser steps taken.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != RECORD)
    write_record(folder, settings, step, files)


def checkpoint_problem(folder: str | Path) -> str | None:
    """Return what is wrong with a checkpoint folder; None if a training can be resumed from it.

    Trainer writes a checkpoint file by file; `complete_checkpoint` then records the digest of each. If the process is
    killed before that, there is no record; files cut short by a full disk or a power loss, or taken from another
    training, do not match it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder" if not os.path.lexists(folder) else "it is no folder"
    try:
        record = read_record(folder)
    except (ValueError, OSError) as error:
        return str(error)
    if record is None or record.step is None:
        return f"{RECORD} is missing: it was not written to its end, or not by hf_rlt"
    if not any(Path(name).name.startswith("rng_state") for name in record.files):
        return MODEL_ONLY
    named = NUMBERED.fullmatch(folder.name)
    if named and int(named[1]) != record.step:
        return f"it is of step {record.step}"
    own = {name.split("/")[0] for name in record.files}
    foreign = [path.name for path in folder.glob("*fsdp*") if path.name not in own]  # Trainer would load these instead
    return f"{foreign[0]} does not belong to it" if foreign else file_problem(folder, record)


def checkpoint_folders(output_dir: str | Path) -> list[Path]:
    """Return the folders `checkpoint-STEP` in a training's folder, the latest step first."""
    found = {path: NUMBERED.fullmatch(path.name) for path in Path(output_dir).glob("checkpoint-*")}
    steps = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(steps, key=lambda path: steps[path], reverse=True)


def delete_old_checkpoints(newest: Path, limit: int | None, best: str | None) -> None:
    """Delete the oldest checkpoints beside a new one until `limit` are left; never the best one.

    Trainer itself would delete them before the new one is known to be complete, and anything named `checkpoint-*`.
    """
    if not limit or limit < 0:
        return
    kept = {newest.resolve(), *([Path(best).resolve()] if best else [])}
    others = [path for path in checkpoint_folders(newest.parent) if path.resolve() not in kept]
    for folder in others[max(limit - len(kept), 0) :]:
        shutil.rmtree(folder, ignore_errors=True)


def newest_checkpoint(output_dir: str | Path, damaged: dict[Path, str] | None = None) -> Path | None:
    """Return the newest complete checkpoint, or None.

    Args:
        output_dir: of the training.
        damaged: filled with the newer, incomplete ones and what is wrong with each.
    """
    for folder in checkpoint_folders(output_dir):
        problem = checkpoint_problem(folder)
        if problem is None:
            return folder
        if damaged is not None and problem != MODEL_ONLY:
            damaged[folder] = problem
    return None


def set_aside(damaged: dict[Path, str]) -> None:
    """Rename damaged checkpoints to `damaged-checkpoint-STEP`, so that new ones can take their place; log a warning.

    Args:
        damaged: their folders, and what is wrong with each.
    """
    for folder, problem in damaged.items():
        names = (folder.with_name(f"damaged-{folder.name}" + (f"-{n}" if n > 1 else "")) for n in count(1))
        target = next(path for path in names if not os.path.lexists(path))  # never over an earlier one
        folder.rename(target)
        logger.warning(f"Set aside as {target}: {problem}.")


def checkpoint_to_resume(
    output_dir: str | Path, asked: str | bool | None, damaged: dict[Path, str] | None = None
) -> Path | None:
    """Return the checkpoint to resume from: the one asked for, or the newest complete one; None to start anew.

    Args:
        output_dir: of the training.
        asked: a checkpoint, or whether there has to be one.
        damaged: filled with those in `output_dir` newer than its newest complete one, and what is wrong with each.

    Raises:
        CheckpointError: if the one asked for cannot be used, or one is asked for and there is none.
    """
    wanted = str(asked).lower() == "true"
    found = newest_checkpoint(output_dir, damaged)
    if wanted or str(asked).lower() in ("none", "false"):
        if found is None and wanted:
            raise CheckpointError(f"{output_dir}: expected a checkpoint to resume from, found no whole one.")
        return found
    problem = checkpoint_problem(str(asked))
    if problem is None:
        return Path(str(asked))
    other = newest_checkpoint(Path(str(asked)).parent)
    remedy = f"{other} is whole: resume from that" if other else "start anew without --resume_from_checkpoint"
    raise CheckpointError(f"Cannot resume from {asked}: {problem}. {remedy}.")


def check_output_dir(output_dir: str | Path, num_parameters: int) -> None:
    """Raise CheckpointError unless a folder can be written, and warn if there is no room for one checkpoint.

    Args:
        output_dir: created if it does not exist.
        num_parameters: of the model; a checkpoint with AdamW takes about 12 bytes for each.

    Raises:
        CheckpointError: if the folder cannot be made or written.
    """
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        raise CheckpointError(
            f"--output_dir {output_dir}: expected a folder that can be written ({error.strerror}): choose another or make "
            "room."
        ) from error
    free, needed = shutil.disk_usage(output_dir).free, 12 * num_parameters
    if free < needed:
        logger.warning(
            f"{output_dir}: {free / 1e9:.1f} GB are free, a checkpoint takes about {needed / 1e9:.1f} GB: make room, or the "
            "first checkpoint will fail."
        )
