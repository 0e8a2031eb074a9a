# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files of unusual make: copied packets, moved times, fields, other boxes."""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import joined
import oddities
import uneven
from codings import X264
from fields import field_coded_h264, field_coded_mpeg2, mixed_h264, pack, without_vui
from media import encode, remux
from structures import block_times, find_boxes, insert, rename

Get = Callable[[str], Path]
Found = Iterator[tuple[str, str, Callable[[Path], object]]]


def variants(get: Get) -> Found:
    """Yield (name, suffix, how to write it); `get` returns other clean files by name."""
    own = (copies, moved_times, patched_times, fields, hidden_order, boxes, rates)
    further = (oddities.packed, oddities.flags, oddities.wraps, oddities.indices, oddities.long)
    further += (uneven.empty, uneven.discarded, uneven.pairs)
    for kind in (*own, joined.pieces, joined.beside, joined.cuts, *further):
        yield from kind(get)


def _of(write: Callable[..., object], *args: Any, **kwargs: Any) -> Callable[[Path], object]:
    return lambda path: write(path, *args, **kwargs)


# What wrote no times, or decoding times only, copied into what has both


def copies(get: Get) -> Found:
    no_times = [
        "libx264_b3_avi",
        "libx264_open_pyramid_avi",
        "libx264_b1_avi",
        "libx264_b3_asf",
        "mpeg4_b2_avi",
        "mpeg4_b2_asf",
    ]
    raw = [
        "libx264_b3_h264",
        "libx264_one_key_h264",
        "libx265_open_gop_hevc",
        "mpeg4_b2_m4v",
        "mpeg2video_b2_m2v",
        "mpeg1video_b2_m1v",
    ]
    other = [
        "libx264_open_gop_mp4",
        "libx265_open_gop_mkv",
        "libx264_b3_ts",
        "libx264_b3_flv",
        "libx264_b3_nut",
        "mpeg2video_b2_ts",
    ]
    other += [
        "libvpx_alt_ref_webm",
        "libvpx-vp9_alt_ref_webm",
        "mpeg4_b2_mp4",
        "libsvtav1_plain_ivf",
        "libsvtav1_plain_obu",
    ]
    for source in no_times + raw + other:
        for suffix in ("mp4", "mov", "mkv", "avi", "nut", "ts"):
            yield f"copy_{source}_{suffix}", f".{suffix}", _of(_copied, get, source)


def _copied(path: Path, get: Get, source: str) -> None:
    def change(i: int, packet: Any) -> list:
        if packet.dts is None:
            packet.pts, packet.dts, packet.time_base = i, i, Fraction(1, 25)
        return [packet]

    remux(get(source), path, change)


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


def moved_times(get: Get) -> Found:
    sources = {"libx264_b3_mp4": "mp4 mkv ts mov flv", "libx264_b0_mp4": "mp4 mkv ts", "mpeg4_b0_mp4": "mkv mp4 avi"}
    sources |= {
        "mpeg4_b2_mp4": "mp4 mkv",
        "libvpx_plain_webm": "mkv",
        "libx265_open_gop_mkv": "mkv mp4",
        "mpeg2video_b2_ts": "ts mpg",
    }
    for source, suffixes in sources.items():
        for suffix in suffixes.split():
            for how in TIMES:
                yield f"times_{how}_{source}_{suffix}", f".{suffix}", _of(_retimed, get, source, how)


def _retimed(path: Path, get: Get, source: str, how: str) -> None:
    rng = random.Random(how)
    base = Fraction(1, 1000)

    def change(i: int, packet: Any) -> list:
        time = round((packet.pts or 0) * packet.time_base / base)
        pts, dts = TIMES[how](i, time, rng)
        packet.time_base = base
        packet.pts, packet.dts = pts, dts
        return [packet]

    remux(get(source), path, change)


def patched_times(get: Get) -> Found:
    """Matroska files with block times that no muxer would write."""
    changes: dict[str, Callable[[int, int, random.Random], int]] = {
        "backwards": lambda i, t, r: -t,
        "equal": lambda i, t, r: 0,
        "random": lambda i, t, r: r.randint(-2000, 2000),
        "swap_pairs": lambda i, t, r: t + (STEP if i % 2 == 0 else -STEP),
        "one_back": lambda i, t, r: t - (1000 if i == 30 else 0),
        "one_ahead": lambda i, t, r: t + (1000 if i == 30 else 0),
        "one_equal": lambda i, t, r: t - (STEP if i == 31 else 0),
        "shifted": lambda i, t, r: t + 5,
    }
    for source in (
        "mpeg4_b0_mkv",
        "libx264_b0_mkv",
        "libx264_b3_mkv",
        "libx265_open_gop_mkv",
        "libvpx_plain_mkv",
        "mjpeg_plain_mkv",
    ):
        for how, new in changes.items():
            yield f"patched_{how}_{source}", ".mkv", _of(_patch, get, source, how, new)


