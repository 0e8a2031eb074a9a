# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames a video has and when each is shown: from its packets where they are evidence enough, else by decoding.

Frame `i` is the i-th frame that decoding the whole file returns. Packets tell that without decoding if

- each holds one frame: no fields, none that is never shown, none that an edit list cuts away; none is damaged or missing;
- their times order them as the decoder does. Where it hands frames out in the order in which they are stored, times
  ascend. Where it reorders (H.264, HEVC), times show that they know of it: they differ from the stored order, by no more
  places than the decoder waits. Times that ascend there are those of decoding, as in AVI and what was copied from it;
- the frames from one keyframe to the next are shown together: a wrong time inside does not move the frames outside.

        stored   I P b b | I P b b | ...
        times    0 3 1 2 | 4 7 5 6 | ...      each group ends before the next begins

The order inside a group is checked when it is decoded. Not seen is damage that makes decoding lose a frame in a part of
the file that is not decoded: frames keep the places that packets give them.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .nal_units import PictureScan
from .video_stream import NO_LIMITS, Limits, Source, decode, quarter_turns

MAX_REORDER = 16  # no common codec shows a frame more places away from where it is stored
CACHE_BYTES = 64 << 20  # of all remembered indices together; that of two hours at 30 FPS has 2 MB
_SETTLED = 2_000_000_000  # ns after which a file that is written again gets another time of change


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """Where the frames of one video lie in time.

    Attributes:
        pts: (num_frames,) int64, ascending presentation times in units of `time_base`. Times that are only out of order,
            as in AVI, are sorted; others that are equal or go back are raised to the time before; a file without times
            gets evenly spaced ones.
        time_base: seconds per unit of `pts`.
        height, width: pixels of the frames `read_frames` returns, upright and with square pixels.
        fps: average frames per second; 25 when neither times nor headers say.
    """

    pts: np.ndarray
    time_base: Fraction
    height: int
    width: int
    fps: float
    # Frames that decoding can start from, if packets are the evidence; None if frames have to be counted from the start.
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


