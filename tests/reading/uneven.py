# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files whose packets are not one frame each: none, two, or one that is never shown."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from fields import START, units
from media import Found, Get, add_like, copy_of, packets_of, remux

NOT_CODED = b"\0\0\1\xb6\x50\x20"  # MPEG-4: a P-frame that is not coded, such as encoders write for a dropped frame
SEI = START + bytes([6, 5, 17]) + bytes(range(16)) + b"\x01\x80"  # H.264: user data, and no picture
EVERY = 7


def empty(get: Get) -> Found:
    """Yield files with packets in between that hold no picture."""
    for source, extra in {
        "mpeg4_b0_m4v": NOT_CODED,
        "mpeg4_b2_m4v": NOT_CODED,
        "libx264_b0_h264": SEI,
        "libx264_b3_h264": SEI,
        "paff_keyint12": SEI,
    }.items():
        for suffix in ("avi", "mkv", "mp4", "ts", "nut"):
            yield f"empty_{source}_{suffix}", f".{suffix}", _spread(get, source, extra)
    for source in (
        "mpeg4_b0_avi",
        "mpeg4_b2_avi",
        "mjpeg_plain_avi",
        "libx264_b0_avi",
        "msmpeg4_plain_avi",
        "huffyuv_plain_avi",
    ):
        for index in (True, False):
            yield f"empty_chunks_{'' if index else 'no_index_'}{source}", ".avi", _empty_chunks(get, source, index)


def _spread(get: Get, source: str, extra: bytes) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        with av.open(str(get(source))) as old, av.open(str(path), "w") as new:
            stream, time = add_like(new, old.streams.video[0]), 0
            for i, packet in enumerate(packets_of(get(source))):
                for data in (bytes(packet), extra)[: 2 if i % EVERY == EVERY - 1 else 1]:
                    one = copy_of(packet, data)
                    one.pts = one.dts = time
                    one.time_base, one.duration, one.stream = Fraction(1, 25), 1, stream
                    one.is_keyframe = packet.is_keyframe and data is not extra
                    new.mux_one(one)
                    time += 1

    return build


def _empty_chunks(get: Get, source: str, index: bool) -> Callable[[Path], object]:
    """Put empty chunks into an AVI file, as capture programs do for frames that they drop."""

    def build(path: Path) -> None:
        data = get(source).read_bytes()
        begin = data.index(b"movi") + 4
        end = data.rindex(b"idx1")
        chunks, at = [], begin
        while at + 8 <= end:
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            chunks.append(data[at : at + 8 + size + size % 2])
            at += 8 + size + size % 2
        flags = [data[row : row + 8] for row in range(end + 8, len(data) - 15, 16)]
        out, rows = bytearray(), []
        for i, chunk in enumerate(chunks):
            for one, head in ((chunk, flags[i]), (b"00dc" + bytes(4), b"00dc" + bytes(4)))[
                : 2 if i % EVERY == 3 else 1
            ]:
                rows.append(head + (len(out) + 4).to_bytes(4, "little") + one[4:8])
                out += one
        whole = bytearray(data[:begin] + out)
        whole[begin - 8 : begin - 4] = (len(out) + 4).to_bytes(4, "little")
        if index:
            whole += b"idx1" + (16 * len(rows)).to_bytes(4, "little") + b"".join(rows)
        whole[4:8] = (len(whole) - 8).to_bytes(4, "little")
        path.write_bytes(whole)

    return build


def discarded(get: Get) -> Found:
    """Yield HEVC and H.264 whose keyframes tell the decoder to forget frames that wait to be shown."""
    for source in ("libx265_closed_hevc", "libx265_pyramid_hevc"):
        yield f"forgotten_{source}", ".hevc", _forgetting(get, source)
        for suffix in ("mkv", "mp4", "ts"):
            name = f"forgotten_{source}"
            times = source.replace("_hevc", "_mp4")
            yield f"{name}_{suffix}", f".{suffix}", _timed_as(get, name, times)


def _forgetting(get: Get, source: str) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        out, seen = bytearray(), 0
        for unit in units(get(source).read_bytes()):
            if 16 <= unit[0] >> 1 & 63 <= 23:
                seen += 1
                if seen > 1:
                    unit = unit[:2] + bytes([unit[2] | 0x40]) + unit[3:]
            out += START + unit
        path.write_bytes(out)

    return build


def _timed_as(get: Get, source: str, times: str) -> Callable[[Path], object]:
    """Copy packets of a raw stream with the times that the same stream has elsewhere."""

    def build(path: Path) -> None:
        known = [(packet.pts, packet.dts, packet.time_base) for packet in packets_of(get(times))]

        def change(i: int, packet: Any) -> list:
            packet.time_base = known[i][2]
            packet.pts, packet.dts = known[i][:2]
            return [packet]

        remux(get(source), path, change)

    return build


def pairs(get: Get) -> Found:
    """Yield files that hold two frames in each packet, of which decoders may take one: refusing them is no fault."""
    for source in (
        "libx264_b0_mp4",
        "libx264_b3_mp4",
        "mpeg4_b0_mp4",
        "mpeg2video_b2_ts",
        "libx265_closed_mkv",
        "mjpeg_plain_avi",
    ):
        for suffix in ("mkv", "mp4", "ts", "nut"):
            yield f"cut_pairs_{source}_{suffix}", f".{suffix}", _paired(get, source)


def _paired(get: Get, source: str) -> Callable[[Path], object]:
    held: list[Any] = []

    def change(i: int, packet: Any) -> list:
        if i == 0:
            held.clear()
        if i % 2 == 0:
            held[:] = [packet]
            return []
        return [copy_of(held[0], bytes(held[0]) + bytes(packet))]

    return lambda path: remux(get(source), path, change)
