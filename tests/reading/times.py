# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files whose times are not what one expects: copied, moved, patched by hand."""

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from media import RATE, Found, Get, copied, remux
from structures import block_times

NO_TIMES = "libx264_b3_avi libx264_open_pyramid_avi libx264_b1_avi libx264_b3_asf mpeg4_b2_avi mpeg4_b2_asf"
RAW = "libx264_b3_h264 libx264_one_key_h264 libx265_open_gop_hevc mpeg4_b2_m4v mpeg2video_b2_m2v mpeg1video_b2_m1v"
OTHER = "libx264_open_gop_mp4 libx265_open_gop_mkv libx264_b3_ts libx264_b3_flv libx264_b3_nut mpeg2video_b2_ts"
OTHER += " libvpx_alt_ref_webm libvpx-vp9_alt_ref_webm mpeg4_b2_mp4 libsvtav1_plain_ivf libsvtav1_plain_obu"


def copies() -> Found:
    """What wrote no times, or those of decoding only, copied into what has both."""
    for source in f"{NO_TIMES} {RAW} {OTHER}".split():
        for suffix in ("mp4", "mov", "mkv", "avi", "nut", "ts"):
            yield f"copy_{source}_{suffix}", f".{suffix}", copied, source, _with_times


def _with_times(i: int, packet: Any) -> list:
    if packet.dts is None:
        packet.pts, packet.dts, packet.time_base = i, i, RATE
    return [packet]


Retime = Callable[[int, int, random.Random], tuple[int | None, int | None]]
STEP = 40  # of 1/1000 s
TIMES: dict[str, Retime] = {  # (number in decoding order, own time, random) to (pts, dts)
    "pts_is_dts": lambda i, t, r: (STEP * i, STEP * i),
    "no_pts": lambda i, t, r: (None, STEP * i),
    "no_times": lambda i, t, r: (None, None),
    "every_third_pts": lambda i, t, r: (t + 200 if i % 3 == 0 else None, STEP * i),
    "jitter": lambda i, t, r: (t + 1000 + r.randint(-19, 19), STEP * i),
    "much_jitter": lambda i, t, r: (t + 5000 + r.randint(-300, 300), STEP * i),
    "equal_pairs": lambda i, t, r: (t // 80 * 80 + 1000, STEP * i),
    "one_equal": lambda i, t, r: (1000 + (t - STEP if t == 800 else t), STEP * i),
    "swapped": lambda i, t, r: (1000 + {400: 480, 480: 400}.get(t, t), STEP * i),
    "back_once": lambda i, t, r: (5000 + t - (900 if i > 24 else 0), STEP * i),
    "back_twice": lambda i, t, r: (9000 + t - 700 * (i // 16), STEP * i),
    "again_from_zero": lambda i, t, r: (3000 + t % 960, STEP * i),
    "backwards": lambda i, t, r: (9000 - t, STEP * i),
    "late_start": lambda i, t, r: (t + 36_000_200, STEP * i + 36_000_000),
    "negative_start": lambda i, t, r: (t - 4800, STEP * i - 5000),
    "huge_start": lambda i, t, r: (t + (1 << 40) + 200, STEP * i + (1 << 40)),
    "hole": lambda i, t, r: (t + 200 + (3_600_000 if i > 24 else 0), STEP * i + (3_600_000 if i > 24 else 0)),
    "all_the_same": lambda i, t, r: (7000, i),
    "slow_dts": lambda i, t, r: (t + 200, i),
    "far_ahead": lambda i, t, r: (t + 60_000, STEP * i),
    "odd_frame_far": lambda i, t, r: (t + 200 + (20_000 if i == 20 else 0), STEP * i),
}
MOVED = {
    "libx264_b3_mp4": "mp4 mkv ts mov flv",
    "libx264_b0_mp4": "mp4 mkv ts",
    "mpeg4_b0_mp4": "mkv mp4 avi",
    "mpeg4_b2_mp4": "mp4 mkv",
    "libvpx_plain_webm": "mkv",
    "libx265_open_gop_mkv": "mkv mp4",
    "mpeg2video_b2_ts": "ts mpg",
}


def moved_times() -> Found:
    for source, suffixes in MOVED.items():
        for suffix in suffixes.split():
            for how in TIMES:
                yield f"times_{how}_{source}_{suffix}", f".{suffix}", _retimed, source, how


def _retimed(path: Path, get: Get, source: str, how: str) -> None:
    rng, base = random.Random(how), Fraction(1, 1000)

    def change(i: int, packet: Any) -> list:
        pts, dts = TIMES[how](i, round((packet.pts or 0) * packet.time_base / base), rng)
        packet.time_base = base
        packet.pts, packet.dts = pts, dts
        return [packet]

    remux(get(source), path, change)


PATCHES: dict[str, Callable[[int, int, random.Random], int]] = {  # (number of the block, its time, random) to its time
    "backwards": lambda i, t, r: -t,
    "equal": lambda i, t, r: 0,
    "random": lambda i, t, r: r.randint(-2000, 2000),
    "swap_pairs": lambda i, t, r: t + (STEP if i % 2 == 0 else -STEP),
    "one_back": lambda i, t, r: t - (1000 if i == 30 else 0),
    "one_ahead": lambda i, t, r: t + (1000 if i == 30 else 0),
    "one_equal": lambda i, t, r: t - (STEP if i == 31 else 0),
    "shifted": lambda i, t, r: t + 5,
}
PATCHED = "mpeg4_b0_mkv libx264_b0_mkv libx264_b3_mkv libx265_open_gop_mkv libvpx_plain_mkv mjpeg_plain_mkv"


def patched_times() -> Found:
    """Matroska files with block times that no muxer would write."""
    for source in PATCHED.split():
        for how in PATCHES:
            yield f"patched_{how}_{source}", ".mkv", _patch, source, how


def _patch(path: Path, get: Get, source: str, how: str) -> None:
    data, rng = bytearray(get(source).read_bytes()), random.Random(how)
    for i, at in enumerate(block_times(data)):
        time = PATCHES[how](i, int.from_bytes(data[at : at + 2], "big", signed=True), rng)
        data[at : at + 2] = max(-32768, min(32767, time)).to_bytes(2, "big", signed=True)
    path.write_bytes(data)
