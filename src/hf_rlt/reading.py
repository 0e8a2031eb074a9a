# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Exact frames of video files, through PyAV: index a file once, then read the frames at given indices.

Frame `i` is the i-th frame that decoding the whole file returns, whatever the headers claim. Seeking only saves work:
what it finds is checked against the index by time stamp; where that fails, the file is decoded from its start.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any, BinaryIO

import av
import numpy as np

Source = str | os.PathLike | bytes | BinaryIO

_REPAIR = "Re-encode it, e.g. with `ffmpeg -i in -c:v libx264 out.mp4`, or leave it out."
_MAX_REORDER = 16  # no common codec shows a frame more places away from where it is stored


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """Where the frames of one video lie in time.

    Attributes:
        pts: (num_frames,) int64, ascending presentation times in units of `time_base`; equal or backward times in the
            file are raised to the time before, and a file without times gets evenly spaced ones.
        time_base: seconds per unit of `pts`.
        height, width: pixels of the frames `read_frames` returns, upright and with square pixels.
        fps: average frames per second; 25 when neither times nor headers say.
    """

    pts: np.ndarray
    time_base: Fraction
    height: int
    width: int
    fps: float
    # Frames that decoding can start from; None when the times do not identify the frames, which then are counted.
    _keys: np.ndarray | None = field(default=None, repr=False)

    @property
    def num_frames(self) -> int:
        return len(self.pts)

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last, which gets an average length."""
        return float(self.timestamps[-1]) + 1.0 / self.fps

    @property
    def timestamps(self) -> np.ndarray:
        """(num_frames,) float64, seconds since the first frame."""
        return (self.pts - self.pts[0]) * float(self.time_base)


def index_video(source: Source) -> VideoIndex:
    """Returns the `VideoIndex` of a video: a path, the bytes of a file, or a seekable binary file (read from its start).

    Reads the packets once and decodes one frame, for its size. Where packets do not tell the frames (no, equal or
    backward times, a cut, a start without keyframe, damage), decodes all frames once; damaged ones at the end then do
    not count. Of several video streams takes the one ffmpeg calls best, never a cover picture.

    Raises:
        OSError: the path cannot be opened.
        ValueError: the source holds no video that can be decoded.
    """
    for index_from in (_index_packets, _index_frames):
        with _open(source) as (container, stream):
            index = index_from(container, stream)
        if index is not None:
            return index
    raise ValueError(f"{_name(source)}: no frame of its video stream can be decoded. {_REPAIR}")


def read_frames(source: Source, indices: Sequence[int] | np.ndarray, *, index: VideoIndex | None = None) -> np.ndarray:
    """Returns the frames at `indices`: (len(indices), height, width, 3) uint8, RGB.

    Frames are upright (rotation metadata applied), with square pixels (the width is stretched). Alpha is dropped, not
    composited; interlaced frames keep both fields; 10-bit becomes 8; a frame of another size than the first is resized
    to it. Colours are converted as ffmpeg does by default. Only frames from the keyframe before a wanted one are decoded.

    Args:
        source: as for `index_video`.
        indices: frames in any order, with repeats, each in [0, num_frames).
        index: the index of the same source, if known.

    Raises:
        IndexError: an index is out of range.
        OSError: the path cannot be opened.
        ValueError: the source cannot be decoded, or a wanted frame is damaged or missing.
    """
    index = index_video(source) if index is None else index
    asked = np.asarray(indices)
    if asked.ndim != 1 or (asked.size and asked.dtype.kind not in "iu"):
        raise ValueError(f"indices must be a flat sequence of integers, got {asked.dtype} of shape {asked.shape}.")
    wrong = asked[(asked < 0) | (asked >= index.num_frames)]
    if wrong.size:
        raise IndexError(f"{_name(source)}: no frame {wrong[0]}, they go from 0 to {index.num_frames - 1}.")
    wanted, rows = np.unique(asked.astype(np.int64), return_inverse=True)
    frames = np.empty((len(wanted), index.height, index.width, 3), dtype=np.uint8)
    if wanted.size and not _read_seeking(source, index, wanted, frames):
        with _open(source) as (container, stream):
            problem = _fill(_decode(container, stream), index, 0, wanted, frames)
        if problem:
            raise ValueError(f"{_name(source)}: {problem}. {_REPAIR}")
    return frames if np.array_equal(wanted, asked) else frames[rows.reshape(-1)]


def _name(source: Source) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    return "<bytes>" if isinstance(source, bytes) else str(getattr(source, "name", f"<{type(source).__name__}>"))


@contextmanager
def _open(source: Source) -> Iterator[tuple[Any, Any]]:
    """Yields the open container and its video stream."""
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    if isinstance(source, (str, os.PathLike)):
        file = os.fsdecode(source)
        if "://" not in file:
            open(file, "rb").close()  # the ordinary OSError for what cannot be opened
            file = f"file:{file}"  # or a colon in the name makes it a protocol
    else:
        file.seek(0)
    try:
        container = av.open(file, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise ValueError(f"{_name(source)}: not a video that can be opened ({error.strerror}). {_REPAIR}") from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover]
        if not streams:
            found = ", ".join(f"{s.type} {s.codec_context.name if s.codec_context else '?'}" for s in container.streams)
            raise ValueError(f"{_name(source)}: no video stream to decode, found: {found or 'nothing'}. {_REPAIR}")
        best = container.streams.best("video")
        stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        stream.thread_type = "FRAME"  # with slice threads the H.264 decoder conceals damage and does not tell
        yield container, stream


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yields the packets that hold data, up to where the file breaks off; empty ones would end the decoder."""
    with suppress(av.error.FFmpegError):
        yield from (packet for packet in container.demux(stream) if packet.size)


