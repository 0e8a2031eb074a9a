# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which encodings go into which containers: everything that the installed FFmpeg writes and a data set may hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from media import encode

# Container: (suffix, muxer, its options)
CONTAINERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "mp4": (".mp4", "mp4", {}),
    "faststart": (".mp4", "mp4", {"movflags": "faststart"}),
    "fragments": (".mp4", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "fragments_short": (".mp4", "mp4", {"movflags": "frag_every_frame+default_base_moof"}),
    "dash": (".mp4", "mp4", {"movflags": "dash+frag_keyframe", "frag_duration": "200000"}),
    "no_edits": (".mp4", "mp4", {"use_editlist": "0"}),
    "negative_offsets": (".mp4", "mp4", {"movflags": "negative_cts_offsets"}),
    "mov": (".mov", "mov", {}),
    "f4v": (".f4v", "f4v", {}),
    "3gp": (".3gp", "3gp", {}),
    "mkv": (".mkv", "matroska", {}),
    "mkv_small_clusters": (".mkv", "matroska", {"cluster_time_limit": "100", "live": "1"}),
    "webm": (".webm", "webm", {}),
    "avi": (".avi", "avi", {}),
    "asf": (".wmv", "asf", {}),
    "flv": (".flv", "flv", {}),
    "ts": (".ts", "mpegts", {}),
    "m2ts": (".m2ts", "mpegts", {"mpegts_m2ts_mode": "1"}),
    "mpg": (".mpg", "mpeg", {}),
    "vob": (".vob", "vob", {}),
    "dvd": (".mpg", "dvd", {}),
    "ogg": (".ogv", "ogg", {}),
    "nut": (".nut", "nut", {}),
    "mxf": (".mxf", "mxf", {}),
    "gxf": (".gxf", "gxf", {}),
    "ismv": (".ismv", "ismv", {}),
    "wtv": (".wtv", "wtv", {}),
    "ivf": (".ivf", "ivf", {}),
    "obu": (".obu", "obu", {}),
    "h264": (".h264", "h264", {}),
    "hevc": (".hevc", "hevc", {}),
    "m4v": (".m4v", "m4v", {}),
    "m1v": (".m1v", "mpeg1video", {}),
    "m2v": (".m2v", "mpeg2video", {}),
    "mjpeg": (".mjpeg", "mjpeg", {}),
    "dnxhd": (".dnxhd", "dnxhd", {}),
    "dirac": (".drc", "dirac", {}),
    "gif": (".gif", "gif", {}),
    "apng": (".apng", "apng", {}),
    "avif": (".avif", "avif", {}),
    "dv": (".dv", "dv", {}),
    "smjpeg": (".sjpg", "smjpeg", {}),
    "y4m": (".y4m", "yuv4mpegpipe", {}),
    "rm": (".rm", "rm", {}),
    "film": (".cpk", "film_cpk", {}),
    "roq": (".roq", "roq", {}),
    "h261": (".h261", "h261", {}),
    "h263": (".h263", "h263", {}),
    "swf": (".swf", "swf", {}),
}


def _x264(params: str = "", **options: str) -> dict[str, str]:
    always = "keyint=12:scenecut=0:b-adapt=0"
    return {"preset": "veryfast", "crf": "18", "x264-params": f"{always}:{params}".rstrip(":"), **options}


def _x265(params: str) -> dict[str, str]:
    always = "keyint=12:min-keyint=12:scenecut=0:b-adapt=0:log-level=none:pools=none:frame-threads=1"
    return {"preset": "ultrafast", "crf": "18", "x265-params": f"{always}:{params}"}


