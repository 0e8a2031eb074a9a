# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Damage to packets: the container is whole, what it holds is not."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from media import copy_of, remux


def damage_packets(source: Path, target: Path, rng: random.Random) -> str:
    """Copy the packets with some of them changed; raises if the container cannot be written so."""
    what = rng.choice(list(PACKETS))
    places = {rng.randrange(1, 50) for _ in range(rng.choice((1, 1, 2, 6)))}
    held: list[Any] = []

    def change(i: int, packet: Any) -> list:
        if i in places:
            return PACKETS[what](packet, rng, held)
        out, held[:] = [packet, *held], []
        return out

    remux(source, target, change)
    return f"packets {what} {sorted(places)}"


def _swap(packet: Any, rng: random.Random, held: list) -> list:
    """Keep a packet until after the next one, and its times as they are."""
    held.append(packet)
    return []


def _flip(packet: Any, rng: random.Random, held: list) -> list:
    data = bytearray(bytes(packet))
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return [copy_of(packet, bytes(data))]


def _shorten(packet: Any, rng: random.Random, held: list) -> list:
    return [copy_of(packet, bytes(packet)[: rng.randrange(1, 1 + packet.size)])]


def _zero(packet: Any, rng: random.Random, held: list) -> list:
    begin = rng.randrange(packet.size)
    return [copy_of(packet, bytes(packet)[:begin] + bytes(packet.size - begin))]


def _flag(packet: Any, rng: random.Random, held: list) -> list:
    packet.is_keyframe = not packet.is_keyframe
    return [packet]


def _repeat(packet: Any, rng: random.Random, held: list) -> list:
    again = copy_of(packet)
    if again.dts is not None:
        again.dts += 1
        again.pts = None if again.pts is None else again.pts + 1
    return [packet, again]


PACKETS: dict[str, Callable[[Any, random.Random, list], list]] = {
    "dropped": lambda packet, rng, held: [],
    "swapped": _swap,
    "flipped": _flip,
    "flipped too": _flip,
    "shortened": _shorten,
    "zeroed": _zero,
    "flagged": _flag,
    "repeated": _repeat,
}
