# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files whose packets are not one frame each: none, two, or one that is never shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fields import START, units
from media import Found, Get, copy_of, remux, remux_even, remux_timed
from oddities import NOT_CODED

SEI = START + bytes([6, 5, 17]) + bytes(range(16)) + b"\x01\x80"  # H.264: user data, and no picture
EVERY = 7
EXTRA = {"mpeg4_b0_m4v": NOT_CODED, "mpeg4_b2_m4v": NOT_CODED}
EXTRA |= {"libx264_b0_h264": SEI, "libx264_b3_h264": SEI, "paff_keyint12": SEI}
CHUNKED = "mpeg4_b0_avi mpeg4_b2_avi mjpeg_plain_avi libx264_b0_avi msmpeg4_plain_avi huffyuv_plain_avi"


def empty() -> Found:
    """Yield files with packets in between that hold no picture."""
    for source in EXTRA:
        for suffix in ("avi", "mkv", "mp4", "ts", "nut"):
            yield f"empty_{source}_{suffix}", f".{suffix}", _spread, source
    for source in CHUNKED.split():
        for index in (True, False):
            yield f"empty_chunks_{'' if index else 'no_index_'}{source}", ".avi", _empty_chunks, source, index


def _spread(path: Path, get: Get, source: str) -> None:
    def change(i: int, packet: Any) -> Iterator[Any]:
        yield copy_of(packet)
        if i % EVERY == EVERY - 1:
            extra = copy_of(packet, EXTRA[source])
            extra.is_keyframe = False
            yield extra

    remux_even(get(source), path, change)


def _empty_chunks(path: Path, get: Get, source: str, index: bool) -> None:
    """Put empty chunks into an AVI file, as capture programs do for frames that they drop."""
    data = get(source).read_bytes()
    begin, end = data.index(b"movi") + 4, data.rindex(b"idx1")
    chunks, at = [], begin
    while at + 8 <= end:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append(data[at : at + 8 + size + size % 2])
        at += 8 + size + size % 2
    flags = [data[row : row + 8] for row in range(end + 8, len(data) - 15, 16)]
    nothing, out, rows = b"00dc" + bytes(4), bytearray(), []
    for i, chunk in enumerate(chunks):
        for one, head in ((chunk, flags[i]), (nothing, nothing))[: 2 if i % EVERY == 3 else 1]:
            rows.append(head + (len(out) + 4).to_bytes(4, "little") + one[4:8])
            out += one
    whole = bytearray(data[:begin] + out)
    whole[begin - 8 : begin - 4] = (len(out) + 4).to_bytes(4, "little")
    if index:
        whole += b"idx1" + (16 * len(rows)).to_bytes(4, "little") + b"".join(rows)
    whole[4:8] = (len(whole) - 8).to_bytes(4, "little")
    path.write_bytes(whole)


def discarded() -> Found:
    """Yield HEVC whose keyframes tell the decoder to forget frames that wait to be shown."""
    for source in ("libx265_closed_hevc", "libx265_pyramid_hevc"):
        name = f"forgotten_{source}"
        yield name, ".hevc", _forgetting, source
        for suffix in ("mkv", "mp4", "ts"):
            yield f"{name}_{suffix}", f".{suffix}", remux_timed, name, source.replace("_hevc", "_mp4")


def _forgetting(path: Path, get: Get, source: str) -> None:
    out, seen = bytearray(), 0
    for unit in units(get(source).read_bytes()):
        if 16 <= unit[0] >> 1 & 63 <= 23:
            seen += 1
            if seen > 1:
                unit = unit[:2] + bytes([unit[2] | 0x40]) + unit[3:]
        out += START + unit
    path.write_bytes(out)


def pairs() -> Found:
    """Yield files that hold two frames in each packet, of which decoders may take one: refusing them is no fault."""
    sources = "libx264_b0_mp4 libx264_b3_mp4 mpeg4_b0_mp4 mpeg2video_b2_ts libx265_closed_mkv mjpeg_plain_avi"
    for source in sources.split():
        for suffix in ("mkv", "mp4", "ts", "nut"):
            yield f"cut_pairs_{source}_{suffix}", f".{suffix}", _paired, source


def _paired(path: Path, get: Get, source: str) -> None:
    held: list[Any] = []

    def change(i: int, packet: Any) -> list:
        if not held:
            held.append(packet)
            return []
        first = held.pop()
        return [copy_of(first, bytes(first) + bytes(packet))]

    remux(get(source), path, change)
