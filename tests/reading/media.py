# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Small video files whose frames say their numbers, and copies of their packets."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE = (64, 48)
RATE = Fraction(1, 25)  # seconds from one frame to the next, where nothing else is said
Get = Callable[[str], Path]  # a clean file by its name
Found = Iterator[tuple]  # name, suffix, `write(path, get, *args)` that makes the file, and these args
Change = Callable[[int, Any], Iterable[Any]]


def picture(i: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture that shows its number: grey, noise of its own, and eight black or white squares."""
    width, height = size
    image = np.random.default_rng(i).integers(90, 160, (height // 4, width // 4, 3), dtype=np.uint8)
    image = image.repeat(4, 0).repeat(4, 1)
    image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
    for bit in range(8):
        image[: height // 3, bit * width // 8 : (bit + 1) * width // 8] = 255 * (i >> bit & 1)
    return image


def encode(
    path: Path,
    codec: str,
    options: dict[str, str] | None = None,
    *,
    n: int = 48,
    first: int = 0,
    size: tuple[int, int] = SIZE,
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    times: list[int] | None = None,
    time_base: Fraction | None = None,
    aspect: Fraction | None = None,
    sound: bool = False,
    show: Callable[[int, tuple[int, int]], np.ndarray] = picture,
    mux_format: str | None = None,
    mux_options: dict[str, str] | None = None,
) -> Path:
    """Write frames that show `first`, `first + 1`, ... at `times` (in `time_base`), else at an even rate."""
    threads = {"threads": "1"} if codec not in ("libx265", "libsvtav1") else {}
    with av.open(str(path), "w", format=mux_format, options=mux_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=threads | (options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        base = stream.codec_context.time_base = time_base or 1 / Fraction(rate)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        kind = "aac" if "aac" in container.supported_codecs else "mp2"
        beside = container.add_stream(kind, rate=48000) if sound else None
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(show((first + i) % 256, size), format="rgb24")
            frame.pts, frame.time_base = i if times is None else times[i], base
            container.mux(stream.encode(frame))
            if beside is not None:
                container.mux(beside.encode(_noise(i)))
        for one in (stream, beside):
            if one is not None:
                container.mux(one.encode(None))
    return path


def _noise(i: int) -> Any:
    samples = np.random.default_rng(i).normal(0, 0.1, (2, 1920)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.rate, frame.pts, frame.time_base = 48000, 1920 * i, Fraction(1, 48000)
    return frame


def add_like(container: Any, template: Any) -> Any:
    """Add a stream for packets of another; AV1 is decoded by what writes none."""
    if template.codec_context.name != "libdav1d":
        return container.add_stream_from_template(template)
    stream = container.add_stream("libsvtav1", rate=25)
    stream.width, stream.height, stream.pix_fmt = template.width, template.height, "yuv420p"
    stream.codec_context.extradata = template.codec_context.extradata
    return stream


def packets_of(source: Path) -> Iterator[Any]:
    with av.open(str(source), metadata_errors="replace") as container:
        yield from (packet for packet in container.demux(video=0) if packet.size)


def remux(
    source: Path, target: Path, change: Change = lambda i, packet: [packet], *, mux_format: str | None = None
) -> Path:
    """Copy the packets that `change(packet number, packet)` gives for each packet of the video."""
    with av.open(str(source), metadata_errors="replace") as old, av.open(str(target), "w", format=mux_format) as new:
        stream = add_like(new, old.streams.video[0])
        for i, packet in enumerate(p for p in old.demux(video=0) if p.size):
            for changed in change(i, packet):
                changed.stream = stream
                new.mux_one(changed)
    return target


def copied(path: Path, get: Get, source: str, change: Change = lambda i, packet: [packet]) -> None:
    """Write a copy of the packets of a clean file, as `remux` does."""
    remux(get(source), path, change)


def remux_even(source: Path, target: Path, change: Change) -> Path:
    """Copy packets at an even rate, those for decoding and for showing alike."""
    time = iter(range(1 << 30))

    def evenly(i: int, packet: Any) -> Iterator[Any]:
        for one in change(i, packet):
            one.pts = one.dts = next(time)
            one.time_base, one.duration = RATE, 1
            yield one

    return remux(source, target, evenly)


def remux_timed(path: Path, get: Get, source: str, times: str) -> None:
    """Copy packets of a raw stream with the times that the same stream has elsewhere."""
    known = [(packet.pts, packet.dts, packet.time_base) for packet in packets_of(get(times))]

    def change(i: int, packet: Any) -> list:
        packet.time_base = known[i][2]
        packet.pts, packet.dts = known[i][:2]
        return [packet]

    remux(get(source), path, change)


def copy_of(packet: Any, data: bytes | None = None) -> Any:
    """Return a packet with the same times and flags, and the same or other data."""
    new = av.Packet(bytes(packet) if data is None else data)
    new.pts, new.dts, new.time_base, new.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    new.is_keyframe = packet.is_keyframe
    return new
