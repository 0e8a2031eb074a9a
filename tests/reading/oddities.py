# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files with what real ones have: packed B-frames, clocks that wrap, wrong flags, indices left out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from media import Found, Get, add_like, copy_of, packets_of, remux


def packed(get: Get) -> Found:
    """MPEG-4 as DivX and Xvid store it in AVI: a B-frame in the packet of the frame before, an empty one in its place."""
    for frames in (47, 48):
        yield f"packed_{frames}_avi", ".avi", lambda path, frames=frames: _packed(path, get, frames)
        for suffix in ("mp4", "mkv", "mov", "nut"):
            yield f"packed_{frames}_{suffix}", f".{suffix}", lambda path, n=frames: remux(get(f"packed_{n}_avi"), path)


def _packed(path: Path, get: Get, frames: int) -> None:
    """Write an I, then P and B together, then an empty P, ..."""
    source = get("mpeg4_b1_m4v")
    packets = [bytes(packet) for packet in packets_of(source)][:frames]
    head = packets[0].index(b"\0\0\1\xb6")
    packets[0] = packets[0][:head] + b"\0\0\1\xb2DivX503b1393p" + packets[0][head:]
    stored: list[bytes] = []
    i = 0
    while i < len(packets):
        if i + 1 < len(packets) and _is_b(packets[i + 1]):
            stored += [packets[i] + packets[i + 1], _EMPTY]
            i += 2
        else:
            stored.append(packets[i])
            i += 1
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.time_base = Fraction(1, 25)
        for number, data in enumerate(stored):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            packet.is_keyframe = data[data.index(b"\0\0\1\xb6") + 4] >> 6 == 0
            new.mux_one(packet)


_EMPTY = b"\0\0\1\xb6\x50\x20"  # a P-frame that is not coded


def _is_b(data: bytes) -> bool:
    return data[data.index(b"\0\0\1\xb6") + 4] >> 6 == 2


WRONG_FLAGS: dict[str, Callable[[int, bool], bool]] = {
    "all": lambda i, key: True,
    "none_but_first": lambda i, key: i == 0,
    "some": lambda i, key: key or i % 5 == 3,
    "later": lambda i, key: i % 12 == 1,
}


def flags(get: Get) -> Found:
    sources = [
        "libx264_b3_mp4",
        "libx264_b0_mp4",
        "mpeg4_b0_mp4",
        "libx265_open_gop_mkv",
        "libvpx_plain_webm",
        "ffv1_gop_mkv",
    ]
    for source in [*sources, "mpeg2video_b2_ts"]:
        for suffix in ("mkv", "mp4", "avi", "nut"):
            for how in WRONG_FLAGS:
                yield f"flags_{how}_{source}_{suffix}", f".{suffix}", _flagged(get, source, WRONG_FLAGS[how])


def _flagged(get: Get, source: str, flag: Callable[[int, bool], bool]) -> Callable[[Path], object]:
    def change(i: int, packet: Any) -> list:
        packet.is_keyframe = flag(i, packet.is_keyframe)
        return [packet]

    return lambda path: remux(get(source), path, change)


def wraps(get: Get) -> Found:
    """Transport and program streams whose 33 bits of clock overflow; and clocks that jump within a file."""
    for source in ("libx264_b3_ts", "libx264_b0_ts", "mpeg2video_b2_ts", "libx265_open_gop_ts"):
        for suffix in ("ts", "m2ts", "mpg"):
            for seconds in (0.1, 0.7, 1.5):
                yield (
                    f"wrap_{seconds}_{source}_{suffix}",
                    f".{suffix}",
                    _shifted(get, source, 0, round((1 << 33) - 90000 * seconds)),
                )
            for name, by in {
                "ahead": 90000 * 500,
                "back": -90000 * 500,
                "little_back": -40000,
                "wrap": 1 << 32,
            }.items():
                yield f"clock_{name}_{source}_{suffix}", f".{suffix}", _patched_clock(get, source, by)


