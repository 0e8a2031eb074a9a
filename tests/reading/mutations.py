# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Damage to files, the same for the same seed."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from damage import damage
from damaged_packets import damage_packets


def mutate(source: Path, target: Path, rng: random.Random) -> str:
    """Write a damaged copy of `source`; return what was done."""
    if rng.random() < 0.25:
        with suppress(Exception):  # what the container does not take: then bytes
            return damage_packets(source, target, rng)
    data, done = bytearray(source.read_bytes()), []
    for _ in range(rng.choice((1, 1, 1, 2))):
        what = damage(source, data, rng) if rng.random() < 0.6 else None
        if what is None:
            change = rng.choice(BYTES)
            what = change.__name__ + change(data, rng)
        done.append(what)
        if len(data) < 2:
            break
    target.write_bytes(data)
    return ", ".join(done)


def flip_anywhere(data: bytearray, rng: random.Random) -> str:
    places = [rng.randrange(len(data)) for _ in range(rng.choice((1, 3, 10, 60)))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    return f" {len(places)}"


def flip_head(data: bytearray, rng: random.Random) -> str:
    end = min(len(data), rng.choice((64, 256, 1024, 4096)))
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(end)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return f" of {end}"


def flip_tail(data: bytearray, rng: random.Random) -> str:
    begin = max(0, len(data) - rng.choice((256, 1024, 4096)))
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(begin, len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return f" from {begin}"


def zero(data: bytearray, rng: random.Random) -> str:
    begin, length = rng.randrange(len(data)), rng.choice((1, 4, 32, 188, 512, 4096))
    data[begin : begin + length] = bytes(len(data[begin : begin + length]))
    return f" {length} at {begin}"


def delete(data: bytearray, rng: random.Random) -> str:
    begin, length = rng.randrange(len(data)), rng.choice((1, 4, 32, 188, 512, 4096))
    if len(data) > length + 100:
        del data[begin : begin + length]
    return f" {length} at {begin}"


def insert(data: bytearray, rng: random.Random) -> str:
    begin, length = rng.randrange(len(data)), rng.choice((1, 4, 32, 188, 512))
    data[begin:begin] = rng.randbytes(length)
    return f" {length} at {begin}"


def repeat(data: bytearray, rng: random.Random) -> str:
    begin, length = rng.randrange(len(data)), rng.choice((32, 188, 512, 4096))
    data[begin:begin] = data[begin : begin + length]
    return f" {length} at {begin}"


def truncate(data: bytearray, rng: random.Random) -> str:
    size = rng.randrange(1, len(data))
    del data[size:]
    return f" at {size}"


def cut_start(data: bytearray, rng: random.Random) -> str:
    size = rng.randrange(1, max(2, len(data) // 2))
    del data[:size]
    return f" {size}"


def zero_tail(data: bytearray, rng: random.Random) -> str:
    size = rng.randrange(1, len(data))
    data[-size:] = bytes(size)
    return f" {size}"


def append_zeros(data: bytearray, rng: random.Random) -> str:
    size = rng.choice((1, 100, 5000))
    data += bytes(size)
    return f" {size}"


def double(data: bytearray, rng: random.Random) -> str:
    data.extend(bytes(data))
    return ""


BYTES: list[Callable[[bytearray, random.Random], str]] = [
    flip_anywhere,
    flip_anywhere,
    flip_head,
    flip_head,
    flip_tail,
    zero,
    delete,
    insert,
    repeat,
    truncate,
    cut_start,
    zero_tail,
    append_zeros,
    double,
]
