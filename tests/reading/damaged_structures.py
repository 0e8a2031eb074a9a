# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Damage to tables of MP4, elements of Matroska, chunks of AVI and heads of transport packets.

A function that finds nothing of its kind in a file raises IndexError.
"""

import random
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from structures import Part, block_times, boxes, elements

NUMBERS = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 100_000_000, 65536)
TABLES = tuple(b"stts ctts stss stsz stco stsc elst tkhd mdhd mvhd trun tfdt tfhd".split())
TABLES += tuple(b"mfhd trex stsd hdlr sidx tfra avcC sdtp cslg".split())


def _pick(parts: Iterable[Part], rng: random.Random) -> Part:
    """Choose a part, each kind as often as others."""
    found = list(parts)
    kind = rng.choice(sorted({part.kind for part in found}))  # type: ignore[type-var]
    return rng.choice([part for part in found if part.kind == kind])


def _table(data: bytearray, rng: random.Random) -> Part:
    return _pick((part for part in boxes(data) if part.kind in TABLES and part.end - part.content >= 8), rng)


def _overwrite(data: bytearray, at: int, rng: random.Random, order: Any = "big", more: tuple[int, ...] = ()) -> None:
    """Put another number of four bytes in the place of one."""
    old = int.from_bytes(data[at : at + 4], order)
    new = rng.choice((*NUMBERS, *more, old + 1, old - 1, old + 4, old + 100, old ^ 16, 2 * old, rng.randrange(1 << 32)))
    data[at : at + 4] = (new % (1 << 32)).to_bytes(4, order)


def number_in_box(data: bytearray, rng: random.Random) -> None:
    part = _table(data, rng)
    for _ in range(rng.choice((1, 1, 1, 4))):
        _overwrite(data, part.content + 4 * rng.randrange((part.end - part.content) // 4), rng)


def count_of_table(data: bytearray, rng: random.Random) -> None:
    part = _table(data, rng)
    _overwrite(data, part.content + (8 if part.kind == b"stsz" else 4), rng, more=(rng.randrange(200),))


def permute_table(data: bytearray, rng: random.Random) -> None:
    part = _table(data, rng)
    begin = part.content + (12 if part.kind == b"stsz" else 8)
    rows = np.frombuffer(bytes(data[begin : part.end - (part.end - begin) % 4]), ">u4").copy()
    if len(rows) > 2:
        how = rng.choice(("shuffled", "reversed", "swapped", "shifted"))
        i, order = rng.randrange(len(rows) - 1), list(range(len(rows)))
        if how == "shuffled":
            rng.shuffle(order)
        order = order[::-1] if how == "reversed" else order[1:] + order[:1] if how == "shifted" else order
        if how == "swapped":
            order[i], order[i + 1] = order[i + 1], order[i]
        data[begin : begin + 4 * len(rows)] = rows[order].tobytes()


def box_type(data: bytearray, rng: random.Random) -> None:
    part = rng.choice(list(boxes(data)))
    data[part.content - 4 : part.content] = rng.choice((b"free", b"skip", b"xxxx", bytes(4), rng.choice(TABLES)))


def box_size(data: bytearray, rng: random.Random) -> None:
    part = rng.choice(list(boxes(data)))
    _overwrite(data, part.begin, rng, more=(7, 8, part.end - part.begin - 4, part.end - part.begin + 8))


def element_size(data: bytearray, rng: random.Random) -> None:
    at = _pick(elements(data), rng).content - 1
    data[at] = rng.choice((0x80, 0xFF, data[at] ^ 1, data[at] ^ 4, rng.randrange(256)))


def element_kind(data: bytearray, rng: random.Random) -> None:
    at = _pick(elements(data), rng).begin
    data[at] = rng.choice((0xEC, 0xA3, 0xE7, data[at] ^ 1))


def element_content(data: bytearray, rng: random.Random) -> None:
    part = _pick(elements(data), rng)
    if part.end == part.content:
        raise IndexError
    at = rng.randrange(part.content, min(part.end, part.content + 8))
    data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))


def block_time(data: bytearray, rng: random.Random) -> None:
    places = block_times(data)
    for _ in range(rng.choice((1, 3)) if places else places[0]):
        at = rng.choice(places) + rng.choice((0, 0, 1, 2))  # the time, or the flags behind it
        data[at] = rng.choice((0, data[at] ^ 0x80, data[at] ^ 1, 0xFF, data[at] + 40 & 255))


def avi_index(data: bytearray, rng: random.Random) -> None:
    at = data.rfind(b"idx1")
    if at < 0 or len(data) - at < 24:
        raise IndexError
    for _ in range(rng.choice((1, 4))):
        _overwrite(data, at + 8 + 4 * rng.randrange((len(data) - at - 8) // 4), rng, "little", (16,))


def avi_chunk(data: bytearray, rng: random.Random) -> None:
    at = rng.choice([found.start() for found in re.finditer(b"00dc", data)])
    if rng.random() < 0.5:
        data[at : at + 4] = rng.choice((b"01dc", b"JUNK", b"00db", b"00pc", b"xxxx"))
    else:
        _overwrite(data, at + 4, rng, "little", (4, 0xFFFF))


def avi_head(data: bytearray, rng: random.Random) -> None:
    _overwrite(data, 4 * rng.randrange(1, 60), rng, "little")


def transport(data: bytearray, rng: random.Random, size: int = 188) -> None:
    count = len(data) // size
    if count < 4:
        raise IndexError
    what = rng.choice(("continuity", "error", "pid", "drop", "swap", "repeat", "pts", "pts", "discontinuity"))
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(1, count - 1) * size
        head = at + size - 188
        if what == "continuity":
            data[head + 3] ^= rng.randint(1, 15)
        elif what == "error":
            data[head + 1] |= 0x80
        elif what == "pid":
            data[head + 2] ^= rng.randint(1, 3)
        elif what == "drop":
            del data[at : at + size]
            count -= 1
        elif what == "swap":
            data[at : at + 2 * size] = data[at + size : at + 2 * size] + data[at : at + size]
        elif what == "repeat":
            data[at:at] = data[at : at + size]
        elif what == "discontinuity" and data[head + 3] & 0x20 and data[head + 4]:
            data[head + 5] |= 0x80
        elif what == "pts":
            place = data.find(b"\0\0\1\xe0", head)
            if 0 <= place < len(data) - 20:
                data[place + 9 + rng.randrange(10)] ^= 1 << rng.randrange(1, 8)


def transport_with_times(data: bytearray, rng: random.Random) -> None:
    transport(data, rng, 192)


MP4 = (number_in_box, number_in_box, permute_table, box_type, box_size, count_of_table)
MKV = (element_size, element_content, block_time, block_time, element_kind)
STRUCTURES: dict[str, tuple[Callable[[bytearray, random.Random], None], ...]] = {
    **dict.fromkeys((".mp4", ".mov", ".3gp", ".f4v", ".ismv"), MP4),
    **dict.fromkeys((".mkv", ".webm"), MKV),
    ".avi": (avi_index, avi_chunk, avi_head),
    ".ts": (transport,),
    ".m2ts": (transport_with_times,),
}
