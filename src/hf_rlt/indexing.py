# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames a video has and when each is shown, found through PyAV with as little reading as is certain to be right.

MP4 and MOV files say it in their header; elsewhere the packets are read; where they do not tell, all is decoded.
"""

import io
import multiprocessing
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice, pairwise
from typing import Any, BinaryIO

import av
import numpy as np

from .sample_tables import read_sample_tables

Source = str | os.PathLike | bytes | BinaryIO

REPAIR = "Re-encode it, e.g. with `ffmpeg -i in -c:v libx264 out.mp4`, or leave it out."
MAX_REORDER = 16  # no common codec shows a frame more places away from where it is stored
CACHE_BYTES = 64 << 20  # of all remembered indices together; that of two hours at 30 FPS has 2 MB
_SETTLED = 2_000_000_000  # ns after which a file that is written again gets another modification time
_ONE_THREAD = 1 << 17  # pixels of a frame below which handing it to a thread costs more than it saves
_AS_STORED = (
    "h264",
    "hevc",
    "mpeg4",
    "mjpeg",
    "prores",
    "av1",
    "libdav1d",
)  # libavformat hands on each sample as it is
# Formats that open other files or addresses that they name, or run a script: never what is called a video here.
_REFERRING = {"concat", "hls", "dash", "webm_dash_manifest", "imf", "sdp", "rtp", "rtsp", "sap"}
_REFERRING |= {"image2", "vobsub", "mlv", "dvdvideo", "lavfi", "avisynth", "vapoursynth"}
_FORMATS = ",".join(sorted(av.formats_available - _REFERRING))
_DISCARD: Any = getattr(av.stream, "Discard", None)  # PyAV 17 has none


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


class _Cache:
    """Indices of files by name, inode, size and time of modification; those not used for longest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, VideoIndex] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    @staticmethod
    def key(source: Source) -> tuple | None:
        """Returns what tells this state of a file from others; None for no file, or one that may still be written."""
        if not isinstance(source, (str, os.PathLike)):
            return None
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            return None
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _SETTLED:
            return None
        return os.path.abspath(os.fsdecode(source)), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

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
    return index.pts.nbytes + (0 if index._keys is None else index._keys.nbytes) + 1000


cache = _Cache()


def name_of(source: Source) -> str:
    """Returns what errors call a source."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    return "<bytes>" if isinstance(source, bytes) else str(getattr(source, "name", f"<{type(source).__name__}>"))


@contextmanager
def open_stream(source: Source) -> Iterator[tuple[Any, Any]]:
    """Yields the open container and its video stream.

    Raises:
        OSError: the path cannot be opened.
        ValueError: the source holds no video, or is a playlist or another format that names further files.
    """
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    if isinstance(source, (str, os.PathLike)):
        file = os.fsdecode(source)
        del options["protocol_whitelist"]
        if "://" not in file:
            open(file, "rb").close()  # the ordinary OSError for what cannot be opened
            file = f"file:{file}"  # or a colon in the name makes it a protocol
            options["protocol_whitelist"] = "file"
    else:
        file.seek(0)
    try:
        container = av.open(file, options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:  # what FFmpeg answers to a format that is not on the list
        raise ValueError(
            f"{name_of(source)}: not a video that can be opened ({error.strerror}), or a playlist (ffconcat, m3u8, sdp, "
            "...): formats that name other files are not read. Pass the video itself."
        ) from error
    except av.error.FFmpegError as error:
        raise ValueError(f"{name_of(source)}: not a video that can be opened ({error.strerror}). {REPAIR}") from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover]
        if not streams:
            found = ", ".join(f"{s.type} {s.codec_context.name if s.codec_context else '?'}" for s in container.streams)
            raise ValueError(f"{name_of(source)}: no video stream to decode, found: {found or 'nothing'}. {REPAIR}")
        best = container.streams.best("video")
        stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        for other in container.streams:
            if other.index != stream.index and _DISCARD is not None:
                other.discard = _DISCARD.all  # not read, where the format allows it
        stream.thread_type = "FRAME"  # with slice threads the H.264 decoder conceals damage and does not tell
        stream.codec_context.thread_count = _threads(stream.codec_context)
        yield container, stream


def _threads(context: Any) -> int:
    """Returns how many threads decode: 1, which tells damage as several do, or 0 for as many as there are cores."""
    small = 0 < context.width * context.height < _ONE_THREAD
    return 1 if small or multiprocessing.parent_process() is not None else 0  # its siblings use the other cores


def decode(container: Any, stream: Any, only: set[int] | None = None) -> Iterator[tuple[Any, bool]]:
    """Yields (frame, intact): not intact from an error on, until a keyframe that is shown after it.

    Args:
        container, stream: as `open_stream` yields them; from where the container stands.
        only: times of the frames that are wanted: others may be left out, if no frame is decoded from them.
    """
    context, broken, since = stream.codec_context, False, None
    wanted = only if context.name in ("h264", "hevc") else None
    context.skip_frame = "DEFAULT"
    for packet, after in pairwise(chain(_packets(container, stream), [None, None])):
        bad = packet is not None and packet.is_corrupt
        if bad and after is None:
            continue  # the end of the file cuts it off
        if wanted is not None:
            context.skip_frame = "NONREF" if packet is not None and packet.pts not in wanted else "DEFAULT"
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


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yields the packets that hold data, up to where the file breaks off; empty ones would end the decoder."""
    with suppress(av.error.FFmpegError):
        yield from (packet for packet in container.demux(stream) if packet.size)