X264: dict[str, dict[str, Any]] = {
    "b0": {"options": _x264("bframes=0")},
    "b1": {"options": _x264("bframes=1")},
    "b3": {"options": _x264("bframes=3")},
    "pyramid": {"options": _x264("bframes=5:b-pyramid=normal:ref=4")},
    "strict_pyramid": {"options": _x264("bframes=3:b-pyramid=strict")},
    "open_gop": {"options": _x264("bframes=3:open-gop=1")},
    "open_pyramid": {"options": _x264("bframes=7:b-pyramid=normal:open-gop=1:ref=5")},
    "refresh": {"options": _x264("bframes=0:intra-refresh=1")},
    "refresh_b": {"options": _x264("bframes=2:intra-refresh=1")},
    "slices": {"options": _x264("bframes=2:slices=3")},
    "tff": {"options": _x264("bframes=2:tff=1")},
    "bff": {"options": _x264("bframes=0:bff=1")},
    "fake_interlaced": {"options": _x264("bframes=2:fake-interlaced=1")},
    "pulldown": {"options": _x264("bframes=2:pic-struct=1:pulldown=32"), "rate": Fraction(24000, 1001)},
    "422": {"options": _x264("bframes=2"), "pix_fmt": "yuv422p"},
    "444": {"options": _x264("bframes=2"), "pix_fmt": "yuv444p"},
    "10bit": {"options": _x264("bframes=2"), "pix_fmt": "yuv420p10le"},
    "full_range": {"options": _x264("bframes=2:fullrange=on"), "pix_fmt": "yuvj420p"},
    "grey": {"options": _x264("bframes=2"), "pix_fmt": "gray"},
    "many_refs": {"options": _x264("bframes=3:ref=16:weightp=2:weightb=1:keyint=40")},
    "one_key": {"options": _x264("bframes=3:keyint=1000")},
    "intra": {"options": _x264("keyint=1")},
    "n1": {"options": _x264("bframes=3"), "n": 1},
    "n2": {"options": _x264("bframes=3"), "n": 2},
    "n3": {"options": _x264("bframes=3"), "n": 3},
    "n7": {"options": _x264("bframes=3:keyint=4"), "n": 7},
    "ntsc": {"options": _x264("bframes=2"), "rate": Fraction(30000, 1001)},
    "fps1": {"options": _x264("bframes=2"), "rate": 1},
    "fps1000": {"options": _x264("bframes=2"), "rate": 1000},
    "fps3000": {"options": _x264("bframes=2"), "rate": 3000},
    "long": {"options": _x264("bframes=3:keyint=250"), "n": 600},
    "wide_pixels": {"options": _x264("bframes=2"), "aspect": Fraction(16, 11)},
    "odd_size": {"options": _x264("bframes=2"), "size": (70, 50)},
    "sound": {"options": _x264("bframes=2"), "sound": True},
    "larger": {"options": _x264("bframes=3"), "size": (448, 336), "n": 30},
    "n120": {"options": _x264("bframes=3:keyint=30"), "n": 120},
}
X265: dict[str, dict[str, Any]] = {
    "b0": {"options": _x265("bframes=0")},
    "closed": {"options": _x265("bframes=3:open-gop=0")},
    "open_gop": {"options": _x265("bframes=3:open-gop=1")},
    "pyramid": {"options": _x265("bframes=6:b-pyramid=1:open-gop=1:rc-lookahead=10")},
    "fields": {"options": _x265("bframes=2:interlace=tff:open-gop=0")},
    "10bit": {"options": _x265("bframes=3"), "pix_fmt": "yuv420p10le"},
    "n2": {"options": _x265("bframes=3"), "n": 2},
}
MPEG4: dict[str, dict[str, Any]] = {
    "b0": {"options": {"g": "12", "qmin": "2", "qmax": "4"}},
    "b1": {"options": {"bf": "1", "g": "12", "q": "3", "sc_threshold": "1000000000"}},
    "b2": {"options": {"bf": "2", "g": "12", "qmin": "2", "qmax": "4"}},
    "interlaced": {"options": {"bf": "1", "g": "12", "flags": "+ildct+ilme", "q": "3"}},
    "qpel_gmc": {"options": {"bf": "2", "g": "12", "flags": "+qpel+mv4", "q": "3"}},
    "closed": {"options": {"bf": "2", "g": "12", "flags": "+cgop", "q": "3", "sc_threshold": "1000000000"}},
    "partitioned": {"options": {"g": "12", "data_partitioning": "1", "ps": "200", "q": "3"}},
}
MPEG12: dict[str, dict[str, Any]] = {
    "b0": {"options": {"g": "12", "q": "3"}},
    "b2": {"options": {"bf": "2", "g": "12", "q": "3"}},
    "interlaced": {"options": {"bf": "2", "g": "12", "flags": "+ildct+ilme", "q": "3"}},
    "intra": {"options": {"g": "1", "q": "3"}},
}
VPX: dict[str, dict[str, Any]] = {
    "plain": {"options": {"g": "15", "deadline": "realtime", "cpu-used": "8"}},
    "alt_ref": {
        "options": {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "4"}
    },
}
PLAIN: dict[str, dict[str, Any]] = {"plain": {}}


