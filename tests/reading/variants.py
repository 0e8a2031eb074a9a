# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files of unusual make: fields, order that is not told, other boxes, variable rates."""

import random
from fractions import Fraction
from pathlib import Path

import joined
import oddities
import times
import uneven
from codings import CONTAINERS, X264
from fields import field_coded_h264, field_coded_mpeg2, mixed_h264, pack, without_vui
from media import Found, Get, encode, remux_timed
from structures import find_boxes, insert, rename


def variants() -> Found:
    """Yield every file that is no plain encoding."""
    own = (times.copies, times.moved_times, times.patched_times, fields, hidden_order, boxes, rates)
    further = (oddities.packed, oddities.flags, oddities.wraps, oddities.indices, oddities.timed)
    further += (uneven.empty, uneven.discarded, uneven.pairs)
    for kind in (*own, joined.pieces, joined.codecs, joined.beside, joined.cuts, *further):
        yield from kind()


def fields() -> Found:
    made = {
        name: (field_coded_h264, f"keyint={n}") for name, n in (("keyint2", 2), ("keyint12", 12), ("one_key", 1000))
    }
    for name, (write, how) in {**made, "mixed": (mixed_h264, False), "late": (mixed_h264, True)}.items():
        yield f"paff_{name}", ".h264", write, how
        for suffix in ("ts", "m2ts", "mkv", "mp4", "mov", "avi", "nut", "flv", "mpg"):
            for together in (False, True):
                label = f"paff_{name}_{'pairs' if together else 'single'}_{suffix}"
                yield label, f".{suffix}", pack, f"paff_{name}", together
    yield "mpeg2_fields", ".m2v", field_coded_mpeg2
    for suffix in ("ts", "mkv", "mp4", "mpg", "vob", "nut"):
        yield f"mpeg2_fields_{suffix}", f".{suffix}", pack, "mpeg2_fields", False


def hidden_order() -> Found:
    """H.264 that does not say by how much its frames are reordered."""
    for variant in ("b0", "b1", "b3", "open_gop", "open_pyramid", "one_key", "pyramid"):
        yield f"no_vui_{variant}", ".h264", _bare, variant
        for suffix in ("ts", "mkv", "mp4", "avi"):
            yield f"no_vui_{variant}_{suffix}", f".{suffix}", remux_timed, f"no_vui_{variant}", f"libx264_{variant}_mp4"


def _bare(path: Path, get: Get, variant: str) -> None:
    source = path.with_suffix(".whole.h264")
    without_vui(encode(source, "libx264", **X264[variant]), path)
    source.unlink()


BOXED = "libx264_b3_mp4 libx264_open_gop_mp4 libx264_b0_mp4 libx265_open_gop_mp4 mpeg4_b2_mp4 mjpeg_plain_mp4"
EDITS = {  # (length in 1/1000 s, begin in units of the track, speed); the tracks here have 12800 units a second
    "middle": [(1000, 5120, 1)],
    "keyframe": [(960, 6144 + 1024, 1)],
    "empty_first": [(500, -1, 1), (1920, 1024, 1)],
    "two": [(400, 1024, 1), (600, 12800, 1)],
    "twice_the_same": [(400, 1024, 1), (400, 1024, 1)],
    "backwards": [(400, 12800, 1), (400, 1024, 1)],
    "short": [(80, 1024, 1)],
    "long": [(100_000, 0, 1)],
    "none": [],
    "double_speed": [(1920, 1024, 2)],
    "late": [(1920, 1 << 30, 1)],
}


def boxes() -> Found:
    for source in BOXED.split():
        for kind in ("ctts", "stss", "edts", "sgpd", "sbgp", "udta"):
            yield f"without_{kind}_{source}", ".mp4", _without, source, kind.encode()
        for name in EDITS:
            yield f"edits_{name}_{source}", ".mp4", _edited, source, EDITS[name]
    for turn in (90, 180, 270):
        yield f"turned_{turn}", ".mp4", _turned, turn


def _without(path: Path, get: Get, source: str, kind: bytes) -> None:
    path.write_bytes(rename(bytearray(get(source).read_bytes()), kind, b"free"))


def _edited(path: Path, get: Get, source: str, edits: list[tuple[int, int, int]]) -> None:
    data = rename(bytearray(get(source).read_bytes()), b"edts", b"free")
    track = find_boxes(data, b"trak")[0]
    rows = b"".join(
        length.to_bytes(4, "big") + begin.to_bytes(4, "big", signed=True) + (speed << 16).to_bytes(4, "big")
        for length, begin, speed in edits
    )
    table = bytes(4) + len(edits).to_bytes(4, "big") + rows
    box = (8 + len(table)).to_bytes(4, "big") + b"elst" + table
    box = (8 + len(box)).to_bytes(4, "big") + b"edts" + box
    head = find_boxes(data, b"tkhd")[0]
    path.write_bytes(insert(data, head.end, box, (*track.above, track)))


def _turned(path: Path, get: Get, turn: int) -> None:
    data = bytearray(get("libx264_b3_mp4").read_bytes())
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    at = find_boxes(data, b"tkhd")[0].content + 40
    for i, value in enumerate((a, b, 0, -b, a)):
        data[at + 4 * i : at + 4 * i + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)


def rates() -> Found:
    for seed in range(4):
        for container in ("mkv", "mp4", "ts", "nut", "flv"):
            yield f"variable_{seed}_{container}", CONTAINERS[container][0], _variable, seed


def _variable(path: Path, get: Get, seed: int) -> None:
    rng, times = random.Random(seed), [0]
    while len(times) < 50:
        times.append(times[-1] + rng.choice((1, 7, 20, 33, 40, 40, 100, 2000)))
    encode(path, "libx264", **X264["b3"], n=50, times=times, time_base=Fraction(1, 1000))
