# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Refuse `torch.save` files that would take far more memory than they have bytes.

torch.load(weights_only=True) runs no foreign code, but a small file can make it build huge objects. So the pickle in it
is walked first, with `pickletools`, which creates nothing but the pickle's constants.
"""

import io
import pickletools
import zipfile
from pathlib import Path
from typing import Any

from ..errors import HfRltError

MAX_PICKLE = 1 << 20  # bytes; ViT-g's with its optimizer's state has 280,000
MAX_COPIES = 8 << 20  # numbers, characters, ... that the calls in a pickle are given
LEGACY_PICKLES = 5  # at the start of files from before torch 1.6: three short ones, the content, a list of storages


def check_pickle(path: Path) -> set[str]:
    """Return the full names of the classes and functions that a `torch.save` file names.

    Raises:
        HfRltError: if it is no such file, or would take more memory than its size tells.
    """
    names: set[str] = set()
    try:
        pickles = _pickles_in_archive(path) if zipfile.is_zipfile(path) else [_start(path)] * LEGACY_PICKLES
        for stream in pickles:
            names |= _walk(path, stream)
    except (HfRltError, OSError):
        raise
    except Exception as error:  # pickletools and zipfile stumble over bytes of any kind in any way
        raise HfRltError(
            f"{path}: expected a whole checkpoint that torch.save wrote, could not read it ({error})."
        ) from error
    if "builtins.bytearray" in names:  # which torch allows, of any size
        raise _refused(path, "expected weights, found a bytearray")
    return names


def _pickles_in_archive(path: Path) -> list[io.BytesIO]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _refused(path, "expected files in it that are not compressed, each once")
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if sum(entry.file_size for entry in pickles) > MAX_PICKLE:
            raise _too_long(path)
        return [io.BytesIO(archive.read(entry)) for entry in pickles]


def _start(path: Path) -> io.BytesIO:
    with path.open("rb") as stream:
        return io.BytesIO(stream.read(MAX_PICKLE))


def _too_long(path: Path) -> HfRltError:
    return _refused(path, f"expected a list of weights of at most {MAX_PICKLE:,} bytes, found a longer one")


def _refused(path: Path, what: str) -> HfRltError:
    return HfRltError(f"{path}: refused, {what}: pass the checkpoint as its training wrote it.")


def _walk(path: Path, stream: io.BytesIO) -> set[str]:
    """Return what the next pickle in a stream names.

    A few bytes can nest tuples 2^60 deep, which takes forever to hash, or copy one long list again and again. So the
    sizes of all that is hashed, copied or passed to a call are added up, and their sum is limited.
    """
    names: set[str] = set()
    copies = 0
    # What the unpickler would have on its stack: the size of each thing, references unfolded. Each is a list of one
    # number, because lists and dictionaries grow in place where the memo refers to them, too.
    stack: list[list[int]] = []
    marks: list[int] = []
    memo: dict[Any, list[int]] = {}
    try:
        for code, argument, _ in pickletools.genops(stream):
            before = code.stack_before
            if code.name == "MARK":
                marks.append(len(stack))
            elif code.name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif code.name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif not before:
                if code.name == "GLOBAL":
                    names.add(str(argument).replace(" ", ".", 1).replace("__builtin__.", "builtins."))
                stack += [[1 + len(argument) if isinstance(argument, (str, bytes)) else 1]] * len(code.stack_after)
            else:
                has_mark = pickletools.markobject in before
                first = marks.pop() - before.index(pickletools.markobject) if has_mark else len(stack) - len(before)
                made, copied = _combine(code.name, stack[first:])
                stack[first:] = [made] * len(code.stack_after)
                copies += copied
                if copies > MAX_COPIES:
                    raise _refused(path, f"expected weights, found a pickle of more than {MAX_COPIES:,} copies")
    except ValueError as error:  # pickletools' error at an early end
        raise error if isinstance(error, HfRltError) or stream.tell() < MAX_PICKLE else _too_long(path) from None
    return names


def _combine(code: str, taken: list[list[int]]) -> tuple[list[int], int]:
    """Return the size of what an instruction makes of the things it takes, and how much it hashes or copies."""
    size = min(1 + sum(each[0] for each in taken), MAX_COPIES + 1)
    if code in ("REDUCE", "NEWOBJ"):
        return [3 * size], size  # the most that _codecs.encode makes of bytes, for "quopri"
    if code.startswith("TUPLE") or code == "BINPERSID":
        return [size], 0
    hashed_or_copied = {"SETITEM": taken[1::2], "SETITEMS": taken[1::2], "BUILD": taken[1:]}.get(code, [])
    copied = sum(each[0] for each in hashed_or_copied)
    taken[0][0] = size  # it grows in place
    return taken[0], copied
