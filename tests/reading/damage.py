# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Damage to files, the same for the same seed: to packets, to structures of the file's format, or to any bytes."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from damaged_structures import STRUCTURES
from media import copy_of, remux

LENGTHS = (1, 4, 32, 188, 512, 4096)


def mutate(source: Path, target: Path, rng: random.Random) -> str:
    """Write a damaged copy of `source`; return what was done."""
    if rng.random() < 0.25:
        with suppress(Exception):  # what the container does not take: then bytes
            return damage_packets(source, target, rng)
    data, done = bytearray(source.read_bytes()), []
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            changes = STRUCTURES.get(source.suffix, ()) if rng.random() < 0.6 else ()
            change = rng.choice(changes) if len(changes) > 1 else changes[0]
            change(data, rng)
        except IndexError:
            change = rng.choice(BYTES)
            change(data, rng)
        done.append(change.__name__)
        if len(data) < 2:
            break
    target.write_bytes(data)
    return ", ".join(done)


# Packets: the container is whole, what it holds is not.


def damage_packets(source: Path, target: Path, rng: random.Random) -> str:
    """Copy the packets with some of them changed; raises if the container cannot be written so."""
    what = rng.choice(["dropped", "swapped", "flipped", "flipped", "shortened", "zeroed", "flagged", "repeated"])
    places = {rng.randrange(1, 50) for _ in range(rng.choice((1, 1, 2, 6)))}
    held: list[Any] = []

    def change(i: int, packet: Any) -> list:
        if i not in places:
            out, held[:] = [packet, *held], []
            return out
        if what == "swapped":  # kept until after the next one, its times as they are
            held.append(packet)
        return [] if what in ("swapped", "dropped") else _damaged(what, packet, rng)

    remux(source, target, change)
    return f"packets {what} {sorted(places)}"


def _damaged(what: str, packet: Any, rng: random.Random) -> list:
    data = bytearray(bytes(packet))
    if what == "flagged":
        packet.is_keyframe = not packet.is_keyframe
        return [packet]
    if what == "repeated":
        again = copy_of(packet)
        if again.dts is not None:
            again.dts += 1
            again.pts = None if again.pts is None else again.pts + 1
        return [packet, again]
    if what == "flipped":
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif what == "shortened":
        del data[rng.randrange(1, 1 + len(data)) :]
    else:
        begin = rng.randrange(len(data))
        data[begin:] = bytes(len(data) - begin)
    return [copy_of(packet, bytes(data))]


# Any bytes.


def flip_anywhere(data: bytearray, rng: random.Random) -> None:
    for place in [rng.randrange(len(data)) for _ in range(rng.choice((1, 3, 10, 60)))]:
        data[place] ^= 1 << rng.randrange(8)


def flip_head(data: bytearray, rng: random.Random) -> None:
    _overwrite(data, rng, 0, min(len(data), rng.choice((64, 256, 1024, 4096))))


def flip_tail(data: bytearray, rng: random.Random) -> None:
    _overwrite(data, rng, max(0, len(data) - rng.choice((256, 1024, 4096))), len(data))


def _overwrite(data: bytearray, rng: random.Random, begin: int, end: int) -> None:
    for _ in range(rng.randint(1, 6)):
        value = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        data[rng.randrange(begin, end)] = value


def zero(data: bytearray, rng: random.Random) -> None:
    begin, length = rng.randrange(len(data)), rng.choice(LENGTHS)
    data[begin : begin + length] = bytes(len(data[begin : begin + length]))


def delete(data: bytearray, rng: random.Random) -> None:
    begin, length = rng.randrange(len(data)), rng.choice(LENGTHS)
    if len(data) > length + 100:
        del data[begin : begin + length]


def insert(data: bytearray, rng: random.Random) -> None:
    begin, length = rng.randrange(len(data)), rng.choice(LENGTHS[:-1])
    data[begin:begin] = rng.randbytes(length)


def repeat(data: bytearray, rng: random.Random) -> None:
    begin, length = rng.randrange(len(data)), rng.choice(LENGTHS[2:])
    data[begin:begin] = data[begin : begin + length]


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def cut_start(data: bytearray, rng: random.Random) -> None:
    del data[: rng.randrange(1, max(2, len(data) // 2))]


def zero_tail(data: bytearray, rng: random.Random) -> None:
    size = rng.randrange(1, len(data))
    data[-size:] = bytes(size)


def append_zeros(data: bytearray, rng: random.Random) -> None:
    data += bytes(rng.choice((1, 100, 5000)))


def double(data: bytearray, rng: random.Random) -> None:
    data.extend(bytes(data))


BYTES = (flip_anywhere, flip_anywhere, flip_head, flip_head, flip_tail, zero, delete, insert, repeat, truncate)
BYTES += (cut_start, zero_tail, append_zeros, double)
