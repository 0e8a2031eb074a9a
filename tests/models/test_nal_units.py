# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf_rlt.models.nal_units` on what encoders write, and on packets put together otherwise."""

import io
from functools import cache
from itertools import pairwise

import av
import pytest

from helpers.videos import picture
from hf_rlt.models.nal_units import PictureScan

X265 = "keyint=8:bframes=2:log-level=none"
H264 = [("yuv420p", "bframes=2:keyint=5"), ("yuv420p", "cqm=jvt:8x8dct=1:open-gop=1:keyint=6")]
H264 += [("yuv444p", "cqm=jvt:8x8dct=1"), ("yuv422p10le", "bframes=0:slices=3")]
H264 += [("gray", "ref=4:weightp=2:b-pyramid=strict")]


@cache
def encoded(form, codec="libx264", n=12, pix_fmt="yuv420p", params="", **options):
    """Return the decoder's extradata, and the packets of a clip."""
    file = io.BytesIO()
    options[f"{codec[3:]}-params"] = params
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        return container.streams.video[0].codec_context.extradata, packets


def scanned(codec, extradata, packets):
    """Return what a new scan says of each packet, in turn."""
    scan = PictureScan(codec, extradata)
    return [scan.holds_next(packet) for packet in packets]


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts", "h264"])
@pytest.mark.parametrize(("pix_fmt", "params"), H264)
def test_frames_of_h264(form, pix_fmt, params):
    extradata, packets = encoded(form, n=24, pix_fmt=pix_fmt, params=params)
    assert extradata.startswith(b"\1") == (form in ("mp4", "matroska"))
    assert scanned("h264", extradata, packets) == [True] * 24
    assert not any(scanned("h264", extradata, [a + b])[0] for a, b in pairwise(packets))


@pytest.mark.parametrize("form", ["mp4", "mpegts"])
def test_a_missing_picture_is_noticed_if_others_are_decoded_from_it(form):
    extradata, packets = encoded(form, n=24, params="bframes=2:b-adapt=0:b-pyramid=none:keyint=12:scenecut=0")
    size = 4 if form == "mp4" else None
    for gone in range(1, 10):
        data = packets[gone]
        header = data[size] if size else next(unit[0] for unit in data.split(b"\0\0\1")[1:] if unit[0] & 31 in (1, 5))
        found = scanned("h264", extradata, packets[:gone] + packets[gone + 1 :])
        assert all(found) == (header >> 5 & 3 == 0), gone


@pytest.mark.parametrize("form", ["mp4", "mpegts"])
def test_h264_that_may_hold_fields(form):
    extradata, _ = encoded(form, flags="+ildct+ilme", params="tff=1")
    with pytest.raises(ValueError, match="fields"):
        PictureScan("h264", extradata)


@pytest.mark.parametrize("form", ["mp4", "mpegts", "hevc"])
def test_frames_of_hevc(form):
    extradata, packets = encoded(form, "libx265", preset="ultrafast", params=X265)
    assert scanned("hevc", extradata, packets) == [True] * 12
    assert scanned("hevc", extradata, [packets[0] + packets[1]]) == [False]


def test_an_hevc_picture_that_drops_those_before_it():
    extradata, packets = encoded("mp4", "libx265", preset="ultrafast", params=X265 + ":open-gop=0")
    key = bytearray(packets[8])
    assert 16 <= key[4] >> 1 & 63 <= 23
    key[6] |= 64
    assert scanned("hevc", extradata, [packets[8], bytes(key)]) == [True, False]


BROKEN = [b"", b"\0", b"\0\0\1", b"\0\0\0\1\x06\x05\x01\x80", b"\0\0\0\3\x06\x05\x01", bytes(64), b"\xff" * 64]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("data", BROKEN)
def test_packets_without_a_picture(codec, data):
    for form in ("mp4", "mpegts"):
        extradata, _ = encoded(form, n=2)
        assert scanned(codec, extradata, [data]) == [False]


@pytest.mark.parametrize(
    "extradata", [None, b"", b"\1", b"\1\x64\0\x1e\xff\xe1\0\x04\x67\x64", b"\0\0\1\x67", bytes(40)]
)
def test_without_parameter_sets_that_can_be_read_nothing_is_known(extradata):
    with pytest.raises(ValueError, match=r"parameter sets|ends early"):
        PictureScan("h264", extradata)
