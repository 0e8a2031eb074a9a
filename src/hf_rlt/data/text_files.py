# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read users' text and JSON files, and write file names in JSON."""

import codecs
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import HfRltError

URI = "file://"
MAX_TEXT_BYTES = 1 << 30  # so that a video passed by mistake is not read into memory


def read_text(path: str | Path, file_names: bool = False) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark, as spreadsheets save it; drop the mark.

    With `file_names`, bytes that are not UTF-8 are kept, as `os.fsdecode` does.
    """
    path = Path(path)
    if path.exists() and (not path.is_file() or path.stat().st_size > MAX_TEXT_BYTES):
        raise HfRltError(f"{path}: expected a text file of at most {MAX_TEXT_BYTES >> 30} GiB, found something else.")
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding, errors="surrogateescape" if file_names and encoding != "utf-16" else "strict")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HfRltError(f"{path}, line {line}: found the byte 0x{data[error.start]:02x}: save it as UTF-8.") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise HfRltError(f"{path}, line {line}: found a zero byte: save it as UTF-8 text.")
    return text


def read_json(path: str | Path) -> Any:
    """Read a JSON file in which no object has a key twice; raises as `read_text` does."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise HfRltError(f"{path}: expected a JSON file ({error}).") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise HfRltError(f"the key {name!r} twice")
        made[name] = value
    return made


def is_text(name: str) -> bool:
    """Return whether a name can be written in UTF-8, i.e. holds no bytes that `os.fsdecode` escaped."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def json_name(path: str) -> str:
    """Return a file's name for JSON: its path, or if that is not UTF-8 its URI, e.g. `file:///clips/caf%E9.mp4`."""
    return path if is_text(path) else Path(path).absolute().as_uri()


def path_of(name: str) -> str:
    """Return the path of a name that `json_name` made from an absolute path."""
    return os.fsdecode(unquote_to_bytes(name.removeprefix(URI))) if name.startswith(URI) else name
