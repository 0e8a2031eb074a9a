# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The tables in an MP4 or MOV file that say how large its samples are and by how much each is shown later than decoded.

Source: ISO/IEC 14496-12, boxes moov, trak, tkhd, elst, stsz and ctts.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

_MAX_OFFSET = 1 << 28  # libavformat takes larger ones for damage
_MAX_MOOV = 1 << 28


@dataclass(frozen=True, eq=False)
class SampleTable:
    """What a file's header says of the samples of one track, in the order in which they are decoded.

    Attributes:
        sizes: (samples,) int64, bytes.
        offsets: (samples,) int64, time from decoding to showing in units of the track, up to a constant.
    """

    sizes: np.ndarray
    offsets: np.ndarray


def read_sample_tables(file: BinaryIO) -> dict[int, SampleTable]:
    """Returns the `SampleTable` of each track by its id; leaves the file somewhere else.

    Reads the headers of the outer boxes and `moov`, no samples. Tracks with more than one edit, another speed or
    unusual tables are left out, and of files in fragments or other formats nothing is returned.

    Args:
        file: seekable; from its start.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        moov = _read_moov(file)
        boxes = [] if moov is None else list(_boxes(moov))
        if any(kind in (b"mvex", b"cmov") for kind, _ in boxes):
            return {}
        found = [_track(body) for kind, body in boxes if kind == b"trak"]
    except ValueError:
        return {}
    ids = [number for number, _ in found]
    return {number: table for number, table in found if table is not None and ids.count(number) == 1}


def _read_moov(file: BinaryIO) -> memoryview | None:
    """Returns the body of the only `moov`; None if there is none, or fragments."""
    end, begin, moov = file.seek(0, io.SEEK_END), 0, None
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        size, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        size = end - begin if size == 0 else size
        if (
            size < header
            or begin + size > end
            or (kind in (b"moof", b"moov") and (kind == b"moof" or moov is not None))
        ):
            return None
        if kind == b"moov":
            if size > _MAX_MOOV:
                return None
            file.seek(begin + header)
            moov = memoryview(file.read(size - header))
        begin += size
    return moov


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    begin = 0
    while begin + 8 <= len(data):
        size, kind, header = int.from_bytes(data[begin : begin + 4], "big"), bytes(data[begin + 4 : begin + 8]), 8
        if size == 1:
            size, header = int.from_bytes(data[begin + 8 : begin + 16], "big"), 16
        if size < header or begin + size > len(data):
            raise ValueError(f"a box {kind!r} of {size} bytes where {len(data) - begin} are left")
        yield kind, data[begin + header : begin + size]
        begin += size


def _only(data: memoryview, kind: bytes, *, needed: bool = True) -> memoryview | None:
    found = [body for other, body in _boxes(data) if other == kind]
    if len(found) > 1 or (needed and not found):
        raise ValueError(f"{len(found)} boxes {kind!r}")
    return found[0] if found else None


def _track(data: memoryview) -> tuple[int, SampleTable | None]:
    """Returns (id, table) of a track; None for one that is not simple."""
    head = _only(data, b"tkhd")
    assert head is not None
    begin = 20 if head[0] == 1 else 12
    number = int.from_bytes(head[begin : begin + 4], "big")
    try:
        edits = _only(data, b"edts", needed=False)
        if edits is not None and not _is_simple(_only(edits, b"elst")):
            return number, None
        for kind in (b"mdia", b"minf", b"stbl"):
            data = _only(data, kind)  # type: ignore[assignment]
        sizes = _sizes(_only(data, b"stsz"))
        return number, SampleTable(sizes, _offsets(_only(data, b"ctts", needed=False), len(sizes)))
    except ValueError:
        return number, None


def _numbers(data: memoryview, begin: int, count: int, dtype: str = ">u4") -> np.ndarray:
    if begin + 4 * count > len(data):
        raise ValueError("a table that is longer than its box")
    return np.frombuffer(data, dtype, count, begin).astype(np.int64)


def _is_simple(edits: memoryview | None) -> bool:
    """Returns whether at most one edit shows anything, at normal speed."""
    if edits is None:
        return True
    wide = edits[0] == 1
    words, time = (5, slice(8, 16)) if wide else (3, slice(4, 8))
    count, shown = int(_numbers(edits, 4, 1)[0]), 0
    for i in range(count):
        entry = edits[8 + 4 * words * i : 8 + 4 * words * (i + 1)]
        if len(entry) < 4 * words:
            raise ValueError("a table that is longer than its box")
        shown += int.from_bytes(entry[time], "big", signed=True) >= 0
        if int.from_bytes(entry[-4:], "big") != 1 << 16:
            return False
    return shown <= 1


def _sizes(table: memoryview | None) -> np.ndarray:
    assert table is not None
    size, count = _numbers(table, 4, 2).tolist()
    return np.full(count, size, dtype=np.int64) if size else _numbers(table, 12, count)


def _offsets(table: memoryview | None, samples: int) -> np.ndarray:
    if table is None:
        return np.zeros(samples, dtype=np.int64)
    runs = int(_numbers(table, 4, 1)[0])
    lengths = _numbers(table, 8, 2 * runs)[::2]
    offsets = _numbers(table, 8, 2 * runs, ">i4")[1::2]
    if lengths.sum() != samples or (lengths < 1).any() or (np.abs(offsets) >= _MAX_OFFSET).any():
        raise ValueError("offsets that do not fit the samples")
    return np.repeat(offsets, lengths)