def _decode(container: Any, stream: Any) -> Iterator[tuple[Any, bool]]:
    """Yields (frame, intact): not intact from an error on, until a keyframe that is shown after it."""
    broken, since = False, None
    for packet, after in pairwise(chain(_packets(container, stream), [None, None])):
        bad = packet is not None and packet.is_corrupt
        if bad and after is None:
            continue  # the end of the file cuts it off
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError:
            frames, bad = [], True
        if bad:
            broken, since = True, None if packet is None else packet.pts
        for frame in frames:
            if frame.is_corrupt:
                broken, since = True, frame.pts
            elif broken and frame.key_frame and None not in (since, frame.pts) and frame.pts > since:
                broken = False
            yield frame, not broken


def _index_packets(container: Any, stream: Any) -> VideoIndex | None:
    """Returns the index that the packets give; None when it may not be what decoding returns."""
    shown, first, total = [], None, 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                return None
            if first is None and (packet.size or packet.dts is None):
                first = next(iter(stream.decode(packet)), None)
            total += packet.size > 0
            # VP8 has packets that are never shown; a bit of their first byte tells.
            hidden = packet.size and "vp8" in stream.codec_context.name and not memoryview(packet)[0] >> 4 & 1
            if packet.size and not packet.is_discard and not hidden:
                shown.append((packet.pts, packet.is_keyframe))
    except av.error.FFmpegError:
        return None
    times = [pts for pts, _ in shown]
    if first is None or first.is_corrupt or stream.frames not in (0, total) or None in times or not shown[0][1]:
        return None
    order = sorted(range(len(times)), key=times.__getitem__)
    reorder = _MAX_REORDER if stream.codec_context.has_b_frames else 0
    if any(abs(place - i) > reorder for place, i in enumerate(order)) or len(set(times)) < len(times):
        return None
    return None if first.pts != times[order[0]] else _make_index(stream, first, [shown[i] for i in order])


def _index_frames(container: Any, stream: Any) -> VideoIndex | None:
    """Returns the index that decoding everything gives, without damaged frames at the end; None for no frame."""
    shown, first, good = [], None, 0
    for frame, intact in _decode(container, stream):
        first = first or frame
        shown.append((frame.pts, frame.key_frame))
        good = len(shown) if intact else good
    return _make_index(stream, first, shown[:good]) if good else None


