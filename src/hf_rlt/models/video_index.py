# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Find which frames a video has and when each is shown: from its packets where they are reliable, else by decoding.

Frame `i` is the i-th frame that decoding the whole file returns. Packets tell which one that is, without decoding, if

- each holds exactly one frame: no fields, no frame that is never shown or cut away by an edit list; none is damaged or
  missing;
- their times put them in the decoder's output order. If the decoder outputs frames as they are stored, times must
  ascend. If it reorders them (H.264, HEVC), times must reflect that: they differ from the stored order, by no more
  places than the decoder's delay. If they ascend nevertheless, they are decoding times, as in AVI and files remuxed
  from it;
- the frames from one keyframe to the next are shown together, so that a wrong time among them moves no frame outside.

        stored   I P b b | I P b b | ...
        times    0 3 1 2 | 4 7 5 6 | ...      each group ends before the next begins

The order inside a group is checked when it is decoded. Damage that makes the decoder lose a frame goes unnoticed in a part
of the file that is not read: all frames keep the places that packets give them.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .nal_units import PictureScan
from .video_stream import NO_LIMITS, Limits, Source, decode, upright_size

MAX_REORDER = 16  # places; no common codec shows a frame further from where it is stored
CACHE_BYTES = 64 << 20  # for all cached indices together; two hours at 30 FPS take 2 MB
_SETTLED = 2_000_000_000  # ns; a file that is rewritten sooner may keep its time stamps


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frames of a video and when each is shown."""

    pts: np.ndarray  # (num_frames,) int64, ascending times in units of `time_base`; evenly spaced if there are none
    time_base: Fraction  # seconds per unit of `pts`
    height: int  # of the frames `read_frames` returns, upright and with square pixels
    width: int
    fps: float  # average; 25 if neither times nor headers tell
    # Keyframes to seek to; None if packets are not reliable and frames must be counted from the start.
    _keys: np.ndarray | None = field(default=None, repr=False)

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.pts)

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last, assumed to be of average length."""
        return float(self.timestamps[-1]) + 1.0 / self.fps

    @property
    def timestamps(self) -> np.ndarray:
        """(num_frames,) float64, seconds since the first frame."""
        return (self.pts - self.pts[0]) * float(self.time_base)


class _Cache:
    """Least-recently-used cache of the latest index of each file."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[tuple, VideoIndex]] = OrderedDict()  # by path, with the file's state
        self._bytes, self._lock = 0, threading.Lock()

    @staticmethod
    def key(source: Source) -> tuple[str, tuple] | None:
        """Return path and state of a file; None if the source is no path or may still be being written."""
        if not isinstance(source, (str, os.PathLike)):
            return None
        with suppress(OSError, ValueError):
            found = os.stat(source)
            changed = found.st_mtime_ns, found.st_ctime_ns  # only ctime reveals `cp -p` onto a file of equal size
            if time.time_ns() - max(changed) >= _SETTLED:
                return os.path.abspath(os.fsdecode(source)), (found.st_dev, found.st_ino, found.st_size, *changed)
        return None

    def get(self, key: tuple[str, tuple] | None) -> VideoIndex | None:
        with self._lock:
            if key is None or key[0] not in self._kept:
                return None
            self._kept.move_to_end(key[0])
            state, index = self._kept[key[0]]
            return index if state == key[1] else None

    def put(self, key: tuple[str, tuple] | None, index: VideoIndex) -> None:
        if key is None or _nbytes(index) > CACHE_BYTES:
            return
        with self._lock:
            _, old = self._kept.pop(key[0], (None, None))
            self._kept[key[0]] = key[1], index
            self._bytes += _nbytes(index) - (_nbytes(old) if old else 0)
            while self._bytes > CACHE_BYTES:
                self._bytes -= _nbytes(self._kept.popitem(last=False)[1][1])


def _nbytes(index: VideoIndex) -> int:
    return 1000 + index.pts.nbytes + (0 if index._keys is None else index._keys.nbytes)


cache = _Cache()


def index_packets(container: Any, stream: Any) -> VideoIndex | None:
    """Build the index from packets, decoding one frame; return None if they are not reliable (see the module)."""
    context = stream.codec_context
    frames_in = _frame_counter(container, context)
    if frames_in is None:
        return None
    times, places, keys, first, total = [], [], bytearray(), None, 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt or packet.is_discard:
                return None
            if first is None and (packet.size or packet.dts is None):
                first = next(iter(stream.decode(packet)), None)
            if not packet.size:
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
    return _make_index(stream, first, stored[order], np.flatnonzero(starts[order]))


def _is_indexed(entries: Any, times: list[int], places: list[int]) -> bool:
    """Return whether an AVI's index lists all packets. FFmpeg counts those for times, or after a seek the entries."""
    found = [(entry.timestamp, entry.pos) for entry in entries]
    distances = {place - entry[1] for entry, place in zip(found, places, strict=False)}
    return [time for time, _ in found] == times and len(distances) == 1


