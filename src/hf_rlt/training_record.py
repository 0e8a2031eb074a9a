# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The record beside what a training wrote: its settings, how far it was, and a digest of each file.

It is written last, and whole or not at all: where it is and agrees with the files, these are what the training wrote.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .whole_files import write_whole

# Trainer pushes nothing that begins with an underscore: the record names folders of this machine.
RECORD = "_training_record.json"


@dataclass(frozen=True)
class TrainingRecord:
    """What a record says.

    Attributes:
        settings: of the training, see `training_settings`; None if whoever trained gave none.
        step: optimiser steps taken; None for a training that has begun.
        files: name below the folder to size and digest.
    """

    settings: dict[str, Any] | None
    step: int | None
    files: dict[str, list]


def file_digest(path: str | Path) -> str:
    """Return the digest of a file's bytes. Raises OSError if it cannot be read."""
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
        folder: that the files are in.
        settings: of the training.
        step: optimiser steps taken; None for a training that begins.
        files: what belongs to it.
    """
    folder = Path(folder)
    told = {str(path.relative_to(folder).as_posix()): [path.stat().st_size, file_digest(path)] for path in files}
    content = {"settings": settings, "step": step, "files": told}
    write_whole(folder / RECORD, json.dumps({**content, "digest": _digest(content)}, indent=1) + "\n")


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
        raise ValueError(f"{RECORD} is damaged") from None
    if told != _digest(content):
        raise ValueError(f"{RECORD} is damaged")
    return record


def file_problem(folder: str | Path, record: TrainingRecord) -> str | None:
    """Return what is wrong with the first file that is not as its record says; None if all are."""
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
