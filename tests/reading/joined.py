# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files put together: pieces one behind the other, tracks side by side, and pieces cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
from codings import CONTAINERS, X264, X265
from media import Found, Get, copy_of, encode, remux


def pieces(get: Get) -> Found:
    """Yield files that were joined byte by byte, as `cat` does."""
    streams = {
        "ts": ("libx264", X264, ("b3", "open_gop", "b0", "tff")),
        "m2ts": ("libx264", X264, ("b3",)),
        "h264": ("libx264", X264, ("b3", "b0", "open_gop", "one_key")),
        "hevc": ("libx265", X265, ("open_gop", "closed")),
        "mpg": ("mpeg2video", {"b2": {"options": {"bf": "2", "g": "12", "q": "3"}}}, ("b2",)),
        "vob": ("mpeg2video", {"b0": {"options": {"g": "12", "q": "3"}}}, ("b0",)),
        "m2v": ("mpeg2video", {"b2": {"options": {"bf": "2", "g": "12", "q": "3"}}}, ("b2",)),
        "m4v": ("mpeg4", {"b2": {"options": {"bf": "2", "g": "12", "q": "3"}}}, ("b2",)),
        "mjpeg": ("mjpeg", {"plain": {"pix_fmt": "yuvj420p"}}, ("plain",)),
        "mkv": ("libx264", X264, ("b3", "b0")),
        "webm": ("libvpx", {"plain": {"options": {"g": "15", "deadline": "realtime", "cpu-used": "8"}}}, ("plain",)),
        "flv": ("libx264", X264, ("b3", "b0")),
        "fragments": ("libx264", X264, ("b3", "b0")),
        "mp4": ("libx264", X264, ("b3",)),
        "avi": ("mpeg4", {"b0": {"options": {"g": "12", "q": "3"}}}, ("b0",)),
        "ogg": ("libvpx", {"plain": {"options": {"g": "15", "deadline": "realtime", "cpu-used": "8"}}}, ("plain",)),
        "nut": ("libx264", X264, ("b3",)),
        "ivf": ("libvpx", {"plain": {"options": {"g": "15", "deadline": "realtime", "cpu-used": "8"}}}, ("plain",)),
        "asf": ("wmv2", {"plain": {"options": {"g": "12", "q": "3"}}}, ("plain",)),
        "gif": ("gif", {"plain": {"pix_fmt": "rgb8"}}, ("plain",)),
    }
    for container, (codec, table, names) in streams.items():
        for name in names:
            for label, sizes in SIZES.items():
                settings = [{**table[name], "size": size, "n": n} for size, n in sizes]
                yield (
                    f"joined_{label}_{codec}_{name}_{container}",
                    CONTAINERS[container][0],
                    _join(codec, container, settings),
                )


def codecs(get: Get) -> Found:
    """Yield transport streams whose codec changes, of which FFmpeg decodes what it decodes."""
    for one, other in (
        ("libx264_b3_ts", "mpeg2video_b2_ts"),
        ("mpeg2video_b2_ts", "libx265_open_gop_ts"),
        ("libx264_b0_ts", "libx264_b3_mpg"),
    ):
        yield (
            f"cut_joined_{one}_{other}",
            ".ts",
            lambda path, a=one, b=other: path.write_bytes(get(a).read_bytes() + get(b).read_bytes()),
        )


SIZES = {
    "two": [((64, 48), 30), ((64, 48), 20)],
    "four": [((64, 48), 20), ((64, 48), 25), ((64, 48), 14), ((64, 48), 30)],
    "short": [((64, 48), 2), ((64, 48), 30), ((64, 48), 1)],
    "other_size": [((64, 48), 30), ((96, 64), 20)],
    "three_sizes": [((96, 64), 20), ((64, 48), 12), ((96, 64), 20)],
}


def _join(codec: str, container: str, settings: list[dict[str, Any]]) -> Callable[[Path], object]:
    _, mux_format, mux_options = CONTAINERS[container]

    def build(path: Path) -> None:
        data, first = b"", 0
        for one in settings:
            encode(path, codec, first=first, mux_format=mux_format, mux_options=mux_options, **one)
            data, first = data + path.read_bytes(), first + one["n"]
        path.write_bytes(data)

    return build


