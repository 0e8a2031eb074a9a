# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Frames as a moving picture: GIF or MP4, through PyAV."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from ..errors import HfRltError
from ..jobs.atomic import atomic_write

SUFFIXES = (".gif", ".mp4")
GIF_FPS = 50  # browsers show a GIF whose frames are shorter than 1/50 s at a tenth of its speed
HUNDREDTH = Fraction(1, 100)  # of a second, in which the format counts
BT709 = 1  # of the primaries and the transfer characteristics. Source: ITU-T H.273


def write_animation(frames: Iterable[np.ndarray], path: str | Path, fps: float) -> Path:
    """Returns the path of a GIF or MP4, as its suffix says; written whole or not at all.

    A GIF loops for ever and has one palette, made for all its frames. It is held in memory; above 50 frames a second it
    leaves some out and keeps its pace. An MP4 is H.264 (MPEG-4 where PyAV was built without x264), 4:2:0, and plays
    in browsers while it loads; an odd side gets one more pixel, as this format needs.

    Args:
        frames: `(H, W, 3)` uint8 each, of one size; an array `(F, H, W, 3)` will do.
        path: ending in .gif or .mp4.
        fps: frames per second.

    Raises:
        ValueError: for another suffix, no frame, frames of several sizes, or a rate that is no positive number.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise HfRltError(f"{path}: expected a file name ending in {' or '.join(SUFFIXES)}, received {path.suffix!r}.")
    if not (math.isfinite(fps) and fps > 0):
        raise HfRltError(f"Expected frames per second above 0, received {fps}.")
    checked = _checked(frames)
    with atomic_write(path) as part:
        (_write_gif if path.suffix.lower() == ".gif" else _write_mp4)(checked, part, fps)
    return path


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Returns the frames, one by one; there is one, and all have the shape of the first."""
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise HfRltError("Expected at least one frame to write, received none.")
    shape = first.shape

    def check(frame: np.ndarray) -> np.ndarray:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != (*shape[:2], 3):
            received = f"{frame.dtype} {'x'.join(map(str, frame.shape))}"
            raise HfRltError(f"Expected uint8 frames of {shape[0]}x{shape[1]}x3, received {received}.")
        return np.ascontiguousarray(frame)

    return (check(frame) for frame in chain([first], rest))


def _write_mp4(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": "20", "preset": "medium"} if codec == "libx264" else {"qscale": "3"}
    first = next(frames)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(10_000), options=options)
        stream.height, stream.width = (side + side % 2 for side in first.shape[:2])
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        # Said, not left to the player's guess, which depends on the size of the picture.
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = BT709, BT709
        for pixels in chain([first], frames):
            even = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_gif(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    every = math.ceil(fps / GIF_FPS)
    pictures = [frame for i, frame in enumerate(frames) if i % every == 0]
    palette = _palette(pictures)
    graph = av.filter.Graph()
    source, colours = _buffer(graph, _frame(pictures[0], 0)), _buffer(graph, palette)
    # Ordered dithering, unlike error diffusion, leaves what stands still as it is.
    mapper, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle"), graph.add("buffersink")
    source.link_to(mapper, 0, 0)
    colours.link_to(mapper, 0, 1)
    mapper.link_to(sink)
    graph.configure()
    colours.push(palette)
    colours.push(None)
    # A frame lasts until the next one; the last one as long as an average frame.
    options = {"loop": "0", "final_delay": str(round(100 * every / fps))}
    with av.open(str(path), "w", format="gif", options=options) as container:
        stream: Any = container.add_stream("gif", rate=100)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "pal8"
        for i, pixels in enumerate(pictures):
            source.push(_frame(pixels, round(100 * i * every / fps)))
            for frame in _pulled(sink):
                container.mux(stream.encode(frame))
        source.push(None)
        for frame in [*_pulled(sink), None]:
            container.mux(stream.encode(frame))


def _palette(pictures: list[np.ndarray]) -> Any:
    """Returns the frame of 256 colours that ffmpeg picks for all pictures together."""
    graph = av.filter.Graph()
    source = _buffer(graph, _frame(pictures[0], 0))
    graph.link_nodes(source, graph.add("palettegen", "stats_mode=full"), graph.add("buffersink")).configure()
    for i, pixels in enumerate(pictures):
        source.push(_frame(pixels, i))
    source.push(None)
    palette: Any = graph.pull()
    palette.pts = 0
    return palette


def _buffer(graph: Any, frame: Any) -> Any:
    return graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=HUNDREDTH)


def _frame(pixels: np.ndarray, time: int) -> Any:
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts, frame.time_base = time, HUNDREDTH
    return frame


def _pulled(sink: Any) -> Iterator[Any]:
    while True:
        try:
            yield sink.pull()
        except (BlockingIOError, EOFError):
            return
