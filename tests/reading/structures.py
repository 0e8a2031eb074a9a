# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Where the parts of MP4 and Matroska files lie, to change them by hand."""

from collections.abc import Iterator
from dataclasses import dataclass

INSIDE_MP4 = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"dinf"}
INSIDE_MKV = {0x18538067, 0x1F43B675, 0xA0, 0x1654AE6B, 0xAE, 0xE0, 0x1C53BB6B, 0xBB, 0xB7, 0x1549A966, 0x114D9B74}
CLUSTER, TIMESTAMP, SIMPLE_BLOCK, BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA1


@dataclass(frozen=True)
class Part:
    """A box or element: where it, its content and what follows begin, and the parts that it lies in."""

    kind: bytes | int
    begin: int
    content: int
    end: int
    above: tuple["Part", ...] = ()


def boxes(
    data: bytes | bytearray, begin: int = 0, end: int | None = None, above: tuple[Part, ...] = ()
) -> Iterator[Part]:
    """Yield the boxes of an MP4 or MOV file, outer before inner ones."""
    end = len(data) if end is None else end
    while begin + 8 <= end:
        size, kind, head = int.from_bytes(data[begin : begin + 4], "big"), bytes(data[begin + 4 : begin + 8]), 8
        if size == 1:
            size, head = int.from_bytes(data[begin + 8 : begin + 16], "big"), 16
        size = end - begin if size == 0 else size
        if size < head or begin + size > end:
            return
        part = Part(kind, begin, begin + head, begin + size, above)
        yield part
        if kind in INSIDE_MP4:
            yield from boxes(data, part.content, part.end, (*above, part))
        begin += size


def elements(
    data: bytes | bytearray, begin: int = 0, end: int | None = None, above: tuple[Part, ...] = ()
) -> Iterator[Part]:
    """Yield the elements of a Matroska or WebM file, outer before inner ones."""
    end = len(data) if end is None else end
    while begin < end:
        kind, at = _number(data, begin, keep=True)
        size, content = _number(data, at, keep=False)
        unknown = size == (1 << 7 * (content - at)) - 1
        stop = end if unknown else content + size
        if content > end or stop > end or content <= at:
            return
        part = Part(kind, begin, content, stop, above)
        yield part
        if kind in INSIDE_MKV:
            yield from elements(data, content, stop, (*above, part))
        begin = stop


def _number(data: bytes | bytearray, at: int, *, keep: bool) -> tuple[int, int]:
    """Return a number of variable length, and where the next thing begins."""
    if at >= len(data) or data[at] == 0:
        return 0, at
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep else value & ((1 << 7 * length) - 1)), at + length


def find_boxes(data: bytes | bytearray, kind: bytes) -> list[Part]:
    return [part for part in boxes(data) if part.kind == kind]


def block_times(data: bytes | bytearray) -> list[int]:
    """Return where the two bytes lie that say the time of each block of a Matroska file."""
    places = []
    for part in elements(data):
        if part.kind in (SIMPLE_BLOCK, BLOCK):
            _, at = _number(data, part.content, keep=False)
            places.append(at)
    return places


def rename(data: bytearray, kind: bytes, new: bytes) -> bytearray:
    """Overwrite the type of all boxes of a kind."""
    for part in find_boxes(data, kind):
        data[part.content - 4 : part.content] = new
    return data


def insert(data: bytearray, at: int, extra: bytes, above: tuple[Part, ...]) -> bytearray:
    """Put bytes into boxes behind which no samples lie."""
    for part in above:
        size = int.from_bytes(data[part.begin : part.begin + 4], "big")
        data[part.begin : part.begin + 4] = (size + len(extra)).to_bytes(4, "big")
    data[at:at] = extra
    return data
