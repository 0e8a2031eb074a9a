# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Atomic writes: a file or folder is there complete, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_parent(path: Path) -> None:
    """Raise FileNotFoundError unless the folder of a file to be written exists."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected an existing folder to write to, found no {path.parent}.")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; it is renamed to `path` at the end, removed after an error."""
    check_parent(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    open(part, "wb").close()  # the ordinary OSError if nothing can be written here
    mode = part.stat().st_mode
    try:
        yield part
        part.chmod(mode)  # as an ordinary new file; safetensors lets nobody else read its own
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text_atomic(path: Path, content: str) -> Path:
    """Replace a text file at once, so that nobody ever finds half of it; return its path."""
    with atomic_write(path) as part:
        part.write_text(content, encoding="utf-8", newline="")
    return path


@contextmanager
def atomic_dir(target: Path) -> Iterator[Path]:
    """Yield a new folder to write to; it is renamed to `target` at the end, removed after an error.

    A folder that stands there already is replaced, with all that is in it. Missing parents are made at the end.
    """
    # On the same disk, so that a rename is enough.
    parent = next(parent for parent in target.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{target.name}.") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()  # with the permissions of an ordinary folder, which the scratch folder has not
        yield new
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
