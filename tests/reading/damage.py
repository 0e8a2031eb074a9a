# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Damage where it hurts: tables of MP4, elements of Matroska, chunks of AVI and heads of transport packets."""

import random
from pathlib import Path

import numpy as np
from structures import Part, block_times, boxes, elements

NUMBERS = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 100_000_000, 65536)
TABLES = (
    b"stts",
    b"ctts",
    b"stss",
    b"stsz",
    b"stco",
    b"stsc",
    b"elst",
    b"tkhd",
    b"mdhd",
    b"mvhd",
    b"trun",
    b"tfdt",
    b"tfhd",
)
TABLES += (b"mfhd", b"trex", b"stsd", b"hdlr", b"sidx", b"tfra", b"avcC", b"sdtp", b"cslg")


def damage(source: Path, data: bytearray, rng: random.Random) -> str | None:
    """Damage one structure of the file's own; return what was done, or None where there is none."""
    if source.suffix in (".mp4", ".mov", ".3gp", ".f4v", ".ismv"):
        return rng.choice((number_in_box, number_in_box, permute_table, box_type, box_size, count_of_table))(data, rng)
    if source.suffix in (".mkv", ".webm"):
        return rng.choice((element_size, element_content, block_time, block_time, element_kind))(data, rng)
    if source.suffix == ".avi":
        return rng.choice((avi_index, avi_chunk, avi_head))(data, rng)
    if source.suffix in (".ts", ".m2ts"):
        return transport(data, rng, 192 if source.suffix == ".m2ts" else 188)
    return None


def _table(data: bytearray, rng: random.Random) -> Part | None:
    found = [part for part in boxes(data) if part.kind in TABLES and part.end - part.content >= 8]
    kinds = sorted({part.kind for part in found})  # type: ignore[type-var]
    kind = rng.choice(kinds) if kinds else None
    return rng.choice([part for part in found if part.kind == kind]) if found else None


