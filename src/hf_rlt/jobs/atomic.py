# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Returns a context with a name beside `path` to write to; renamed to `path` at its end, removed after an error.

    Raises:
        OSError: if the folder does not exist or cannot be written to.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path}: expected an existing folder to write to, found no {path.parent}: make it first."
        )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    open(part, "wb").close()  # the ordinary OSError for what cannot be written
    mode = part.stat().st_mode
    try:
        yield part
        part.chmod(mode)  # what others may do with an ordinary new file; safetensors lets nobody else read its own
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text_atomic(path: Path, content: str) -> Path:
    """Returns the path, after its file was replaced at once: nobody ever finds half of it. Raises as `atomic_write` does."""
    with atomic_write(path) as part:
        part.write_text(content, encoding="utf-8", newline="")
    return path
