# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Trainer's checkpoints: which of them are complete, which to keep, and whether there is room for one.

Trainer writes a checkpoint file by file; a record with its settings, its step and a digest of each file is written last
and atomically. If the record is there and matches the files, they are what the training wrote. A record in the same
format beside the final model says that the training has begun (no step) or is finished (a step).
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from ..errors import HfRltError, one_line
from ..jobs.atomic import write_text_atomic

logger = logging.getLogger(__name__)

RECORD = "_training_record.json"  # names local folders: the underscore keeps Trainer from pushing it
MODEL_ONLY = "it holds the model only (save_only_model)"
NUMBERED = re.compile(r"checkpoint-(0|[1-9][0-9]*)")  # as Trainer writes them; no copies or variants


class CheckpointError(HfRltError):
    """A checkpoint cannot be written or read, or is of another training. The message says what to do."""


class TrainingRecord(NamedTuple):
    """The content of a record."""

    settings: dict[str, Any] | None
    step: int | None  # None: the training has only begun
    files: dict[str, list]  # relative path: size, digest


def write_record(
    folder: str | Path, settings: dict[str, Any] | None, step: int | None = None, files: Iterable[Path] = ()
) -> None:
    """Write a folder's record, replacing an earlier one."""
    folder = Path(folder)
    told = {path.relative_to(folder).as_posix(): [path.stat().st_size, file_digest(path)] for path in sorted(files)}
    content = {"settings": settings, "step": step, "files": told}
    write_text_atomic(folder / RECORD, json.dumps({**content, "digest": _digest(content)}, indent=1) + "\n")


def read_record(folder: str | Path) -> TrainingRecord | None:
    """Return a folder's record; None if there is none.

    Raises:
        HfRltError: if it is damaged.
    """
    try:
        content = json.loads((Path(folder) / RECORD).read_bytes())
        told = content.pop("digest")
        record = TrainingRecord(**content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise HfRltError(f"{RECORD} is damaged") from None
    if told != _digest(content):
        raise HfRltError(f"{RECORD} is damaged")
    return record


def file_digest(path: str | Path) -> str:
    """Return the digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_problem(folder: str | Path, record: TrainingRecord) -> str | None:
    """Return what is wrong with the first file that differs from its record; None if all match."""
    for name, (size, digest) in record.files.items():
        path = Path(folder) / name
        try:
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} is damaged ({path.stat().st_size} bytes instead of {size})"
            if file_digest(path) != digest:
                return f"{name} is damaged, or of another training (its digest is not the recorded one)"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def complete_checkpoint(folder: str | Path, settings: dict[str, Any] | None, step: int) -> None:
    """Write the record that marks a checkpoint as complete, after all its other files."""
    write_record(folder, settings, step, [p for p in Path(folder).rglob("*") if p.is_file() and p.name != RECORD])


def checkpoint_problem(folder: str | Path) -> str | None:
    """Return what is wrong with a checkpoint folder; None if a training can be resumed from it."""
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder" if not os.path.lexists(folder) else "it is no folder"
    try:
        record = read_record(folder)
    except (HfRltError, OSError) as error:
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
    found = [path for path in Path(output_dir).glob("checkpoint-*") if NUMBERED.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)


def newest_checkpoint(output_dir: str | Path) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest complete checkpoint, if any, and what is wrong with each newer one."""
    damaged: dict[Path, str] = {}
    for folder in checkpoint_folders(output_dir):
        problem = checkpoint_problem(folder)
        if problem is None:
            return folder, damaged
        if problem != MODEL_ONLY:
            damaged[folder] = problem
    return None, damaged


def delete_old_checkpoints(newest: Path, limit: int | None, best: str | None) -> None:
    """Delete the oldest checkpoints beside a new one until `limit` are left; never the best one.

    Trainer itself would delete anything named `checkpoint-*`, copies that somebody made, too.
    """
    if not limit or limit < 0:
        return
    kept = {newest.resolve(), *([Path(best).resolve()] if best else [])}
    others = [path for path in checkpoint_folders(newest.parent) if path.resolve() not in kept]
    for folder in others[max(limit - len(kept), 0) :]:
        shutil.rmtree(folder, ignore_errors=True)


def set_aside(damaged: dict[Path, str]) -> None:
    """Rename damaged checkpoints to `damaged-checkpoint-STEP`, so that new ones can take their place; log why."""
    for folder, problem in damaged.items():
        names = (folder.with_name(f"damaged-{folder.name}" + (f"-{n}" if n > 1 else "")) for n in count(1))
        target = next(path for path in names if not os.path.lexists(path))  # never over an earlier one
        folder.rename(target)
        logger.warning(f"Set aside as {target}: {problem}.")


def check_output_dir(output_dir: str | Path, num_parameters: int) -> None:
    """Warn if there is no room for a checkpoint; with AdamW it takes about 12 bytes per parameter.

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


@contextmanager
def saving(output_dir: str, step: int) -> Iterator[None]:
    """Context in which a file that cannot be written raises a `CheckpointError` that says which checkpoint is safe."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save raises RuntimeError on a full disk
        safe, _ = newest_checkpoint(output_dir)
        raise CheckpointError(
            f"Step {step} could not be saved to {output_dir} ({one_line(error)}). "
            f"{f'{safe} is whole' if safe else 'There is no whole checkpoint'}: make room or make the folder writable, and "
            "start the same command again."
        ) from error