def number_in_box(data: bytearray, rng: random.Random) -> str | None:
    part = _table(data, rng)
    if part is None:
        return None
    changed = []
    for _ in range(rng.choice((1, 1, 1, 4))):
        at = part.content + 4 * rng.randrange((part.end - part.content) // 4)
        old = int.from_bytes(data[at : at + 4], "big")
        new = rng.choice((*NUMBERS, old + 1, old - 1, 2 * old, rng.randrange(1 << 32)))
        data[at : at + 4] = (new % (1 << 32)).to_bytes(4, "big")
        changed.append(f"{at - part.content}:{new}")
    return f"{part.kind!r} {' '.join(changed)}"


def count_of_table(data: bytearray, rng: random.Random) -> str | None:
    part = _table(data, rng)
    if part is None:
        return None
    at = part.content + (8 if part.kind == b"stsz" else 4)
    new = rng.choice((*NUMBERS, rng.randrange(200)))
    data[at : at + 4] = new.to_bytes(4, "big")
    return f"count of {part.kind!r} {new}"


def permute_table(data: bytearray, rng: random.Random) -> str | None:
    part = _table(data, rng)
    if part is None:
        return None
    begin = part.content + (12 if part.kind == b"stsz" else 8)
    rows = np.frombuffer(bytes(data[begin : part.end - (part.end - begin) % 4]), ">u4").copy()
    if len(rows) > 2:
        how = rng.choice(("shuffled", "reversed", "swapped", "shifted"))
        i = rng.randrange(len(rows) - 1)
        order = list(range(len(rows)))
        if how == "shuffled":
            rng.shuffle(order)
        order = order[::-1] if how == "reversed" else order[1:] + order[:1] if how == "shifted" else order
        if how == "swapped":
            order[i], order[i + 1] = order[i + 1], order[i]
        data[begin : begin + 4 * len(rows)] = rows[order].tobytes()
    return f"permuted {part.kind!r}"


def box_type(data: bytearray, rng: random.Random) -> str | None:
    found = list(boxes(data))
    if not found:
        return None
    part = rng.choice(found)
    new = rng.choice((b"free", b"skip", b"xxxx", bytes(4), rng.choice(TABLES)))
    data[part.content - 4 : part.content] = new
    return f"{part.kind!r} called {new!r}"


def box_size(data: bytearray, rng: random.Random) -> str | None:
    found = list(boxes(data))
    if not found:
        return None
    part = rng.choice(found)
    old = part.end - part.begin
    new = rng.choice((0, 1, 7, 8, old - 1, old + 1, old - 4, old + 8, 0x7FFFFFFF, 0xFFFFFFFF))
    data[part.begin : part.begin + 4] = new.to_bytes(4, "big")
    return f"size of {part.kind!r} {old} to {new}"


def _element(data: bytearray, rng: random.Random) -> Part | None:
    found = list(elements(data))
    kinds = sorted({part.kind for part in found})  # type: ignore[type-var]
    kind = rng.choice(kinds) if kinds else None
    return rng.choice([part for part in found if part.kind == kind]) if found else None


def element_size(data: bytearray, rng: random.Random) -> str | None:
    part = _element(data, rng)
    if part is None:
        return None
    at = part.content - 1
    data[at] = rng.choice((0x80, 0xFF, data[at] ^ 1, data[at] ^ 4, rng.randrange(256)))
    return f"size of {part.kind:x}"


def element_kind(data: bytearray, rng: random.Random) -> str | None:
    part = _element(data, rng)
    if part is None:
        return None
    data[part.begin] = rng.choice((0xEC, 0xA3, 0xE7, data[part.begin] ^ 1))
    return f"kind of {part.kind:x}"


def element_content(data: bytearray, rng: random.Random) -> str | None:
    part = _element(data, rng)
    if part is None or part.end == part.content:
        return None
    at = rng.randrange(part.content, min(part.end, part.content + 8))
    data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return f"{part.kind:x} byte {at - part.content} to {data[at]}"


def block_time(data: bytearray, rng: random.Random) -> str | None:
    places = block_times(data)
    if not places:
        return None
    for _ in range(rng.choice((1, 3))):
        at = rng.choice(places) + rng.choice((0, 0, 1, 2))  # the time, or the flags behind it
        data[at] = rng.choice((0, data[at] ^ 0x80, data[at] ^ 1, 0xFF, data[at] + 40 & 255))
    return "time of blocks"


def avi_index(data: bytearray, rng: random.Random) -> str | None:
    at = data.rfind(b"idx1")
    if at < 0 or len(data) - at < 24:
        return None
    for _ in range(rng.choice((1, 4))):
        place = at + 8 + 4 * rng.randrange((len(data) - at - 8) // 4)
        old = int.from_bytes(data[place : place + 4], "little")
        new = rng.choice((*NUMBERS, 16, old ^ 16, old + 4, old + 100))
        data[place : place + 4] = (new % (1 << 32)).to_bytes(4, "little")
    return "index of AVI"


def avi_chunk(data: bytearray, rng: random.Random) -> str | None:
    places, at = [], data.find(b"00dc")
    while at >= 0:
        places.append(at)
        at = data.find(b"00dc", at + 4)
    if not places:
        return None
    at = rng.choice(places)
    if rng.random() < 0.5:
        data[at : at + 4] = rng.choice((b"01dc", b"JUNK", b"00db", b"00pc", b"xxxx"))
    else:
        new = rng.choice((0, 1, 4, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
        data[at + 4 : at + 8] = new.to_bytes(4, "little")
    return "chunk of AVI"


def avi_head(data: bytearray, rng: random.Random) -> str | None:
    at = 4 * rng.randrange(1, 60)
    data[at : at + 4] = rng.choice(NUMBERS).to_bytes(4, "little")
    return f"head of AVI at {at}"


def transport(data: bytearray, rng: random.Random, size: int) -> str | None:
    count = len(data) // size
    if count < 4:
        return None
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
    return f"transport {what}"