def _make_index(stream: Any, first: Any, shown: list[tuple[Any, bool]]) -> VideoIndex:
    """Returns the index from the first frame and the (time, is keyframe) of all, in order."""
    ratio = float(stream.sample_aspect_ratio or 1)
    height, width = first.height, round(first.width * (ratio if 1 / 8 <= ratio <= 8 else 1)) or 1  # or it is nonsense
    height, width = (width, height) if _quarter_turns(first) % 2 else (height, width)
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    times = [pts for pts, _ in shown]
    if None in times:
        return VideoIndex(np.arange(len(times)), 1 / Fraction(fps).limit_denominator(100_000), height, width, fps)
    pts = np.maximum.accumulate(np.array(times, dtype=np.int64))
    if pts[-1] > pts[0]:
        fps = float((len(pts) - 1) / (int(pts[-1] - pts[0]) * stream.time_base))
    identify = all(a < b for a, b in pairwise(times))
    keys = np.array([i for i, (_, key) in enumerate(shown) if key or i == 0]) if identify else None
    return VideoIndex(pts, stream.time_base, height, width, fps, keys)


def _read_seeking(source: Source, index: VideoIndex, wanted: np.ndarray, frames: np.ndarray) -> bool:
    """Fills `frames`, seeking to the keyframe before each group of wanted frames; False when that is not safe."""
    if index._keys is None:
        return False
    starts = index._keys[np.searchsorted(index._keys, wanted, side="right") - 1]
    breaks = np.flatnonzero(starts[1:] > wanted[:-1] + 1) + 1  # a seek that would skip nothing is not made
    with _open(source) as (container, stream):
        for rows in np.split(np.arange(len(wanted)), breaks):
            start, group = starts[rows[0]], slice(rows[0], rows[-1] + 1)
            # Some demuxers seek by decoding time and land behind the keyframe: then from a little earlier.
            for back in (0, 4, _MAX_REORDER) if start else (0,):
                if start:
                    with suppress(av.error.FFmpegError):
                        container.seek(int(index.pts[max(start - back, 0)]), stream=stream)
                if not _fill(_decode(container, stream), index, start, wanted[group], frames[group]):
                    break
            else:
                return False
    return True


def _fill(decoded: Iterator, index: VideoIndex, start: int, wanted: np.ndarray, frames: np.ndarray) -> str:
    """Fills `frames` with those at `wanted`; returns what is not as the index, or the seek to `start`, promised."""
    row, count, anchored = 0, 0, start == 0
    for count, (frame, intact) in enumerate(decoded, 1):
        place = count - 1
        if index._keys is not None:
            place = -1 if frame.pts is None else int(np.searchsorted(index.pts, frame.pts))
            if not 0 <= place < index.num_frames or index.pts[place] != frame.pts:
                continue
        anchored = anchored or (place == start and frame.key_frame and intact)
        if place > wanted[row] or (place >= start and not anchored):
            break
        if place == wanted[row]:
            if not intact:
                return f"frame {place} of {index.num_frames} is damaged"
            frames[row] = _picture(frame, index)
            row += 1
            if row == len(wanted):
                return ""
    return f"frame {wanted[row]} of {index.num_frames} cannot be decoded, {count} frames on the way to it were"


def _picture(frame: Any, index: VideoIndex) -> np.ndarray:
    turns = _quarter_turns(frame)
    size = (index.width, index.height)[:: -1 if turns % 2 else 1]
    # One thread: swscale would otherwise start threads anew for every frame, which costs more than the conversion.
    return np.rot90(frame.to_ndarray(format="rgb24", width=size[0], height=size[1], threads=1), turns)


def _quarter_turns(frame: Any) -> int:
    return round((frame.rotation or 0) / 90) % 4  # counterclockwise, as np.rot90 counts
