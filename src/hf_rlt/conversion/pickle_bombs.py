# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Refuse `torch.save` files that would take far more memory than they have bytes.

torch.load(weights_only=True) runs no foreign code, but believes every size that a file states. So the pickle in it is
walked first, with `pickletools`, which creates nothing but the pickle's constants.
"""

import io
import pickletools
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import HfRltError

MAX_PICKLE = 1 << 20  # bytes; ViT-g's with its optimizer's state has 280,000
MAX_DIRECTORY = 16 << 20  # bytes of an archive's directory, which lists one file per weight
MAX_COPIES = 8 << 20  # numbers, characters, ... that the calls in a pickle are given
LEGACY_PICKLES = 5  # at the start of files from before torch 1.6: three short ones, the content, a list of storages
ITEM_SIZES = {"ComplexDouble": 16, "ComplexFloat": 8, "Double": 8, "Long": 8, "Float": 4, "Int": 4}
ITEM_SIZES |= {"Half": 2, "BFloat16": 2, "Short": 2}


def check_pickle(path: Path) -> set[str]:
    """Return the full names of the classes and functions that a `torch.save` file names.

    Raises:
        HfRltError: if it is no such file, or would take more memory than its size tells.
    """
    try:
        with path.open("rb") as stream:
            if zipfile.is_zipfile(stream):
                return _check_archive(path, stream)
            stream.seek(0)
            return _check_legacy(path, stream)
    except (HfRltError, OSError):
        raise
    except Exception as error:  # pickletools and zipfile stumble over bytes of any kind in any way
        raise HfRltError(
            f"{path}: expected a checkpoint that torch.save wrote, could not read it ({error}): is the file whole, and is "
            "it one?"
        ) from error


def _check_archive(path: Path, stream: BinaryIO) -> set[str]:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - (1 << 16) - 22, 0))
    _, _, end = stream.read().rpartition(b"PK\x05\x06")
    if int.from_bytes(end[8:12], "little") > MAX_DIRECTORY:
        raise _refused(path, f"expected at most {MAX_DIRECTORY >> 20} MiB of names of the files in it, found more")
    names = set()
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        total = sum(entry.file_size for entry in archive.infolist())
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values())
        if total > size or compressed or len(entries) < len(archive.infolist()):
            raise _refused(
                path,
                f"expected files in it that are not compressed, each once, as torch.save writes them, found {total:,} bytes "
                f"of files in its own {size:,}",
            )
        for name in [name for name in entries if name.endswith("data.pkl")]:
            if entries[name].file_size > MAX_PICKLE:
                raise _too_long(path)
            walk = _PickleWalk(path, io.BytesIO(archive.read(name)))
            names |= walk.names
            for key, needed in walk.storages.items():
                record = entries.get(f"{name.removesuffix('data.pkl')}data/{key}")
                there = 0 if record is None else record.file_size
                if needed > there:
                    raise _refused(
                        path, f"could not read it: expected {needed:,} bytes of weight {key!r}, found {there:,}"
                    )
    return names


def _check_legacy(path: Path, stream: BinaryIO) -> set[str]:
    start = io.BytesIO(stream.read(MAX_PICKLE))
    size, needed, names = path.stat().st_size, 0, set()
    for _ in range(LEGACY_PICKLES):
        try:
            walk = _PickleWalk(path, start)
        except ValueError as error:  # pickletools' error at an early end
            raise error if isinstance(error, HfRltError) or size <= MAX_PICKLE else _too_long(path) from None
        names |= walk.names
        needed += sum(walk.storages.values())
        if needed > size:
            raise _refused(path, f"expected weights of at most its own {size:,} bytes, found {needed:,}")
    return names


def _too_long(path: Path) -> HfRltError:
    return _refused(path, f"expected a list of weights of at most {MAX_PICKLE:,} bytes, found a longer one")


def _refused(path: Path, what: str) -> HfRltError:
    return HfRltError(f"{path}: refused, {what}: pass the checkpoint as its training wrote it.")


class _Item:
    """A thing on the unpickler's stack: its value if it is a constant or tuple, and its size, references unfolded."""

    __slots__ = ("size", "value")

    def __init__(self, value: Any, size: int) -> None:
        self.value, self.size = value, size


class _PickleWalk:
    """What one pickle names and declares.

    A few bytes can nest tuples 2^60 deep, which takes forever to hash, or copy one long list again and again. So the
    sizes of all that is hashed, copied or passed to a call are added up, and their sum is limited.
    """

    def __init__(self, path: Path, stream: io.BytesIO) -> None:
        self.names: set[str] = set()
        self.storages: dict[str, int] = {}  # bytes by key
        self.copies = 0
        stack: list[_Item] = []
        marks: list[int] = []
        memo: dict[Any, _Item] = {}
        for code, argument, _ in pickletools.genops(stream):
            before = code.stack_before
            if argument is None and not before and code.name != "MARK":
                stack.append(_Item(None, 1))
            elif code.name == "MARK":
                marks.append(len(stack))
            elif code.name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif code.name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif before:
                has_mark = pickletools.markobject in before
                first = marks.pop() - before.index(pickletools.markobject) if has_mark else len(stack) - len(before)
                taken = stack[first:]
                stack[first:] = [self._combined(code.name, taken)] if code.stack_after else []
                if self.copies > MAX_COPIES:
                    raise _refused(path, f"expected weights, found a pickle of more than {MAX_COPIES:,} copies")
            elif code.stack_after:
                stack.append(self._constant(code.name, argument))
        if "builtins.bytearray" in self.names:
            raise _refused(path, "expected weights, found a bytearray, which can have any size")

    def _constant(self, code: str, value: Any) -> _Item:
        if code == "GLOBAL":
            value = value.replace(" ", ".", 1).replace("__builtin__.", "builtins.")
            self.names.add(value)
        return _Item(value, 1 + len(value) if isinstance(value, (str, bytes)) else 1)

    def _combined(self, code: str, taken: list[_Item]) -> _Item:
        """Return what an instruction makes of the things that it takes from the stack."""
        size = min(1 + sum(item.size for item in taken), MAX_COPIES + 1)
        if code in ("REDUCE", "NEWOBJ"):
            self.copies += size
            return _Item(None, 3 * size)  # the most that _codecs.encode makes of bytes, for "quopri"
        if code == "BINPERSID":
            pid = [item.value for item in taken[0].value]
            if len(pid) >= 5:  # "storage", type, key, device, number of items
                kind = pid[1].removeprefix("torch.").removesuffix("Storage")
                self.storages[str(pid[2])] = pid[4] * ITEM_SIZES.get(kind, 1)
        elif not code.startswith("TUPLE"):  # the first one is changed in place
            hashed_or_copied = {"SETITEM": taken[1::2], "SETITEMS": taken[1::2], "BUILD": taken[1:]}.get(code, [])
            self.copies += sum(item.size for item in hashed_or_copied)
            taken[0].size = size
            return taken[0]
        return _Item(tuple(taken), size)