class _Cache:
    """Indices of files by name, inode, size and times of change; those not used for longest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, VideoIndex] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    @staticmethod
    def key(source: Source) -> tuple | None:
        """Return what tells this state of a file from others; None for no file, or one that may still be written."""
        if not isinstance(source, (str, os.PathLike)):
            return None
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            return None
        changed = found.st_mtime_ns, found.st_ctime_ns  # only the second tells of `cp -p` onto a file of equal size
        if time.time_ns() - max(changed) < _SETTLED:
            return None
        return os.path.abspath(os.fsdecode(source)), found.st_dev, found.st_ino, found.st_size, *changed

    def get(self, key: tuple | None) -> VideoIndex | None:
        if key is None:
            return None
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple | None, index: VideoIndex) -> None:
        if key is None or _nbytes(index) > CACHE_BYTES:
            return
        with self._lock:
            for old in [name for name in self._kept if name[0] == key[0]]:
                self._bytes -= _nbytes(self._kept.pop(old))
            self._kept[key] = index
            self._bytes += _nbytes(index)
            while self._bytes > CACHE_BYTES:
                self._bytes -= _nbytes(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0


def _nbytes(index: VideoIndex) -> int:
    return 1000 + sum(array.nbytes for array in (index.pts, index._keys) if array is not None)


cache = _Cache()


def index_packets(container: Any, stream: Any) -> VideoIndex | None:
    """Make the index that the packets give, decoding one frame; None when they are not evidence enough, see above."""
    context = stream.codec_context
    frames_in = _frame_counter(container, context)
    if frames_in is None:
        return None
    times, places, keys, first, total = [], [], bytearray(), None, 0
    try:
        for packet in container.demux(stream):
            size = packet.size
            if packet.is_corrupt or packet.is_discard:
                return None
            if first is None and (size or packet.dts is None):
                first = next(iter(stream.decode(packet)), None)
            if not size:
                continue
            total += 1
            count = frames_in(packet)
            if count is None or (count and packet.pts is None):
                return None
            if count:
                times.append(packet.pts)
                places.append(packet.pos)
                keys.append(packet.is_keyframe)
    except (av.error.FFmpegError, IndexError):
        return None
    if first is None or first.is_corrupt or stream.frames not in (0, total) or not times or not keys[0]:
        return None
    stored, starts = np.array(times, dtype=np.int64), np.frombuffer(keys, dtype=bool)
    if first.pts != stored.min() or not _know_order(stored, starts, context.reorder_depth):
        return None
    if container.format.name == "avi" and not _is_indexed(stream.index_entries, times, places):
        return None
    order = np.argsort(stored)
    return _make_index(stream, first, stored[order], starts[order])


def _is_indexed(entries: Any, times: list[int], places: list[int]) -> bool:
    """Return whether an AVI's index has the packets that reading has.

    AVI has no times: they count packets when it is read from its start, and entries of its index after a seek.
    """
    found = [(entry.timestamp, entry.pos) for entry in entries]
    distances = {place - entry[1] for entry, place in zip(found, places, strict=False)}
    return [time for time, _ in found] == times and len(distances) == 1


def _frame_counter(container: Any, context: Any) -> Callable[[Any], int | None] | None:
    """Return what tells how many frames decoding makes of a packet, 0 or 1, or None if that is not known.

    None for streams whose frames decoding may hand out in an order that times do not tell.
    """
    codec = context.name
    if codec in ("h264", "hevc") and not (container.format.name == "avi" and context.reorder_depth):
        try:
            scan = PictureScan(codec, context.extradata)
        except (ValueError, IndexError):
            return None
        return lambda packet: 1 if scan.holds_next(bytes(packet)) else None
    # Others that reorder (MPEG-1, 2 and 4, VC-1, ...) do it by type of picture, and leave out what does not fit. A frame of
    # APNG is painted over the one before, which a seek does not clear.
    if context.reorder_depth or codec == "apng":
        return None
    if codec == "mpeg4":  # one that is not coded has some 10 bytes, and makes no frame
        return lambda packet: 1 if packet.size >= 32 else None
    return {"vp8": _vp8_shown, "vp9": _vp9_shown}.get(codec, lambda packet: 1)


def _vp8_shown(packet: Any) -> int:
    """Return 0 for a frame that is only decoded from, else 1. Source: RFC 6386, section 9.1."""
    return memoryview(packet)[0] >> 4 & 1


def _vp9_shown(packet: Any) -> int:
    """Return 0 for a frame that is only decoded from, else 1. Source: VP9 specification, section 6.2 and annex B."""
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:
        return 1  # several frames, of which the last is shown
    bit = 2 if data[0] >> 4 & 3 == 3 else 3  # the profile's fourth bit
    return data[0] >> bit & 1 or data[0] >> bit - 2 & 1  # shows an earlier one, or itself


def _know_order(times: np.ndarray, keys: np.ndarray, reorder_depth: int) -> bool:
    """Return whether the times of packets, as stored, can be those in which the decoder hands out frames."""
    count, order = len(times), np.argsort(times)
    if (np.diff(times[order]) == 0).any():
        return False
    place, ahead = np.empty(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    place[order] = np.arange(count)
    if (np.abs(place - np.arange(count)) > MAX_REORDER).any():
        return False
    for distance in range(1, min(2 * MAX_REORDER, count - 1) + 1):
        ahead[distance:] += place[:-distance] > place[distance:]  # stored before, shown after
    if not min(reorder_depth, 1) <= ahead.max() <= reorder_depth:
        return False
    group = np.cumsum(keys)
    return bool((np.diff(group[order]) >= 0).all())


def index_frames(container: Any, stream: Any, limits: Limits = NO_LIMITS) -> VideoIndex | None:
    """Make the index that decoding everything gives, without damaged frames at the end; None for no frame."""
    times: list[int | None] = []
    first, good = None, 0
    for frame, _, intact in decode(container, stream, limits):
        first = first or frame
        times.append(frame.pts)
        good = len(times) if intact else good
    if not good:
        return None
    known = None if None in times[:good] else np.array(times[:good], dtype=np.int64)
    return _make_index(stream, first, np.arange(good) if known is None else _ascending(known), timed=known is not None)


def _make_index(
    stream: Any, first: Any, pts: np.ndarray, keys: np.ndarray | None = None, *, timed: bool = True
) -> VideoIndex:
    """Make the index from the first frame, and the times of all, or only their numbers, and which are keyframes."""
    ratio = float(stream.sample_aspect_ratio or 1)
    height, width = first.height, round(first.width * (ratio if 1 / 8 <= ratio <= 8 else 1)) or 1  # or it is nonsense
    height, width = (width, height) if quarter_turns(first) % 2 else (height, width)
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    base = stream.time_base if timed else 1 / Fraction(fps).limit_denominator(100_000)
    if timed and pts[-1] > pts[0]:
        fps = float((len(pts) - 1) / (int(pts[-1] - pts[0]) * base))
    starts = None if keys is None else np.flatnonzero(keys)
    for array in (pts, starts):
        if array is not None:
            array.flags.writeable = False  # a remembered index is handed out again
    return VideoIndex(pts, base, height, width, fps, starts)


def _ascending(stamps: np.ndarray) -> np.ndarray:
    """Return times that do not go back: sorted if they are merely out of order, else raised to the time before."""
    order = np.argsort(stamps, kind="stable")
    local = (np.abs(order - np.arange(len(order))) <= MAX_REORDER).all()
    return stamps[order] if local else np.maximum.accumulate(stamps)
