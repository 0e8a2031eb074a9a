# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files put together: pieces one behind the other, tracks side by side, and pieces cut off."""

from pathlib import Path
from typing import Any

import av
from codings import CONTAINERS, MPEG12, VPX, X264, X265, Variants, encode_in
from media import Found, Get, copied, copy_of

PIECES: list[tuple[str, str, Variants, str]] = [  # container, codec, its variants, those to join
    ("ts", "libx264", X264, "b3 open_gop b0 tff"),
    ("m2ts", "libx264", X264, "b3"),
    ("h264", "libx264", X264, "b3 b0 open_gop one_key"),
    ("hevc", "libx265", X265, "open_gop closed"),
    ("mpg", "mpeg2video", MPEG12, "b2"),
    ("vob", "mpeg2video", MPEG12, "b0"),
    ("m2v", "mpeg2video", MPEG12, "b2"),
    ("m4v", "mpeg4", MPEG12, "b2"),
    ("mjpeg", "mjpeg", {"plain": {"pix_fmt": "yuvj420p"}}, "plain"),
    ("mkv", "libx264", X264, "b3 b0"),
    ("webm", "libvpx", VPX, "plain"),
    ("flv", "libx264", X264, "b3 b0"),
    ("fragments", "libx264", X264, "b3 b0"),
    ("mp4", "libx264", X264, "b3"),
    ("avi", "mpeg4", MPEG12, "b0"),
    ("ogg", "libvpx", VPX, "plain"),
    ("nut", "libx264", X264, "b3"),
    ("ivf", "libvpx", VPX, "plain"),
    ("asf", "wmv2", {"plain": MPEG12["b0"]}, "plain"),
    ("gif", "gif", {"plain": {"pix_fmt": "rgb8"}}, "plain"),
]
SMALL, LARGE = (64, 48), (96, 64)
SIZES = {
    "two": [(SMALL, 30), (SMALL, 20)],
    "four": [(SMALL, 20), (SMALL, 25), (SMALL, 14), (SMALL, 30)],
    "short": [(SMALL, 2), (SMALL, 30), (SMALL, 1)],
    "other_size": [(SMALL, 30), (LARGE, 20)],
    "three_sizes": [(LARGE, 20), (SMALL, 12), (LARGE, 20)],
}


def pieces() -> Found:
    """Yield files that were joined byte by byte, as `cat` does."""
    for container, codec, variants, names in PIECES:
        for name in names.split():
            for label in SIZES:
                suffix, long = CONTAINERS[container][0], f"joined_{label}_{codec}_{name}_{container}"
                yield long, suffix, _join, codec, container, variants[name], label


def _join(path: Path, get: Get, codec: str, container: str, settings: dict[str, Any], label: str) -> None:
    data, first = b"", 0
    for size, n in SIZES[label]:
        encode_in(path, get, codec, container, {**settings, "size": size, "n": n, "first": first})
        data, first = data + path.read_bytes(), first + n
    path.write_bytes(data)


def codecs() -> Found:
    """Yield transport streams whose codec changes, of which FFmpeg decodes what it decodes."""
    for one, other in (
        ("libx264_b3_ts", "mpeg2video_b2_ts"),
        ("mpeg2video_b2_ts", "libx265_open_gop_ts"),
        ("libx264_b0_ts", "libx264_b3_mpg"),
    ):
        yield f"cut_joined_{one}_{other}", ".ts", _appended, one, other


def _appended(path: Path, get: Get, one: str, other: str) -> None:
    path.write_bytes(get(one).read_bytes() + get(other).read_bytes())


BESIDE = {
    "larger_second": "libx264_b3_mp4 libx264_larger_mp4",
    "smaller_second": "libx264_larger_mp4 libx264_b3_mp4",
    "same": "libx264_b3_mp4 libx264_b0_mp4",
    "sound": "libx264_b3_mp4 libx264_sound_mp4/sound",
    "sound_first": "libx264_sound_mp4/sound libx264_open_gop_mp4",
    "mpeg4": "mpeg4_b0_mp4 libx264_b1_mp4",
}


def beside() -> Found:
    """Yield files with further tracks: another video before or behind, sound, a cover picture."""
    for container in ("mp4", "mkv", "ts", "avi", "mov", "nut", "fragments"):
        for label, tracks in BESIDE.items():
            yield f"beside_{label}_{container}", CONTAINERS[container][0], _side_by_side, tracks, container
    for suffix in ("mp4", "mkv", "mov"):
        yield f"cover_{suffix}", f".{suffix}", _with_cover


def _side_by_side(path: Path, get: Get, tracks: str, container: str) -> None:
    _, mux_format, options = CONTAINERS[container]
    with av.open(str(path), "w", format=mux_format, options=options) as new:
        packets = []
        for track in tracks.split():
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


def _with_cover(path: Path, get: Get) -> None:
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


COPIED = "libx264_b3_mp4 libx264_open_gop_mp4 libx264_refresh_mp4 libx265_open_gop_mkv mpeg4_b2_mp4 libvpx_plain_webm"
COPIED += " libx264_b3_ts libx264_open_gop_ts mpeg2video_b2_ts libvpx-vp9_plain_webm libsvtav1_plain_mp4"
BYTES = "libx264_b3_ts libx264_b3_mkv libx264_b3_fragments libx264_b3_avi libx264_b3_flv mpeg2video_b2_mpg"
BYTES += " libx264_b3_h264 libvpx_plain_webm"


def cuts() -> Found:
    """Yield files without their first packets, without their last, or cut between two bytes."""
    for source in COPIED.split():
        for suffix in ("mkv", "mp4", "ts", "avi"):
            for k in (1, 5, 12):
                yield (
                    f"cut_first_{k}_{source}_{suffix}",
                    f".{suffix}",
                    copied,
                    source,
                    lambda i, one, k=k: [one] * (i >= k),
                )
            yield f"cut_holes_{source}_{suffix}", f".{suffix}", copied, source, lambda i, one: [one] * (i % 15 != 7)
            yield f"cut_end_{source}_{suffix}", f".{suffix}", copied, source, lambda i, one: [one] * (i < 31)
    for source in BYTES.split():
        suffix = CONTAINERS[source.rsplit("_", 1)[1]][0]
        for share in (0.31, 0.62, 0.94):
            yield f"cut_bytes_{share}_{source}", suffix, _keep_bytes, source, 0, share
            if source.endswith(("_ts", "_mpg", "_h264")):
                yield f"cut_bytes_start_{share}_{source}", suffix, _keep_bytes, source, share / 2, 1


def _keep_bytes(path: Path, get: Get, source: str, begin: float, end: float) -> None:
    data = get(source).read_bytes()
    path.write_bytes(data[int(begin * len(data)) : int(end * len(data))])