@dataclass(frozen=True)
class Group:
    codec: str
    containers: str
    variants: dict[str, dict[str, Any]] = field(default_factory=lambda: PLAIN)


GROUPS = [
    Group("libx264", "mp4 mkv avi ts", X264),
    Group(
        "libx264",
        "mov fragments flv asf h264 nut",
        {k: X264[k] for k in ("b0", "b3", "open_pyramid", "tff", "one_key")},
    ),
    Group(
        "libx264",
        "faststart fragments_short dash no_edits negative_offsets f4v 3gp mkv_small_clusters",
        {k: X264[k] for k in ("b3", "open_gop")},
    ),
    Group("libx264", "m2ts mpg vob mxf ismv wtv", {k: X264[k] for k in ("b0", "b3", "refresh", "slices")}),
    Group("libx265", "mp4 mkv ts hevc nut", X265),
    Group("libx265", "mov fragments flv m2ts mpg", {k: X265[k] for k in ("open_gop", "closed")}),
    Group("mpeg4", "avi mp4 mkv mov ts m4v nut", MPEG4),
    Group("mpeg4", "3gp asf mpg wtv fragments", {k: MPEG4[k] for k in ("b0", "b2")}),
    Group("mpeg2video", "ts mpg vob mkv mp4 avi m2v mxf", MPEG12),
    Group("mpeg2video", "mov nut dvd m2ts wtv", {k: MPEG12[k] for k in ("b0", "b2")}),
    Group("mpeg1video", "mpg m1v avi mkv", {k: MPEG12[k] for k in ("b0", "b2", "intra")}),
    Group("libvpx", "webm mkv ivf ogg avi nut", VPX),
    Group("libvpx-vp9", "webm ivf mp4 mkv avi nut", VPX),
    Group(
        "libsvtav1",
        "mp4 webm ivf obu mkv ts avif",
        {"plain": {"options": {"preset": "12", "g": "16"}, "size": (64, 64)}},
    ),
    Group("mjpeg", "avi mov mkv mp4 mjpeg nut smjpeg", {"plain": {"pix_fmt": "yuvj420p"}}),
    Group("ffv1", "mkv avi nut", {"plain": {}, "gop": {"options": {"g": "10", "level": "1"}}}),
    Group(
        "prores_ks",
        "mov mkv mxf",
        {"plain": {"pix_fmt": "yuv422p10le"}, "tff": {"pix_fmt": "yuv422p10le", "options": {"flags": "+ildct"}}},
    ),
    Group(
        "dnxhd",
        "mov mxf dnxhd",
        {"plain": {"pix_fmt": "yuv422p", "size": (256, 128), "n": 20, "options": {"profile": "dnxhr_sq"}}},
    ),
    Group("wmv1", "asf avi", {"plain": {"options": {"g": "12", "q": "3"}}}),
    Group("wmv2", "asf avi", {"plain": {"options": {"g": "12", "q": "3"}}}),
    Group("msmpeg4", "avi asf mkv", {"plain": {"options": {"g": "12", "q": "3"}}}),
    Group("msmpeg4v2", "avi asf", {"plain": {"options": {"g": "12", "q": "3"}}}),
    Group("flv", "flv avi swf", {"plain": {"options": {"g": "12", "q": "3"}}}),
    Group("flashsv", "flv", {"plain": {"pix_fmt": "bgr24", "options": {"g": "12"}}}),
    Group("h263", "3gp avi mov h263", {"plain": {"size": (128, 96), "options": {"g": "12"}}}),
    Group("h263p", "avi", {"plain": {"size": (128, 96), "options": {"g": "12"}}}),
    Group("h261", "avi h261", {"plain": {"size": (176, 144), "options": {"g": "12"}}}),
    Group(
        "gif",
        "gif",
        {"plain": {"pix_fmt": "rgb8"}, "grey": {"pix_fmt": "gray"}, "fps10": {"pix_fmt": "rgb8", "rate": 10}},
    ),
    Group("apng", "apng", {"plain": {"pix_fmt": "rgb24"}, "pal": {"pix_fmt": "rgba"}}),
    Group("png", "mov avi", {"plain": {"pix_fmt": "rgb24"}, "rgba": {"pix_fmt": "rgba"}}),
    Group("qtrle", "mov", {"plain": {"pix_fmt": "rgb24"}, "argb": {"pix_fmt": "argb"}}),
    Group("rawvideo", "mov avi nut", {"plain": {}, "uyvy": {"pix_fmt": "uyvy422"}, "rgb": {"pix_fmt": "rgb24"}}),
    Group("rawvideo", "y4m mkv", PLAIN),
    Group("huffyuv", "avi", {"plain": {"pix_fmt": "yuv422p"}}),
    Group("utvideo", "avi", {"plain": {"pix_fmt": "yuv420p"}}),
    Group("magicyuv", "avi", {"plain": {"pix_fmt": "yuv444p"}}),
    Group("snow", "avi nut", {"plain": {"options": {"strict": "-2"}}}),
    Group("cinepak", "mov avi film", {"plain": {"pix_fmt": "rgb24"}}),
    Group("svq1", "mov", {"plain": {"pix_fmt": "yuv410p", "options": {"g": "12"}}}),
    Group(
        "vc2",
        "dirac mkv ogg mov",
        {
            "plain": {
                "pix_fmt": "yuv422p10le",
                "size": (64, 64),
                "options": {"slice_width": "32", "slice_height": "16", "strict": "-1"},
            }
        },
    ),
    Group("rv10", "rm", {"plain": {"options": {"g": "12"}}}),
    Group("rv20", "rm", {"plain": {"options": {"g": "12", "bf": "0"}}}),
    Group("roqvideo", "roq", {"plain": {"pix_fmt": "yuvj444p", "size": (64, 64), "rate": 30}}),
    Group("asv1", "avi", PLAIN),
    Group("asv2", "avi", PLAIN),
    Group("zmbv", "avi", {"plain": {"pix_fmt": "bgr0", "options": {"g": "12"}}}),
    Group("msvideo1", "avi", {"plain": {"pix_fmt": "rgb555le", "options": {"g": "12"}}}),
    Group("cfhd", "mov avi", {"plain": {"pix_fmt": "yuv422p10le"}}),
    Group("jpeg2000", "mov mxf mkv avi", {"plain": {"n": 16}}),
    Group("ljpeg", "avi", {"plain": {"pix_fmt": "yuvj420p"}}),
    Group("v210", "mov avi", {"plain": {"pix_fmt": "yuv422p10le"}}),
    Group("targa", "mov", {"plain": {"pix_fmt": "bgr24"}}),
    Group("speedhq", "nut", PLAIN),
    Group("dvvideo", "avi mov dv", {"plain": {"size": (720, 576), "pix_fmt": "yuv420p", "n": 12}}),
]


def encoded() -> Iterator[tuple[str, str, Callable[[Path], object]]]:
    """Yield (name, suffix, how to write it) of each encoding in each container."""
    for group in GROUPS:
        for variant, settings in group.variants.items():
            for container in group.containers.split():
                suffix, mux_format, mux_options = CONTAINERS[container]

                def build(path: Path, group=group, settings=settings, fmt=mux_format, options=mux_options) -> object:
                    return encode(path, group.codec, mux_format=fmt, mux_options=options, **settings)

                yield f"{group.codec}_{variant}_{container}", suffix, build
