# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write and check the record beside the files of a training: its settings, its step, and a digest of each file.

The record is written last and atomically: if it is there and matches the files, they are what the training wrote.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HfRltError
from ..jobs.atomic import write_text_atomic

# The underscore keeps Trainer from pushing the record, which names local folders.
RECORD = "_training_record.json"


@dataclass(frozen=True)
class TrainingRecord:
    """The content of a record.

    Attributes:
        settings: of the training, see `training_settings`; None if none were given.
        step: optimiser steps taken; None if the training has only begun.
        files: size and digest of each file, by its path relative to the folder.
    """

    settings: dict[str, Any] | None
    step: int | None
    files: dict[str, list]


def file_digest(path: str | Path) -> str:
    """Return the digest of a file's bytes.

    Raises:
        OSError: if it cannot be read.
    """
    found, buffer = hashlib.sha256(), bytearray(2**20)
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            found.update(memoryview(buffer)[:count])
    return found.hexdigest()


def write_record(
    folder: str | Path, settings: dict[str, Any] | None, step: int | None = None, files: Iterable[Path] = ()
) -> None:
    """Write a folder's record, replacing an earlier one.

    Args:
        folder: the folder of the files.
        settings: of the training.
        step: optimiser steps taken; None for a training that begins.
        files: the files to record.
    """
    folder = Path(folder)
    told = {str(path.relative_to(folder).as_posix()): [path.stat().st_size, file_digest(path)] for path in files}
    content = {"settings": settings, "step": step, "files": told}
    write_text_atomic(folder / RECORD, json.dumps({**content, "digest": _digest(content)}, indent=1) + "\n")


def read_record(folder: str | Path) -> TrainingRecord | None:
    """Return a folder's record; None if there is none.

    Raises:
        ValueError: if it is damaged.
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


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