def beside(get: Get) -> Found:
    """Yield files with further tracks: another video before or behind, sound, a cover picture."""
    for suffix in ("mp4", "mkv", "ts", "avi", "mov", "nut", "fragments"):
        for label, tracks in {
            "larger_second": ["libx264_b3_mp4", "libx264_larger_mp4"],
            "smaller_second": ["libx264_larger_mp4", "libx264_b3_mp4"],
            "same": ["libx264_b3_mp4", "libx264_b0_mp4"],
            "sound": ["libx264_b3_mp4", "libx264_sound_mp4/sound"],
            "sound_first": ["libx264_sound_mp4/sound", "libx264_open_gop_mp4"],
            "mpeg4": ["mpeg4_b0_mp4", "libx264_b1_mp4"],
        }.items():
            suffix_, mux_format, options = CONTAINERS[suffix]
            yield f"beside_{label}_{suffix}", suffix_, _side_by_side(get, tracks, mux_format, options)
    for suffix in ("mp4", "mkv", "mov"):
        yield f"cover_{suffix}", f".{suffix}", _with_cover(get)


def _side_by_side(get: Get, tracks: list[str], mux_format: str, options: dict[str, str]) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        with av.open(str(path), "w", format=mux_format, options=options) as new:
            packets = []
            for track in tracks:
                name, _, sound = track.partition("/")
                with av.open(str(get(name))) as old:
                    wanted = old.streams.audio[0] if sound else old.streams.video[0]
                    stream = new.add_stream_from_template(wanted)
                    for packet in old.demux(wanted):
                        if packet.size:
                            packets.append((float((packet.dts or 0) * packet.time_base), len(packets), packet, stream))
            for _, _, packet, stream in sorted(packets, key=lambda one: one[:2]):
                copied = copy_of(packet)
                copied.stream = stream
                new.mux_one(copied)

    return build


def _with_cover(get: Get) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        with av.open(str(get("libx264_b3_mp4"))) as old, av.open(str(path), "w") as new:
            cover = new.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 200, 100, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            stream = new.add_stream_from_template(old.streams.video[0])
            new.mux(cover.encode(av.VideoFrame(200, 100, "yuvj420p")))
            new.mux(cover.encode(None))
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    new.mux_one(packet)

    return build


def cuts(get: Get) -> Found:
    """Yield files without their first packets, without their last, or cut between two bytes."""
    copied = [
        "libx264_b3_mp4",
        "libx264_open_gop_mp4",
        "libx264_refresh_mp4",
        "libx265_open_gop_mkv",
        "mpeg4_b2_mp4",
        "libvpx_plain_webm",
    ]
    for source in [
        *copied,
        "libx264_b3_ts",
        "libx264_open_gop_ts",
        "mpeg2video_b2_ts",
        "libvpx-vp9_plain_webm",
        "libsvtav1_plain_mp4",
    ]:
        for suffix in ("mkv", "mp4", "ts", "avi"):
            for k in (1, 5, 12):
                yield f"cut_first_{k}_{source}_{suffix}", f".{suffix}", _keep(get, source, lambda i, k=k: i >= k)
            yield f"cut_holes_{source}_{suffix}", f".{suffix}", _keep(get, source, lambda i: i % 15 != 7)
            yield f"cut_end_{source}_{suffix}", f".{suffix}", _keep(get, source, lambda i: i < 31)
    for source in (
        "libx264_b3_ts",
        "libx264_b3_mkv",
        "libx264_b3_fragments",
        "libx264_b3_avi",
        "libx264_b3_flv",
        "mpeg2video_b2_mpg",
        "libx264_b3_h264",
        "libvpx_plain_webm",
    ):
        for share in (0.31, 0.62, 0.94):
            yield (
                f"cut_bytes_{share}_{source}",
                CONTAINERS[source.rsplit("_", 1)[1]][0],
                _keep_bytes(get, source, 0, share),
            )
            if source.endswith(("_ts", "_mpg", "_h264")):
                yield (
                    f"cut_bytes_start_{share}_{source}",
                    CONTAINERS[source.rsplit("_", 1)[1]][0],
                    _keep_bytes(get, source, share / 2, 1),
                )


def _keep(get: Get, source: str, wanted: Callable[[int], bool]) -> Callable[[Path], object]:
    return lambda path: remux(get(source), path, lambda i, packet: [packet] if wanted(i) else [])


def _keep_bytes(get: Get, source: str, begin: float, end: float) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        data = get(source).read_bytes()
        path.write_bytes(data[int(begin * len(data)) : int(end * len(data))])

    return build