def _frame_counter(container: Any, context: Any) -> Callable[[Any], int | None] | None:
    """Return a function from a packet to the number of frames it decodes to, 0 or 1, or None where that is not known.

    None for a stream whose frames the decoder may output in another order than that of their times.
    """
    codec = context.name
    if codec in ("h264", "hevc") and not (container.format.name == "avi" and context.reorder_depth):
        try:
            scan = PictureScan(codec, context.extradata)
        except (ValueError, IndexError):
            return None
        return lambda packet: 1 if scan.holds_next(bytes(packet)) else None
    # Other codecs that reorder (MPEG-1, 2 and 4, VC-1, ...) do so by picture type and drop pictures that do not fit.
    # APNG paints each frame over the one before, which a seek does not clear.
    if context.reorder_depth or codec == "apng":
        return None
    if codec == "mpeg4":  # a "not coded" picture takes about 10 bytes and decodes to no frame
        return lambda packet: 1 if packet.size >= 32 else None
    return {"vp8": _vp8_shown, "vp9": _vp9_shown}.get(codec, lambda packet: 1)


def _vp8_shown(packet: Any) -> int:
    """Return 0 for a frame that is never shown, else 1. Source: RFC 6386, section 9.1."""
    return memoryview(packet)[0] >> 4 & 1


def _vp9_shown(packet: Any) -> int:
    """Return 0 for a frame that is never shown, else 1. Source: VP9 specification, section 6.2 and annex B."""
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:
        return 1  # a superframe: several frames, of which the last is shown
    bit = 2 if data[0] >> 4 & 3 == 3 else 3  # profile 3 is followed by a reserved bit
    return data[0] >> bit & 1 or data[0] >> bit - 2 & 1  # show_existing_frame, show_frame


def _know_order(times: np.ndarray, keys: np.ndarray, reorder_depth: int) -> bool:
    """Return whether packet times, given in stored order, can be the decoder's output order."""
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
    """Build the index by decoding everything, without damaged frames at the end; return None if no frame is intact."""
    times, first, good = [], None, 0
    for frame, _, intact in decode(container, stream, limits):
        first = first or frame
        times.append(frame.pts)
        good = len(times) if intact else good
    if not good:
        return None
    known = None not in times[:good]
    return _make_index(stream, first, _ascending(np.array(times[:good], dtype=np.int64)) if known else good)


def _make_index(stream: Any, first: Any, pts: np.ndarray | int, keys: np.ndarray | None = None) -> VideoIndex:
    """Build the index from the first frame, the times of all (or only their number) and the places of keyframes."""
    height, width = upright_size(stream, first)
    fps, base = float(stream.average_rate or stream.guessed_rate or 25), stream.time_base
    if isinstance(pts, int):
        pts, base = np.arange(pts), 1 / Fraction(fps).limit_denominator(100_000)
    elif pts[-1] > pts[0]:
        fps = float((len(pts) - 1) / (int(pts[-1] - pts[0]) * base))
    for array in (pts, keys):
        if array is not None:
            array.flags.writeable = False  # a cached index is shared
    return VideoIndex(pts, base, height, width, fps, keys)


def _ascending(times: np.ndarray) -> np.ndarray:
    """Return times that never go back: sorted if they are merely out of order, else raised to the time before."""
    order = np.argsort(times, kind="stable")
    local = (np.abs(order - np.arange(len(order))) <= MAX_REORDER).all()
    return times[order] if local else np.maximum.accumulate(times)
