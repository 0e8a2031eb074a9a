# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Refuse `torch.save` files that would take far more memory than their size, before any object in them is created."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

MOST_PICKLE = 4 << 20  # bytes; a checkpoint's, with the optimiser state, has a few hundred thousand
MOST_DIRECTORY = 16 << 20  # bytes of an archive's directory, which lists one file per weight
HEADS = 3  # pickles that precede the actual one in files from before torch 1.6
ITEM_SIZES = {
    **{"ComplexDouble": 16, "ComplexFloat": 8, "Double": 8, "Long": 8, "Float": 4, "Int": 4},
    **{"Half": 2, "BFloat16": 2, "Short": 2},
}
_PurePython: Any = pickle._Unpickler  # type: ignore[attr-defined]  # the C version cannot be told to skip steps
PLAIN = (str, int, float, bool, bytes, type(None))


def check_size(path: Path) -> None:
    """Raise ValueError unless reading a `torch.save` file takes about as much memory as the file has bytes.

    Refuses archives with compressed or overlapping files, storages larger than their data, pickles larger than any
    checkpoint's, and objects that grow while they are created. Files in any other format pass: their reader reports
    what is wrong.
    """
    with path.open("rb") as stream:
        if zipfile.is_zipfile(stream):
            _check_archive(path, stream)
        else:
            stream.seek(0)
            _check_plain(path, stream)


def _check_archive(path: Path, stream: BinaryIO) -> None:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - (1 << 16) - 22, 0))
    tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if int.from_bytes(tail[end + 12 : end + 16], "little") > MOST_DIRECTORY:
        raise _refused(
            path, f"expected a list of at most {MOST_DIRECTORY >> 20} MiB of the files in it, found a longer one"
        )
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        for entry in entries.values():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                held = f"{entry.filename} of {entry.file_size:,} bytes in {entry.compress_size:,}"
                raise _refused(path, f"expected files that are not compressed, as torch.save writes them, found {held}")
        total = sum(entry.file_size for entry in archive.infolist())
        if total > size or len(entries) < len(archive.infolist()):
            raise _refused(
                path, f"expected files of at most its own {size:,} bytes in it, found {total:,} in some twice"
            )
        for name in [name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"]:
            if entries[name].file_size > MOST_PICKLE:
                raise _refused(path, _too_long(entries[name].file_size))
            for key, needed in _storages(path, io.BytesIO(archive.read(name))).items():
                record = entries.get(f"{name.removesuffix('data.pkl')}data/{key}")
                if record is None or needed > record.file_size:
                    there = 0 if record is None else record.file_size
                    raise _refused(
                        path, f"could not read it: expected {needed:,} bytes of weight {key!r}, found {there:,}"
                    )


def _check_plain(path: Path, stream: BinaryIO) -> None:
    size = path.stat().st_size
    bounded = io.BytesIO(stream.read(MOST_PICKLE + 1))
    for _ in range(HEADS):
        _storages(path, bounded)
    needed = sum(_storages(path, bounded).values())
    if needed > size:
        raise _refused(path, f"expected weights of at most its own {size:,} bytes, found {needed:,}")
    if bounded.tell() > MOST_PICKLE:
        raise _refused(path, _too_long(bounded.tell()))


def _storages(path: Path, stream: io.BytesIO) -> dict[str, int]:
    """Return the size in bytes that a pickle states for each of its storages; empty if it is not a pickle."""
    dry = _DryUnpickler(path, stream)
    try:
        dry.load()
    except _BombError:
        raise
    except Exception:  # not a pickle, or one that its reader will refuse as well
        if stream.tell() > MOST_PICKLE:
            raise _refused(path, _too_long(stream.tell())) from None
    return dry.storages


def _too_long(size: int) -> str:
    return f"expected a list of weights of at most {MOST_PICKLE:,} bytes, found one of {size:,} or more"


class _BombError(ValueError):
    """The file would take far more memory than it has bytes."""


def _refused(path: Path, what: str) -> _BombError:
    return _BombError(f"{path}: refused, {what}: pass the checkpoint as its training wrote it.")


class _DryUnpickler(_PurePython):
    """Walks through a pickle, creating nothing but its numbers, strings and tuples."""

    dispatch: ClassVar[dict[int, Any]] = dict(_PurePython.dispatch)

    def __init__(self, path: Path, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.path = path
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        if name == "bytearray":
            raise _refused(self.path, "expected weights, found a bytearray, which can have any size")
        return f"{module}.{name}"

    def persistent_load(self, pid: Any) -> None:
        if isinstance(pid, tuple) and len(pid) >= 5 and isinstance(pid[4], int):
            kind = str(pid[1]).rsplit(".", 1)[-1].removesuffix("Storage")
            self.storages[str(pid[2])] = max(pid[4], 0) * ITEM_SIZES.get(kind, 1)

    def _check_keys(self, keys: Any) -> None:
        for key in keys:  # hashing a deeply nested key could take forever
            flat = key if isinstance(key, tuple) else (key,)
            if not all(isinstance(each, PLAIN) for each in flat):
                raise _refused(
                    self.path, f"expected names of weights and settings, found a {type(key).__name__} for one"
                )

    def _pass_over(self) -> None:
        self.pop_mark()

    def _set_items(self) -> None:
        self._check_keys(self.pop_mark()[::2])

    def _set_item(self) -> None:
        _, key = self.stack.pop(), self.stack.pop()
        self._check_keys([key])

    def _add_items(self) -> None:
        self._check_keys(self.pop_mark())

    def _frozen(self) -> None:
        self._check_keys(self.pop_mark())
        self.append(None)

    def _dict(self) -> None:
        self._check_keys(self.pop_mark()[::2])
        self.append({})

    def _drop(self) -> None:
        self.stack.pop()

    def _made(self) -> None:
        self.stack.pop()
        self.stack[-1] = None

    def _made_with_options(self) -> None:
        self.stack.pop()
        self._made()


for _code, _step in {
    pickle.APPENDS: _DryUnpickler._pass_over,
    pickle.APPEND: _DryUnpickler._drop,
    pickle.SETITEMS: _DryUnpickler._set_items,
    pickle.SETITEM: _DryUnpickler._set_item,
    pickle.ADDITEMS: _DryUnpickler._add_items,
    pickle.FROZENSET: _DryUnpickler._frozen,
    pickle.DICT: _DryUnpickler._dict,
    pickle.BUILD: _DryUnpickler._drop,
    pickle.REDUCE: _DryUnpickler._made,
    pickle.NEWOBJ: _DryUnpickler._made,
    pickle.NEWOBJ_EX: _DryUnpickler._made_with_options,
}.items():
    _DryUnpickler.dispatch[_code[0]] = _step
