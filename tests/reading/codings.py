# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which encodings go into which containers: everything that the installed FFmpeg writes and a data set may hold."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from media import Found, Get, encode

Settings = dict[str, Any]  # of `encode`
Variants = dict[str, Settings]

SAME = "mp4 mov f4v 3gp webm avi flv vob nut mxf gxf ismv wtv ivf obu h264 hevc m4v mjpeg dnxhd gif apng avif dv rm roq"
# Container: (suffix, muxer, its options)
CONTAINERS: dict[str, tuple[str, str, dict[str, str]]] = {name: (f".{name}", name, {}) for name in SAME.split()}
CONTAINERS |= {name: (f".{name}", name, {}) for name in ("h261", "h263", "swf")}
CONTAINERS |= {
    "faststart": (".mp4", "mp4", {"movflags": "faststart"}),
    "fragments": (".mp4", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "fragments_short": (".mp4", "mp4", {"movflags": "frag_every_frame+default_base_moof"}),
    "dash": (".mp4", "mp4", {"movflags": "dash+frag_keyframe", "frag_duration": "200000"}),
    "no_edits": (".mp4", "mp4", {"use_editlist": "0"}),
    "negative_offsets": (".mp4", "mp4", {"movflags": "negative_cts_offsets"}),
    "mkv": (".mkv", "matroska", {}),
    "mkv_small_clusters": (".mkv", "matroska", {"cluster_time_limit": "100", "live": "1"}),
    "asf": (".wmv", "asf", {}),
    "ts": (".ts", "mpegts", {}),
    "m2ts": (".m2ts", "mpegts", {"mpegts_m2ts_mode": "1"}),
    "mpg": (".mpg", "mpeg", {}),
    "dvd": (".mpg", "dvd", {}),
    "ogg": (".ogv", "ogg", {}),
    "m1v": (".m1v", "mpeg1video", {}),
    "m2v": (".m2v", "mpeg2video", {}),
    "dirac": (".drc", "dirac", {}),
    "smjpeg": (".sjpg", "smjpeg", {}),
    "y4m": (".y4m", "yuv4mpegpipe", {}),
    "film": (".cpk", "film_cpk", {}),
}


def _with(options: str = "", **settings: Any) -> Settings:
    return {"options": dict(option.split("=", 1) for option in options.split()), **settings}


def _x264(params: str, **settings: Any) -> Settings:
    return _with(f"preset=veryfast crf=18 x264-params=keyint=12:scenecut=0:b-adapt=0:{params}", **settings)


def _x265(params: str, **settings: Any) -> Settings:
    always = "keyint=12:min-keyint=12:scenecut=0:b-adapt=0:log-level=none:pools=none:frame-threads=1"
    return _with(f"preset=ultrafast crf=18 x265-params={always}:{params}", **settings)


def _plain(options: str = "", **settings: Any) -> Variants:
    return {"plain": _with(options, **settings)}


def _some(variants: Variants, names: str) -> Variants:
    return {name: variants[name] for name in names.split()}


X264: Variants = {
    "b0": _x264("bframes=0"),
    "b1": _x264("bframes=1"),
    "b3": _x264("bframes=3"),
    "pyramid": _x264("bframes=5:b-pyramid=normal:ref=4"),
    "strict_pyramid": _x264("bframes=3:b-pyramid=strict"),
    "open_gop": _x264("bframes=3:open-gop=1"),
    "open_pyramid": _x264("bframes=7:b-pyramid=normal:open-gop=1:ref=5"),
    "refresh": _x264("bframes=0:intra-refresh=1"),
    "refresh_b": _x264("bframes=2:intra-refresh=1"),
    "slices": _x264("bframes=2:slices=3"),
    "tff": _x264("bframes=2:tff=1"),
    "bff": _x264("bframes=0:bff=1"),
    "fake_interlaced": _x264("bframes=2:fake-interlaced=1"),
    "pulldown": _x264("bframes=2:pic-struct=1:pulldown=32", rate=Fraction(24000, 1001)),
    "422": _x264("bframes=2", pix_fmt="yuv422p"),
    "444": _x264("bframes=2", pix_fmt="yuv444p"),
    "10bit": _x264("bframes=2", pix_fmt="yuv420p10le"),
    "full_range": _x264("bframes=2:fullrange=on", pix_fmt="yuvj420p"),
    "grey": _x264("bframes=2", pix_fmt="gray"),
    "many_refs": _x264("bframes=3:ref=16:weightp=2:weightb=1:keyint=40"),
    "one_key": _x264("bframes=3:keyint=1000"),
    "intra": _x264("keyint=1"),
    "n1": _x264("bframes=3", n=1),
    "n2": _x264("bframes=3", n=2),
    "n3": _x264("bframes=3", n=3),
    "n7": _x264("bframes=3:keyint=4", n=7),
    "ntsc": _x264("bframes=2", rate=Fraction(30000, 1001)),
    "fps1": _x264("bframes=2", rate=1),
    "fps1000": _x264("bframes=2", rate=1000),
    "fps3000": _x264("bframes=2", rate=3000),
    "long": _x264("bframes=3:keyint=250", n=600),
    "wide_pixels": _x264("bframes=2", aspect=Fraction(16, 11)),
    "odd_size": _x264("bframes=2", size=(70, 50)),
    "sound": _x264("bframes=2", sound=True),
    "larger": _x264("bframes=3", size=(448, 336), n=30),
    "n120": _x264("bframes=3:keyint=30", n=120),
}
X265: Variants = {
    "b0": _x265("bframes=0"),
    "closed": _x265("bframes=3:open-gop=0"),
    "open_gop": _x265("bframes=3:open-gop=1"),
    "pyramid": _x265("bframes=6:b-pyramid=1:open-gop=1:rc-lookahead=10"),
    "fields": _x265("bframes=2:interlace=tff:open-gop=0"),
    "10bit": _x265("bframes=3", pix_fmt="yuv420p10le"),
    "n2": _x265("bframes=3", n=2),
}
MPEG4: Variants = {
    "b0": _with("g=12 qmin=2 qmax=4"),
    "b1": _with("bf=1 g=12 q=3 sc_threshold=1000000000"),
    "b2": _with("bf=2 g=12 qmin=2 qmax=4"),
    "interlaced": _with("bf=1 g=12 flags=+ildct+ilme q=3"),
    "qpel_gmc": _with("bf=2 g=12 flags=+qpel+mv4 q=3"),
    "closed": _with("bf=2 g=12 flags=+cgop q=3 sc_threshold=1000000000"),
    "partitioned": _with("g=12 data_partitioning=1 ps=200 q=3"),
}
MPEG12: Variants = {
    "b0": _with("g=12 q=3"),
    "b2": _with("bf=2 g=12 q=3"),
    "interlaced": _with("bf=2 g=12 flags=+ildct+ilme q=3"),
    "intra": _with("g=1 q=3"),
}
VPX: Variants = {
    "plain": _with("g=15 deadline=realtime cpu-used=8"),
    "alt_ref": _with("g=20 auto-alt-ref=1 lag-in-frames=16 deadline=good cpu-used=4"),
}
FULL, DEEP, G12 = _plain(pix_fmt="yuvj420p"), _plain(pix_fmt="yuv422p10le"), _plain("g=12 q=3")
VC2 = _plain("slice_width=32 slice_height=16 strict=-1", pix_fmt="yuv422p10le", size=(64, 64))

GROUPS: list[tuple[str, str, Variants]] = [
    ("libx264", "mp4 mkv avi ts", X264),
    ("libx264", "mov fragments flv asf h264 nut", _some(X264, "b0 b3 open_pyramid tff one_key")),
    ("libx264", "faststart fragments_short dash no_edits negative_offsets f4v 3gp", _some(X264, "b3 open_gop")),
    ("libx264", "mkv_small_clusters", _some(X264, "b3 open_gop")),
    ("libx264", "m2ts mpg vob mxf ismv wtv", _some(X264, "b0 b3 refresh slices")),
    ("libx265", "mp4 mkv ts hevc nut", X265),
    ("libx265", "mov fragments flv m2ts mpg", _some(X265, "open_gop closed")),
    ("mpeg4", "avi mp4 mkv mov ts m4v nut", MPEG4),
    ("mpeg4", "3gp asf mpg wtv fragments", _some(MPEG4, "b0 b2")),
    ("mpeg2video", "ts mpg vob mkv mp4 avi m2v mxf", MPEG12),
    ("mpeg2video", "mov nut dvd m2ts wtv", _some(MPEG12, "b0 b2")),
    ("mpeg1video", "mpg m1v avi mkv", _some(MPEG12, "b0 b2 intra")),
    ("libvpx", "webm mkv ivf ogg avi nut", VPX),
    ("libvpx-vp9", "webm ivf mp4 mkv avi nut", VPX),
    ("libsvtav1", "mp4 webm ivf obu mkv ts avif", _plain("preset=12 g=16", size=(64, 64))),
    ("mjpeg", "avi mov mkv mp4 mjpeg nut smjpeg", FULL),
    ("ffv1", "mkv avi nut", _plain() | {"gop": _with("g=10 level=1")}),
    ("prores_ks", "mov mkv mxf", DEEP | {"tff": _with("flags=+ildct", pix_fmt="yuv422p10le")}),
    ("dnxhd", "mov mxf dnxhd", _plain("profile=dnxhr_sq", pix_fmt="yuv422p", size=(256, 128), n=20)),
    ("wmv1", "asf avi", G12),
    ("wmv2", "asf avi", G12),
    ("msmpeg4", "avi asf mkv", G12),
    ("msmpeg4v2", "avi asf", G12),
    ("flv", "flv avi swf", G12),
    ("flashsv", "flv", _plain("g=12", pix_fmt="bgr24")),
    ("h263", "3gp avi mov h263", _plain("g=12", size=(128, 96))),
    ("h263p", "avi", _plain("g=12", size=(128, 96))),
    ("h261", "avi h261", _plain("g=12", size=(176, 144))),
    ("gif", "gif", _plain(pix_fmt="rgb8") | {"grey": _with(pix_fmt="gray")}),
    ("gif", "gif", {"fps10": _with(pix_fmt="rgb8", rate=10)}),
    ("apng", "apng", _plain(pix_fmt="rgb24") | {"pal": _with(pix_fmt="rgba")}),
    ("png", "mov avi", _plain(pix_fmt="rgb24") | {"rgba": _with(pix_fmt="rgba")}),
    ("qtrle", "mov", _plain(pix_fmt="rgb24") | {"argb": _with(pix_fmt="argb")}),
    ("rawvideo", "mov avi nut", _plain() | {"uyvy": _with(pix_fmt="uyvy422"), "rgb": _with(pix_fmt="rgb24")}),
    ("rawvideo", "y4m mkv", _plain()),
    ("huffyuv", "avi", _plain(pix_fmt="yuv422p")),
    ("utvideo", "avi", _plain(pix_fmt="yuv420p")),
    ("magicyuv", "avi", _plain(pix_fmt="yuv444p")),
    ("snow", "avi nut", _plain("strict=-2")),
    ("cinepak", "mov avi film", _plain(pix_fmt="rgb24")),
    ("svq1", "mov", _plain("g=12", pix_fmt="yuv410p")),
    ("vc2", "dirac mkv ogg mov", VC2),
    ("rv10", "rm", _plain("g=12")),
    ("rv20", "rm", _plain("g=12 bf=0")),
    ("roqvideo", "roq", _plain(pix_fmt="yuvj444p", size=(64, 64), rate=30)),
    ("asv1", "avi", _plain()),
    ("asv2", "avi", _plain()),
    ("zmbv", "avi", _plain("g=12", pix_fmt="bgr0")),
    ("msvideo1", "avi", _plain("g=12", pix_fmt="rgb555le")),
    ("cfhd", "mov avi", DEEP),
    ("jpeg2000", "mov mxf mkv avi", _plain(n=16)),
    ("ljpeg", "avi", FULL),
    ("v210", "mov avi", DEEP),
    ("targa", "mov", _plain(pix_fmt="bgr24")),
    ("speedhq", "nut", _plain()),
    ("dvvideo", "avi mov dv", _plain(size=(720, 576), pix_fmt="yuv420p", n=12)),
]


def encoded() -> Found:
    """Yield each encoding in each container."""
    for codec, containers, variants in GROUPS:
        for variant, settings in variants.items():
            for container in containers.split():
                yield f"{codec}_{variant}_{container}", CONTAINERS[container][0], encode_in, codec, container, settings


def encode_in(path: Path, get: Get, codec: str, container: str, settings: Settings) -> None:
    """Write one encoding in one container."""
    _, mux_format, mux_options = CONTAINERS[container]
    encode(path, codec, mux_format=mux_format, mux_options=mux_options, **settings)