def quarter_turns(frame: Any) -> int:
    """Returns how often a frame has to be turned by 90 degrees counterclockwise, as np.rot90 counts, to be upright."""
    return round((frame.rotation or 0) / 90) % 4


def index_table(source: Source, container: Any, stream: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns (times, is keyframe) of the samples as an MP4 or MOV file's header tells them, times up to a constant.

    None when reading the packets could tell anything else. Reads no packet, and leaves a binary source where it was.
    """
    entries = stream.index_entries
    if not container.format.name.startswith("mov,") or stream.codec_context.name not in _AS_STORED or not len(entries):
        return None
    if _DISCARD is None and len(container.streams) > 1:
        return None  # where another stream is damaged, reading ends there
    if isinstance(source, (str, os.PathLike)):
        if "://" in os.fsdecode(source):
            return None
        with open(source, "rb") as file:
            table, end = read_sample_tables(file).get(stream.id), file.seek(0, io.SEEK_END)
    else:
        file = io.BytesIO(source) if isinstance(source, bytes) else source  # type: ignore[assignment]
        place = file.tell()
        table, end = read_sample_tables(file).get(stream.id), file.seek(0, io.SEEK_END)
        file.seek(place)
    if table is None or len(table.sizes) != len(entries) or stream.frames not in (0, len(entries)):
        return None
    rows = np.fromiter(
        ((e.timestamp, e.pos, e.size, e.is_keyframe, e.is_discard) for e in entries),
        np.dtype((np.int64, 5)),
        len(entries),
    )
    times, places, sizes, keys, discards = rows.T
    whole = (sizes == table.sizes).all() and (sizes > 0).all() and (places >= 0).all() and (places + sizes <= end).all()
    return (times + table.offsets, keys.astype(bool)) if whole and not discards.any() else None


def index_header(container: Any, stream: Any, times: np.ndarray, keys: np.ndarray) -> VideoIndex | None:
    """Returns the index that `index_table` gives; None when it may not be what decoding returns.

    Decodes the first frame, and compares the packets on the way to it with the header.
    """
    first, shift = None, None
    try:
        for i, packet in enumerate(islice(container.demux(stream), len(times) + 1)):
            if packet.is_corrupt or packet.is_discard:
                return None
            if packet.size:
                shift = packet.pts - times[i] if shift is None and packet.pts is not None else shift
                if shift is None or packet.pts != times[i] + shift or packet.is_keyframe != keys[i]:
                    return None
            first = next(iter(stream.decode(packet if packet.size else None)), None)
            if first is not None:
                break
    except av.error.FFmpegError:
        return None
    return None if shift is None else _check_packets(stream, first, times + shift, keys)


def index_packets(container: Any, stream: Any) -> VideoIndex | None:
    """Returns the index that the packets give; None when it may not be what decoding returns."""
    times, keys, first, total = [], bytearray(), None, 0
    vp8 = "vp8" in stream.codec_context.name
    try:
        for packet in container.demux(stream):
            size = packet.size
            if packet.is_corrupt:
                return None
            if first is None and (size or packet.dts is None):
                first = next(iter(stream.decode(packet)), None)
            if not size:
                continue
            total += 1
            # VP8 has packets that are never shown; a bit of their first byte tells.
            if not packet.is_discard and not (vp8 and not memoryview(packet)[0] >> 4 & 1):
                if packet.pts is None:
                    return None
                times.append(packet.pts)
                keys.append(packet.is_keyframe)
    except av.error.FFmpegError:
        return None
    if stream.frames not in (0, total) or not times:
        return None
    return _check_packets(stream, first, np.array(times, dtype=np.int64), np.frombuffer(keys, dtype=bool))


def _check_packets(stream: Any, first: Any, times: np.ndarray, keys: np.ndarray) -> VideoIndex | None:
    """Returns the index of packets with these times and keyframes, in the order in which they are stored."""
    if first is None or first.is_corrupt or not keys[0]:
        return None
    order = np.argsort(times, kind="stable")
    reorder = MAX_REORDER if stream.codec_context.has_b_frames else 0
    times, keys = times[order], keys[order]
    if (np.abs(order - np.arange(len(order))) > reorder).any() or (np.diff(times) == 0).any():
        return None
    return None if first.pts != times[0] else _make_index(stream, first, times, keys)


def index_frames(container: Any, stream: Any) -> VideoIndex | None:
    """Returns the index that decoding everything gives, without damaged frames at the end; None for no frame."""
    times: list[int | None] = []
    keys, first, good = bytearray(), None, 0
    for frame, intact in decode(container, stream):
        first = first or frame
        times.append(frame.pts)
        keys.append(frame.key_frame)
        good = len(times) if intact else good
    return _make_index(stream, first, times[:good], np.frombuffer(keys, dtype=bool)[:good]) if good else None


def _make_index(stream: Any, first: Any, times: Sequence[int | None] | np.ndarray, keys: Iterable[bool]) -> VideoIndex:
    """Returns the index from the first frame, the times of all and whether they are keyframes, in order."""
    ratio = float(stream.sample_aspect_ratio or 1)
    height, width = first.height, round(first.width * (ratio if 1 / 8 <= ratio <= 8 else 1)) or 1  # or it is nonsense
    height, width = (width, height) if quarter_turns(first) % 2 else (height, width)
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    if not isinstance(times, np.ndarray) and None in times:
        pts, base = np.arange(len(times)), 1 / Fraction(fps).limit_denominator(100_000)
        pts.flags.writeable = False
        return VideoIndex(pts, base, height, width, fps)
    stored = np.asarray(times, dtype=np.int64)
    pts = np.maximum.accumulate(stored)
    if pts[-1] > pts[0]:
        fps = float((len(pts) - 1) / (int(pts[-1] - pts[0]) * stream.time_base))
    starts = np.array(keys, dtype=bool)
    starts[0] = True
    found = np.flatnonzero(starts) if (np.diff(stored) > 0).all() else None
    for array in (pts, found):
        if array is not None:
            array.flags.writeable = False  # a remembered index is handed out again
    return VideoIndex(pts, stream.time_base, height, width, fps, found)
