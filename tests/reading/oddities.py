# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files with what real ones have: packed B-frames, clocks that wrap, wrong flags, indices left out."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
from media import RATE, Found, Get, copied, copy_of, packets_of, remux, remux_even

VOP = b"\0\0\1\xb6"  # begins a picture of MPEG-4
NOT_CODED = VOP + b"\x50\x20"  # a P-frame that is not coded


def packed() -> Found:
    """MPEG-4 as DivX and Xvid store it in AVI: a B-frame in the packet of the frame before, an empty one in its place."""
    for frames in (47, 48):
        yield f"packed_{frames}_avi", ".avi", _packed, frames
        for suffix in ("mp4", "mkv", "mov", "nut"):
            yield f"packed_{frames}_{suffix}", f".{suffix}", copied, f"packed_{frames}_avi"


def _packed(path: Path, get: Get, frames: int) -> None:
    """Write an I, then P and B together, then an empty P, ..."""
    source = get("mpeg4_b1_m4v")
    packets = [bytes(packet) for packet in packets_of(source)][:frames]
    packets[0] = packets[0].replace(VOP, b"\0\0\1\xb2DivX503b1393p" + VOP, 1)
    stored: list[bytes] = []
    while packets:
        one = packets.pop(0)
        stored += [one + packets.pop(0), NOT_CODED] if packets and _kind(packets[0]) == 2 else [one]
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.time_base = RATE
        for number, data in enumerate(stored):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = RATE, stream
            packet.is_keyframe = _kind(data) == 0
            new.mux_one(packet)


def _kind(data: bytes) -> int:
    """Return 0 for an I-, 1 for a P- and 2 for a B-frame."""
    return data[data.index(VOP) + 4] >> 6


WRONG_FLAGS: dict[str, Callable[[int, bool], bool]] = {
    "all": lambda i, key: True,
    "none_but_first": lambda i, key: i == 0,
    "some": lambda i, key: key or i % 5 == 3,
    "later": lambda i, key: i % 12 == 1,
}
FLAGGED = "libx264_b3_mp4 libx264_b0_mp4 mpeg4_b0_mp4 libx265_open_gop_mkv libvpx_plain_webm ffv1_gop_mkv"
FLAGGED += " mpeg2video_b2_ts"


def flags() -> Found:
    for source in FLAGGED.split():
        for suffix in ("mkv", "mp4", "avi", "nut"):
            for how in WRONG_FLAGS:
                yield f"flags_{how}_{source}_{suffix}", f".{suffix}", copied, source, partial(_flagged, how)


def _flagged(how: str, i: int, packet: Any) -> list:
    packet.is_keyframe = WRONG_FLAGS[how](i, packet.is_keyframe)
    return [packet]


CLOCKS = {"ahead": 90000 * 500, "back": -90000 * 500, "little_back": -40000, "wrap": 1 << 32}


def wraps() -> Found:
    """Transport and program streams whose 33 bits of clock overflow; and clocks that jump within a file."""
    for source in ("libx264_b3_ts", "libx264_b0_ts", "mpeg2video_b2_ts", "libx265_open_gop_ts"):
        for suffix in ("ts", "m2ts", "mpg"):
            for seconds in (0.1, 0.7, 1.5):
                yield f"wrap_{seconds}_{source}_{suffix}", f".{suffix}", copied, source, partial(_shifted, seconds)
            for name, by in CLOCKS.items():
                yield f"clock_{name}_{source}_{suffix}", f".{suffix}", _patched_clock, source, by


def _shifted(seconds: float, i: int, packet: Any) -> list:
    """Let the clock begin some seconds before it overflows."""
    by = round((1 << 33) - 90000 * seconds)
    packet.pts, packet.dts = packet.pts + by, packet.dts + by
    return [packet]


def _patched_clock(path: Path, get: Get, source: str, by: int) -> None:
    """Move the times of all frames from the middle on in the finished file, as a splice does."""
    data, places, at = bytearray(remux(get(source), path).read_bytes()), [], -1
    while (at := data.find(b"\0\0\1\xe0", at + 1)) >= 0:
        if data[at + 6] >> 6 == 2 and data[at + 7] & 0x80:
            places.append(at)
    for place in places[len(places) // 2 :]:
        for k in range(2 if data[place + 7] & 0x40 else 1):
            _add(data, place + 9 + 5 * k, by)
    path.write_bytes(data)


def _add(data: bytearray, at: int, by: int) -> None:
    """Add to a time stamp of 33 bits, which stand in five bytes between marker bits."""
    a, b, c, d, e = data[at : at + 5]
    new = ((a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1) + by
    new %= 1 << 33
    data[at] = (a & 0xF1) | (new >> 30 & 7) << 1
    data[at + 1 : at + 5] = new >> 22 & 255, (new >> 15 & 127) << 1 | 1, new >> 7 & 255, (new & 127) << 1 | 1


INDEXED = "libx264_b0_avi libx264_b3_avi mpeg4_b0_avi mpeg4_b2_avi mjpeg_plain_avi msmpeg4_plain_avi"


def indices() -> Found:
    """AVI files without index, or with one whose flags say nothing."""
    for source in INDEXED.split():
        for how in ("none", "all_keys", "no_keys", "reversed"):
            yield f"index_{how}_{source}", ".avi", _with_index, source, how


def _with_index(path: Path, get: Get, source: str, how: str) -> None:
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


JOINED = "joined_other_size_libx264_b3_h264 joined_three_sizes_libx264_b0_h264 joined_two_libx264_open_gop_h264"
JOINED += " joined_two_libx265_open_gop_hevc joined_other_size_libx265_closed_hevc joined_two_mpeg4_b2_m4v"
JOINED += " joined_other_size_mpeg2video_b2_m2v paff_mixed joined_other_size_mjpeg_plain_mjpeg"


def timed() -> Found:
    """Copies of joined and changing streams into containers that have one head for all."""
    for source in JOINED.split():
        for suffix in ("mp4", "mkv", "ts", "avi", "nut"):
            yield f"timed_{source}_{suffix}", f".{suffix}", _timed, source


def _timed(path: Path, get: Get, source: str) -> None:
    remux_even(get(source), path, lambda i, packet: [copy_of(packet)])
