# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The error class of users' mistakes, and text that fits on one line of any terminal."""

import math
import os
import unicodedata
from collections.abc import Iterable
from typing import Any

from .models.errors import HfRltError

__all__ = [
    "DTYPES",
    "TRACEBACK",
    "HfRltError",
    "check_dtype",
    "check_range",
    "join_limited",
    "one_line",
    "printable",
    "traceback_wanted",
    "truncate",
    "without_name",
]

TRACEBACK = "HF_RLT_TRACEBACK"
DTYPES = ("float32", "bfloat16", "float16")


def traceback_wanted() -> bool:
    """Return whether the user wants the traceback of every error, by HF_RLT_TRACEBACK=1 or `--traceback`."""
    return os.environ.get(TRACEBACK, "0") not in ("", "0")


def one_line(error: BaseException) -> str:
    """Return an error as one line, without the traceback that an error from a loading process carries."""
    text = str(error).strip()
    if " in DataLoader worker process " in text:
        text = text.splitlines()[-1].split("Error: ", 1)[-1]
    return " ".join(text.split())


def without_name(reason: str, path: str) -> str:
    """Return a one-line reason without the file's name at its start, in which runs of spaces have been collapsed."""
    return reason.removeprefix(f"{' '.join(path.split())}: ")


def printable(text: str) -> str:
    """Make text, such as a file's name, safe to print on any terminal.

    Bytes that are no text become question marks; control characters, line breaks and marks that turn the direction of
    writing are escaped.
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "\ufffd"
    turns = unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return ascii(character)[1:-1] if turns or kind in {"Cc", "Zl", "Zp"} else character


def join_limited(names: Iterable[Any], limit: int = 8) -> str:
    """Join names by commas; of more than `limit`, name the first ones and count the others."""
    names = list(map(str, names))
    others = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + others


def truncate(value: Any, limit: int = 120) -> str:
    """Return a value as `repr` prints it, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise HfRltError unless `low <= value <= high`."""
    if not low <= value <= high:
        limits = f">= {low}" if high == math.inf else f"in [{low}, {high}]"
        raise HfRltError(f"Expected {name} {limits}, received {value}.")


def check_dtype(dtype: str) -> None:
    """Raise HfRltError unless `--dtype` names a type of number that models compute in."""
    if dtype not in DTYPES:
        raise HfRltError(f"--dtype: expected {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, received {dtype!r}.")
