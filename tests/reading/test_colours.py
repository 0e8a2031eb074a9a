# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Colours are those that ffmpeg itself makes of a frame, and those of the standard where no chroma is interpolated."""

import av
import numpy as np
import pytest
from media import encode, picture

from hf_rlt.reading import read_frames

FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p", "yuva420p", "yuv420p10le", "yuv422p10le"]
FORMATS += ["yuv444p10le", "gray", "gray10le", "yuv420p12le", "yuv420p16le", "gbrp10le", "bgr0"]


def as_ffmpeg(path, count):
    """Return the frames as `ffmpeg -i path -pix_fmt rgb24` converts them: with the scaler that a filter graph inserts."""
    pictures = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            graph = av.filter.Graph()
            source = graph.add_buffer(template=container.streams.video[0], width=frame.width, height=frame.height)
            last = graph.add("format", "pix_fmts=rgb24")
            sink = graph.add("buffersink")
            source.link_to(last)
            last.link_to(sink)
            graph.configure()
            graph.push(frame)
            pictures.append(graph.pull().to_ndarray())
            if len(pictures) == count:
                break
    return np.stack(pictures)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_colours_are_those_of_ffmpeg(tmp_path, pix_fmt):
    path = encode(tmp_path / "a.mkv", "ffv1", n=2, pix_fmt=pix_fmt, size=(72, 50), show=coloured)
    assert np.array_equal(read_frames(path, range(2)), as_ffmpeg(path, 2))


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "yuvj422p", "yuvj444p"])
def test_full_range_colours_are_those_of_ffmpeg(tmp_path, pix_fmt):
    path = encode(tmp_path / "a.mkv", "mjpeg", n=2, pix_fmt=pix_fmt, size=(72, 50), show=coloured)
    assert np.array_equal(read_frames(path, range(2)), as_ffmpeg(path, 2))


def coloured(i, size):
    """Return squares of all colours, four pixels wide."""
    width, height = size
    squares = np.random.default_rng(i).integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return squares.repeat(4, 0).repeat(4, 1)[:height, :width].copy()


def test_colours_are_those_of_the_standard(tmp_path):
    path = encode(tmp_path / "a.mkv", "ffv1", n=2, pix_fmt="yuv444p", size=(64, 48))
    with av.open(str(path)) as container:
        planes = [frame.to_ndarray().astype(float) for frame in container.decode(video=0)]
    found = read_frames(path, range(2)).astype(float)
    for (y, u, v), image in zip(planes, found, strict=True):  # BT.601, 16 to 235
        light, blue, red = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
        expected = [light + 1.402 * red, light - 0.344136 * blue - 0.714136 * red, light + 1.772 * blue]
        assert np.abs(image - np.clip(np.stack(expected, -1), 0, 255)).max() <= 2.5
    assert np.abs(found[1] - picture(1)).mean() < 3
