# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, content: str) -> Path:
    """Returns the path, after its file was replaced at once: nobody ever finds half of it.

    Raises:
        OSError: if the folder cannot be written.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(content, encoding="utf-8", newline="")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path
