# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write frames as a GIF or MP4, through PyAV."""

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
HUNDREDTH = Fraction(1, 100)  # of a second, the format's unit of time
BT709 = 1  # of the primaries and the transfer characteristics. Source: ITU-T H.273


def write_animation(frames: Iterable[np.ndarray], path: str | Path, fps: float) -> Path:
    """Write a GIF or MP4 atomically; return its path.

    A GIF loops forever, has one palette for all its frames, and is held in memory; above 50 frames per second it skips
    frames to keep its pace. An MP4 is H.264 (MPEG-4 where PyAV was built without x264), 4:2:0, and plays in browsers
    while it loads; an odd side is padded by one pixel, as this format needs.

    Args:
        frames: `(H, W, 3)` uint8 each, of one size; an array `(F, H, W, 3)` will do.
        path: ending in .gif or .mp4.
        fps: frames per second.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise HfRltError(f"{path}: expected a file name ending in {' or '.join(SUFFIXES)}, received {path.suffix!r}.")
    if not (math.isfinite(fps) and fps > 0):
        raise HfRltError(f"Expected frames per second above 0, received {fps}.")
    with atomic_write(path) as part:
        (_write_gif if path.suffix.lower() == ".gif" else _write_mp4)(_checked(frames), part, fps)
    return path


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the frames; raise unless there is one and all have the shape of the first."""
    shape: tuple[int, ...] = ()
    for frame in frames:
        shape = shape or (*frame.shape[:2], 3)
        if frame.dtype != np.uint8 or frame.shape != shape:
            raise HfRltError(f"Expected uint8 frames of shape {shape}, received {frame.dtype} {frame.shape}.")
        yield np.ascontiguousarray(frame)
    if not shape:
        raise HfRltError("Expected at least one frame to write, received none.")


def _write_mp4(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": "20", "preset": "medium"} if codec == "libx264" else {"qscale": "3"}
    first = next(frames)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(10_000), options=options)
        stream.height, stream.width = (side + side % 2 for side in first.shape[:2])
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        # Declared, or the player would guess it from the size of the picture.
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
    first = next(frames)
    graph = av.filter.Graph()
    size = {"height": first.shape[0], "width": first.shape[1]}
    source, split = graph.add_buffer(format=av.VideoFormat("rgb24"), time_base=HUNDREDTH, **size), graph.add("split")
    palette, sink = graph.add("palettegen", "stats_mode=full"), graph.add("buffersink")
    # Ordered dithering, unlike error diffusion, leaves what stands still as it is.
    mapper = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle")
    source.link_to(split)
    split.link_to(palette, 1, 0)
    split.link_to(mapper, 0, 0)  # the frames wait there for the palette of all
    palette.link_to(mapper, 0, 1)
    mapper.link_to(sink)
    graph.configure()
    for i, pixels in enumerate(chain([first], frames)):
        if i % every == 0:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(100 * i / fps), HUNDREDTH
            source.push(frame)
    source.push(None)
    # A frame lasts until the next one; the last one as long as an average frame.
    options = {"loop": "0", "final_delay": str(round(100 * every / fps))}
    with av.open(str(path), "w", format="gif", options=options) as container:
        stream: Any = container.add_stream("gif", rate=100)
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "pal8"
        for shown in [*_pulled(sink), None]:
            container.mux(stream.encode(shown))


def _pulled(sink: Any) -> Iterator[Any]:
    while True:
        try:
            yield sink.pull()
        except (BlockingIOError, EOFError):
            return
