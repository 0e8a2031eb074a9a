# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Colours are those that ffmpeg itself makes of a frame, and those of the standard where no chroma is interpolated."""

import av
import numpy as np
import pytest
from media import encode

from hf_rlt.models.video_reader import read_frames

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


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "red", "blue"), [("bt709", 0.2126, 0.0722), ("smpte170m", 0.299, 0.114)])
def test_colours_are_those_of_the_standard(tmp_path, matrix, red, blue, full):
    x264 = f"qp=0:colormatrix={matrix}{':fullrange=on' if full else ''}"
    path = encode(tmp_path / "a.mkv", "libx264", {"x264-params": x264}, n=2, pix_fmt="yuv444p", show=coloured)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        planes = [[np.asarray(p).reshape(48, -1)[:, :64].astype(float) for p in frame.planes] for frame in frames]
    light, colour, black = (1.0, 1.0, 0) if full else (255 / 219, 255 / 224, 16)
    for (y, u, v), image in zip(planes, read_frames(path, range(2)), strict=True):
        y, u, v = (y - black) * light, (u - 128) * colour, (v - 128) * colour
        r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
        expected = np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1)
        assert np.abs(image - np.clip(expected, 0, 255)).max() <= 2.5
