# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a video file holds, found the slow way: one pass of FFmpeg from the start to the end."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np

if "hf_rlt" not in sys.modules:  # the reader alone, without waiting for torch
    sys.modules["hf_rlt"] = ModuleType("hf_rlt")
    sys.modules["hf_rlt"].__path__ = [str(Path(__file__).resolve().parents[2] / "src" / "hf_rlt")]

from hf_rlt.models.video_stream import to_rgb

TOO_MANY = 20_000  # frames; nothing that is tried here has more


@dataclass
class Truth:
    """The frames of a file in the order in which decoding returns them."""

    prints: list[bytes] = field(default_factory=list)  # a fingerprint of each
    pts: list[int | None] = field(default_factory=list)
    sound: list[bool] = field(default_factory=list)  # whether FFmpeg reported nothing wrong since a keyframe before it
    stable: list[bool] = field(default_factory=list)  # the same frame with several threads or a used decoder
    size: tuple[int, int] = (0, 0)  # (height, width) that the reader promises, upright and with square pixels

    @property
    def last_sound(self) -> int:
        """Number of frames up to the last that nothing was wrong with."""
        return max((i + 1 for i, sound in enumerate(self.sound) if sound), default=0)


def fingerprint(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image), digest_size=12).digest()


def decode_file(source: Path, threads: int = 1, *, used: bool = False) -> Truth:
    """Decode the whole file once; an error that a packet raises costs that packet only, as in ffmpeg.

    With `used`, by a decoder that decoded the file before: its old pictures show where damage leaves parts as they were.
    """
    truth, shape, trouble = Truth(), None, -1
    try:
        for frame, latest in _frames(source, threads, used):
            own, called_key = (-1, False) if frame.opaque is None else frame.opaque
            trouble = max(trouble, latest, own if frame.is_corrupt else -1)
            if frame.key_frame and called_key and own > trouble:
                trouble = -1
            if shape is None:
                shape = _shape(frame, source)
                truth.size = (shape.height, shape.width)
            truth.prints.append(fingerprint(to_rgb(frame, shape.height, shape.width)))
            truth.pts.append(frame.pts)
            truth.sound.append(trouble < 0)
            if len(truth.pts) >= TOO_MANY:
                break
    except (av.error.FFmpegError, ValueError, UnicodeError, IndexError, MemoryError):
        pass  # no more frames
    truth.stable = [True] * len(truth.prints)
    return truth


def decode_often(source: Path) -> Truth:
    """Decode with one thread, with three and with a decoder that was used before, and mark the frames that differ."""
    truth = decode_file(source)
    for other in (decode_file(source, threads=3), decode_file(source, used=True)):
        same = len(other.prints) == len(truth.prints)
        for i, one in enumerate(truth.prints):
            truth.stable[i] = truth.stable[i] and same and one == other.prints[i]
    return truth


def _frames(source: Path, threads: int, used: bool) -> Iterator[tuple[Any, int]]:
    """Yield (frame, number of the last packet with which something went wrong since the frame before, or -1)."""
    with av.open(str(source), metadata_errors="replace") as container:
        stream = video_of(container)
        stream.thread_type = "FRAME"
        context = stream.codec_context
        context.thread_count = threads
        context.copy_opaque = True  # a frame knows its packet
        if used:
            for packet in _packets(source):
                with suppress(av.error.FFmpegError):
                    context.decode(packet)
            context.flush_buffers()
        trouble = -1
        for number, packet in enumerate(_packets(source)):
            if packet is not None:
                packet.opaque = (number, packet.is_keyframe)
                trouble = number if packet.is_corrupt else trouble
            try:
                frames = context.decode(packet)
            except av.error.FFmpegError:
                frames, trouble = [], number
            for frame in frames:
                yield frame, trouble
                trouble = -1


def _packets(source: Path) -> Iterator[Any]:
    """Yield the packets up to where the file breaks off, or PyAV meets a new stream, and None, which empties the decoder."""
    with av.open(str(source), metadata_errors="replace") as container, suppress(av.error.FFmpegError, IndexError):
        yield from (packet for packet in container.demux(video_of(container)) if packet.size)
    yield None


def video_of(container: Any) -> Any:
    """Return the stream that ffmpeg calls best, or the first that is no cover picture."""
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover]
    best = container.streams.best("video")
    if not streams:
        raise ValueError("no video")
    return next((s for s in streams if best is not None and s.index == best.index), streams[0])


def _shape(frame: Any, source: Path) -> SimpleNamespace:
    """Return height and width: the pixels made square by stretching the width, then the picture made upright."""
    with av.open(str(source), metadata_errors="replace") as container:
        ratio = video_of(container).sample_aspect_ratio or Fraction(1)
    ratio = ratio if Fraction(1, 8) <= ratio <= 8 else Fraction(1)
    height, width = frame.height, max(1, round(float(frame.width * ratio)))
    turned = round((frame.rotation or 0) / 90) % 2
    return SimpleNamespace(height=width if turned else height, width=height if turned else width)