def _patch(path: Path, get: Get, source: str, how: str, new: Callable[[int, int, random.Random], int]) -> None:
    data, rng = bytearray(get(source).read_bytes()), random.Random(how)
    for i, at in enumerate(block_times(data)):
        time = int.from_bytes(data[at : at + 2], "big", signed=True)
        data[at : at + 2] = max(-32768, min(32767, new(i, time, rng))).to_bytes(2, "big", signed=True)
    path.write_bytes(data)


def fields(get: Get) -> Found:
    for name, write in {
        "keyint2": lambda path: field_coded_h264(path, "keyint=2"),
        "keyint12": lambda path: field_coded_h264(path, "keyint=12"),
        "one_key": lambda path: field_coded_h264(path, "keyint=1000"),
        "mixed": mixed_h264,
        "late": lambda path: mixed_h264(path, late=True),
    }.items():
        yield f"paff_{name}", ".h264", write
        for suffix in ("ts", "m2ts", "mkv", "mp4", "mov", "avi", "nut", "flv", "mpg"):
            for together in (False, True):
                label = f"paff_{name}_{'pairs' if together else 'single'}_{suffix}"
                yield label, f".{suffix}", _of(_packed, get, f"paff_{name}", together)
    yield "mpeg2_fields", ".m2v", field_coded_mpeg2
    for suffix in ("ts", "mkv", "mp4", "mpg", "vob", "nut"):
        yield f"mpeg2_fields_{suffix}", f".{suffix}", _of(_packed, get, "mpeg2_fields", False)


def _packed(path: Path, get: Get, source: str, together: bool) -> None:
    pack(get(source), path, together=together)


def hidden_order(get: Get) -> Found:
    """H.264 that does not say by how much its frames are reordered."""
    for variant in ("b0", "b1", "b3", "open_gop", "open_pyramid", "one_key", "pyramid"):
        yield f"no_vui_{variant}", ".h264", _of(_bare, get, variant)
        for suffix in ("ts", "mkv", "mp4", "avi"):
            yield f"no_vui_{variant}_{suffix}", f".{suffix}", _of(_bare_copy, get, variant)


def _bare(path: Path, get: Get, variant: str) -> None:
    source = path.with_suffix(".whole.h264")
    without_vui(encode(source, "libx264", **X264[variant]), path)
    source.unlink()


def _bare_copy(path: Path, get: Get, variant: str) -> None:
    """Copy packets of the raw stream with the times that the same stream has in MP4."""
    times = []
    remux(
        get(f"libx264_{variant}_mp4"),
        path.with_suffix(".mkv.tmp"),
        lambda i, p: times.append((p.pts, p.dts, p.time_base)) or [p],
        mux_format="matroska",
    )
    path.with_suffix(".mkv.tmp").unlink()

    def change(i: int, packet: Any) -> list:
        packet.time_base = times[i][2]
        packet.pts, packet.dts = times[i][:2]
        return [packet]

    remux(get(f"no_vui_{variant}"), path, change)


def boxes(get: Get) -> Found:
    for source in (
        "libx264_b3_mp4",
        "libx264_open_gop_mp4",
        "libx264_b0_mp4",
        "libx265_open_gop_mp4",
        "mpeg4_b2_mp4",
        "mjpeg_plain_mp4",
    ):
        for kind in ("ctts", "stss", "edts", "sgpd", "sbgp", "udta"):
            yield f"without_{kind}_{source}", ".mp4", _of(_without, get, source, kind.encode())
        for name, edits in EDITS.items():
            yield f"edits_{name}_{source}", ".mp4", _of(_edited, get, source, edits)
    for turn in (90, 180, 270):
        yield f"turned_{turn}", ".mp4", _of(_turned, get, turn)


def _without(path: Path, get: Get, source: str, kind: bytes) -> None:
    path.write_bytes(rename(bytearray(get(source).read_bytes()), kind, b"free"))


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


def rates(get: Get) -> Found:
    for seed in range(4):
        rng, times = random.Random(seed), [0]
        while len(times) < 50:
            times.append(times[-1] + rng.choice((1, 7, 20, 33, 40, 40, 100, 2000)))
        for suffix in ("mkv", "mp4", "ts", "nut", "flv"):
            settings = {**X264["b3"], "n": 50, "times": times, "time_base": Fraction(1, 1000)}
            yield f"variable_{seed}_{suffix}", f".{suffix}", _of(encode, "libx264", **settings)