def _shifted(get: Get, source: str, begin: int, by: int) -> Callable[[Path], object]:
    def change(i: int, packet: Any) -> list:
        if i >= begin:
            packet.pts, packet.dts = packet.pts + by, packet.dts + by
        return [packet]

    return lambda path: remux(get(source), path, change)


def _patched_clock(get: Get, source: str, by: int) -> Callable[[Path], object]:
    """Move the times of all frames from the middle on in the finished file, as a splice does."""

    def build(path: Path) -> None:
        remux(get(source), path)
        data, places, at = bytearray(path.read_bytes()), [], -1
        while (at := data.find(b"\0\0\1\xe0", at + 1)) >= 0:
            if data[at + 6] >> 6 == 2 and data[at + 7] & 0x80:
                places.append(at)
        for place in places[len(places) // 2 :]:
            for k in range(2 if data[place + 7] & 0x40 else 1):
                _add(data, place + 9 + 5 * k, by)
        path.write_bytes(data)

    return build


def _add(data: bytearray, at: int, by: int) -> None:
    old = (
        (data[at] >> 1 & 7) << 30 | data[at + 1] << 22 | data[at + 2] >> 1 << 15 | data[at + 3] << 7 | data[at + 4] >> 1
    )
    new = (old + by) % (1 << 33)
    data[at] = (data[at] & 0xF1) | (new >> 30 & 7) << 1
    data[at + 1], data[at + 2] = new >> 22 & 255, (new >> 15 & 127) << 1 | 1
    data[at + 3], data[at + 4] = new >> 7 & 255, (new & 127) << 1 | 1


def indices(get: Get) -> Found:
    """AVI files without index, or with one whose flags say nothing."""
    for source in (
        "libx264_b0_avi",
        "libx264_b3_avi",
        "mpeg4_b0_avi",
        "mpeg4_b2_avi",
        "mjpeg_plain_avi",
        "msmpeg4_plain_avi",
    ):
        for how in ("none", "all_keys", "no_keys", "reversed"):
            yield f"index_{how}_{source}", ".avi", _with_index(get, source, how)


def _with_index(get: Get, source: str, how: str) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        data = bytearray(get(source).read_bytes())
        at = data.rindex(b"idx1")
        rows = range(at + 8, len(data) - 15, 16)
        if how == "none":
            data[at : at + 4] = b"JUNK"
        elif how == "reversed":
            data[at + 8 : at + 8 + 16 * len(rows)] = b"".join(bytes(data[row : row + 16]) for row in reversed(rows))
        else:
            for row in rows:
                data[row + 4] = 16 if how == "all_keys" else 0
        path.write_bytes(data)

    return build


def long(get: Get) -> Found:
    """Copies of joined and changing streams into containers that have one head for all."""
    joined = [
        "joined_other_size_libx264_b3_h264",
        "joined_three_sizes_libx264_b0_h264",
        "joined_two_libx264_open_gop_h264",
    ]
    joined += ["joined_two_libx265_open_gop_hevc", "joined_other_size_libx265_closed_hevc", "joined_two_mpeg4_b2_m4v"]
    joined += ["joined_other_size_mpeg2video_b2_m2v", "paff_mixed", "joined_other_size_mjpeg_plain_mjpeg"]
    for source in joined:
        for suffix in ("mp4", "mkv", "ts", "avi", "nut"):
            yield f"timed_{source}_{suffix}", f".{suffix}", lambda path, source=source: _timed(path, get(source))


def _timed(path: Path, source: Path) -> None:
    """Copy packets with even times, those of decoding for showing too."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = add_like(new, old.streams.video[0])
        for i, packet in enumerate(packets_of(source)):
            one = copy_of(packet)
            one.pts = one.dts = i
            one.time_base, one.duration, one.stream = Fraction(1, 25), 1, stream
            new.mux_one(one)
