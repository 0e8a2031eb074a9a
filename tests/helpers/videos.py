# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos that tests make, and a literal decode of them."""

from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np

MS = Fraction(1, 1000)
H264 = {"crf": "10", "preset": "ultrafast", "x264-params": "keyint=12:bframes=3:b-adapt=0:scenecut=0"}


def write_video(path: Path, frames: np.ndarray, rate: int = 10, pts: list[int] | None = None) -> Path:
    """Write `(F, H, W, 3)` uint8 frames as an mp4, `pts` (1/100 s) for a variable rate. Returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.bit_rate = 4_000_000
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[i], Fraction(1, 100)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def ramp(frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return `(frames, height, width, 3)` uint8 grey frames; frame i has the value `5 * i + 10`."""
    values = (5 * np.arange(frames) + 10).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (frames, height, width, 3)).copy()


def noise(frames: int, seed: int = 0) -> np.ndarray:
    """Return frames of which the left half stands still, and the right half is new in every third one."""
    rng = np.random.default_rng(seed)
    pixels = np.repeat(rng.integers(0, 256, (-(-frames // 3), 6, 8, 3), np.uint8), 3, axis=0)[:frames]
    pixels[:, :, :4] = pixels[:1, :, :4]
    return pixels.repeat(8, 1).repeat(8, 2)


def rgb(frame):
    """A frame as ffmpeg converts it: by a filter graph whose output has to be RGB."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=MS)
    graph.link_nodes(source, graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull().to_ndarray()


def decode_all(source, size=None, turns=0):
    """Every frame of the file, in the order in which decoding returns them; and their times."""
    with av.open(str(source) if isinstance(source, Path) else source, metadata_errors="replace") as container:
        frames = list(container.decode(video=0))
        height, width = size or (frames[0].height, frames[0].width)
        same = [(frame.height, frame.width) == (height, width) for frame in frames]
        pictures = [
            np.rot90(rgb(f) if kept else f.to_ndarray(format="rgb24", width=width, height=height), turns)
            for f, kept in zip(frames, same, strict=True)
        ]
        return pictures, [f.pts for f in frames]


def picture(i, size=(64, 48)):
    """A picture that says its number: grey plus noise of its own, and eight black or white squares."""
    width, height = size
    image = np.random.default_rng(i).integers(60, 190, (height, width, 3), dtype=np.uint8)
    for bit in range(8):
        image[:16, bit * width // 8 : (bit + 1) * width // 8] = 255 * (i >> bit & 1)
    return image


def number(image):
    width = image.shape[1]
    squares = (image[2:14, bit * width // 8 + 2 : (bit + 1) * width // 8 - 2] for bit in range(8))
    return sum(int(square.mean() > 127) << bit for bit, square in enumerate(squares))


def write(path, n=60, times=None, codec="libx264", options=H264, size=(64, 48), **kwargs):
    """Write a clip whose frame i shows `picture(i)`, at `times[i]` milliseconds."""
    with av.open(str(path), "w", **kwargs) as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = MS
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
            frame.pts, frame.time_base = 40 * i if times is None else times[i], MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source, target, change):
    """Copy the packets that `change(packet number, packet)` returns."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for i, packet in enumerate(p for p in old.demux(video=0) if p.size):
            packet = change(i, packet)
            if packet is not None:
                packet.stream = stream
                new.mux(packet)
    return target
