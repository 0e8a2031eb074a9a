# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf_rlt.nal_units` on what encoders write, and on packets put together otherwise."""

import io
from itertools import pairwise

import av
import pytest

from hf_rlt.nal_units import holds_one_picture, length_size, may_hold_fields
from test_reading import picture

X265 = "keyint=8:bframes=2:log-level=none"


def encoded(form, codec="libx264", n=12, pix_fmt="yuv420p", **options):
    """Returns the decoder's extradata, and the packets of a clip."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for i in range(n):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24").reformat(format=pix_fmt))
            )
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        return container.streams.video[0].codec_context.extradata, packets


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts", "h264"])
@pytest.mark.parametrize(
    ("pix_fmt", "params"),
    [
        ("yuv420p", "bframes=2"),
        ("yuv420p", "cqm=jvt:8x8dct=1"),
        ("yuv444p", "cqm=jvt:8x8dct=1"),
        ("yuv422p10le", "bframes=0:slices=3"),
        ("gray", "ref=4:weightp=2"),
    ],
)
def test_frames_of_h264(form, pix_fmt, params):
    extradata, packets = encoded(form, pix_fmt=pix_fmt, **{"x264-params": params})
    assert not may_hold_fields(extradata)
    size = length_size(extradata, "h264")
    assert size == (0 if form in ("mpegts", "h264") else 4)
    assert len(packets) == 12
    assert all(holds_one_picture(packet, "h264", size) for packet in packets)
    assert not any(holds_one_picture(a + b, "h264", size) for a, b in pairwise(packets))


@pytest.mark.parametrize("form", ["mp4", "mpegts"])
def test_h264_that_may_hold_fields(form):
    extradata, packets = encoded(form, flags="+ildct+ilme", **{"x264-params": "tff=1"})
    assert may_hold_fields(extradata)
    assert all(holds_one_picture(packet, "h264", length_size(extradata, "h264")) for packet in packets)


@pytest.mark.parametrize("form", ["mp4", "mpegts", "hevc"])
def test_frames_of_hevc(form):
    extradata, packets = encoded(form, "libx265", preset="ultrafast", **{"x265-params": X265})
    size = length_size(extradata, "hevc")
    assert (size > 0) == (form == "mp4")
    assert all(holds_one_picture(packet, "hevc", size) for packet in packets)
    assert not holds_one_picture(packets[0] + packets[1], "hevc", size)


def test_an_hevc_picture_that_drops_those_before_it():
    extradata, packets = encoded("mp4", "libx265", preset="ultrafast", **{"x265-params": X265 + ":open-gop=0"})
    size, key = length_size(extradata, "hevc"), bytearray(packets[8])
    assert 16 <= key[size] >> 1 & 63 <= 23
    key[size + 2] |= 64
    assert holds_one_picture(packets[8], "hevc", size)
    assert not holds_one_picture(bytes(key), "hevc", size)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\0\1", b"\0\0\0\1\x06\x05\x01\x80", b"\0\0\0\3\x06\x05\x01", bytes(64), b"\xff" * 64]
)
def test_packets_without_a_picture(codec, data):
    assert not any(holds_one_picture(data, codec, size) for size in (0, 1, 2, 4))


@pytest.mark.parametrize(
    "extradata", [None, b"", b"\1", b"\1\x64\0\x1e\xff\xe1\0\x04\x67\x64", b"\0\0\1\x67", b"\0\0\1\x68\0", bytes(40)]
)
def test_without_parameter_sets_that_can_be_read_fields_are_possible(extradata):
    assert may_hold_fields(extradata)
    assert length_size(extradata, "hevc") == 0
