# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read exact frames of video files with PyAV: index a file once, then read the frames at given indices.

Frame `i` is the i-th frame that decoding the whole file returns, whatever the headers claim. Seeking only saves work:
frames are counted from the keyframe on and their time stamps compared with the index; if they differ, the file is
decoded from its start.
"""

import ctypes
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import av
import numpy as np

from .downloads import download, is_address
from .errors import HfRltError
from .video_index import MAX_REORDER, VideoIndex, cache, index_frames, index_packets
from .video_stream import NO_LIMITS, REENCODE_HINT, Decoded, Limits, Source, decode, name_of, open_stream, to_rgb

FrameTransform = Callable[[np.ndarray], np.ndarray]
_readers: weakref.WeakSet["VideoReader"] = weakref.WeakSet()


class VideoReader:
    """A video, opened once to index its frames and to read any of them; use it in a `with` block.

    Args:
        source: a path, the bytes of a file, a seekable binary file, or an http(s) address, downloaded once.
        index: the index of the same source, if known.
        use_cache: cache the index of a file for later reads in this process, by path, inode, size and time stamps; a
            file that changed less than two seconds ago is not cached.
        limits: see `Limits`.
    """

    def __init__(
        self, source: Source, index: VideoIndex | None = None, *, use_cache: bool = True, limits: Limits = NO_LIMITS
    ) -> None:
        self._source, self._index, self._limits = source, index, limits
        self._key = cache.key(source) if use_cache and index is None else None
        self._download: Any = None
        self._stack = ExitStack()
        self._opened: tuple[Any, Any] | None = None
        self._at_start = self._damaged = False
        _readers.add(self)

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self._opened = None
        if self._download is not None:
            self._download.close()
            self._download = None

    def _open(self, *, rewind: bool = False) -> tuple[Any, Any]:
        """Return container and stream; with `rewind` at the start of the file, opened anew if anything was read."""
        if rewind and not self._at_start:
            self._stack.close()
            self._opened = None
        if self._opened is None:
            if self._download is None and is_address(self._source):
                self._download = download(self._source)
            self._opened = self._stack.enter_context(open_stream(self._download or self._source, self._limits))
            self._at_start, self._damaged = True, False
        self._at_start = self._at_start and not rewind
        return self._opened

    @property
    def index(self) -> VideoIndex:
        """The `VideoIndex`, see `index_video`."""
        if self._index is None:
            self._index = cache.get(self._key)
        if self._index is None:
            found = index_packets(*self._open(rewind=True)) or index_frames(*self._open(rewind=True), self._limits)
            if found is None:
                raise self._error("no frame of its video stream can be decoded")
            self._index = found
            cache.put(self._key, found)
        return self._index

    def _error(self, problem: str) -> HfRltError:
        return HfRltError(f"{name_of(self._source)}: {problem}. {REENCODE_HINT}")

    def read(self, indices: Sequence[int] | np.ndarray, transform: FrameTransform | None = None) -> np.ndarray:
        """Return the frames at `indices` (see `read_frames`), each transformed, e.g. to a smaller picture of one shape.

        The full-size frames are then never in memory together.
        """
        index, asked = self.index, np.asarray(indices)
        if asked.ndim != 1 or (asked.size and asked.dtype.kind not in "iu"):
            raise HfRltError(f"indices must be a flat sequence of integers, got {asked.dtype} of shape {asked.shape}.")
        wrong = asked[(asked < 0) | (asked >= index.num_frames)]
        if wrong.size:
            raise IndexError(f"{name_of(self._source)}: no frame {wrong[0]}, they go from 0 to {index.num_frames - 1}.")
        wanted, rows = np.unique(asked.astype(np.int64), return_inverse=True)
        transform = transform or np.asarray
        kept = transform(np.zeros((index.height, index.width, 3), dtype=np.uint8))
        frames = np.empty((len(wanted), *kept.shape), dtype=kept.dtype)
        if wanted.size and not self._read_seeking(wanted, frames, transform):
            decoded = _count(decode(*self._open(rewind=True), self._limits), index)
            if problem := self._fill(frames, wanted, decoded, transform):
                raise self._error(problem)
        return frames if np.array_equal(wanted, asked) else frames[rows.reshape(-1)]

    def _read_seeking(self, wanted: np.ndarray, frames: np.ndarray, transform: FrameTransform) -> bool:
        """Fill `frames`, seeking to the keyframe before each group of wanted ones; return False if that is not safe."""
        index = self.index
        if index._keys is None:
            return False
        starts = index._keys[np.searchsorted(index._keys, wanted, side="right") - 1]
        # By the time it outputs a frame, the decoder has decoded some later ones: seeking past those saves nothing.
        ahead = self._open()[1].codec_context.reorder_depth
        breaks = np.flatnonzero(starts[1:] > wanted[:-1] + 1 + ahead) + 1
        for rows in np.split(np.arange(len(wanted)), breaks):
            start, group = int(starts[rows[0]]), slice(rows[0], rows[-1] + 1)
            # Some demuxers seek by decoding time and land after the keyframe: retry from a little earlier. To get back
            # to the start, reopen the file.
            for back in (0, 4, MAX_REORDER) if start else (0, None):
                if not self._fill(frames[group], wanted[group], self._sought(start, back), transform):
                    break
            else:
                return False
        return True

    def _sought(self, start: int, back: int | None) -> Iterator[tuple[int, Decoded]]:
        """Seek to `back` frames before the keyframe at `start`, or reopen the file if that is None; see `_place`."""
        reopen = back is None or self._met_damage()
        fresh, self._at_start = not start and (reopen or self._at_start), False
        container, stream = self._open(rewind=reopen)
        if not fresh:
            with suppress(av.error.FFmpegError):
                container.seek(int(self.index.pts[max(start - (back or 0), 0)]), stream=stream)
        return self._place(container, stream, start, fresh)

    def _met_damage(self) -> bool:
        """Return whether the decoder met damage, even in frames it still holds: flushing would not clear all of it."""
        if not self._at_start and not self._damaged:
            self._damaged = True
            with suppress(av.error.FFmpegError):
                self._damaged = any(frame.is_corrupt for frame in self._open()[1].decode(None))
        return self._damaged

    def _place(self, container: Any, stream: Any, start: int, fresh: bool) -> Iterator[tuple[int, Decoded]]:
        """Decode and number frames from the keyframe at `start` on; stop at damage, or where times are not the index's.

        A frame counts only when the next one confirms it: a seek loses frames that are stored after a keyframe but shown
        before it, and then some decoders report damage one frame late. The first frame of a `fresh` file need not be key.
        """
        times, place = self.index.pts, start - 1
        held: list[tuple[int, Decoded]] = []
        intra = stream.codec_context.codec.intra_only
        for item in decode(container, stream, self._limits):
            time, self._damaged = item.frame.pts, self._damaged or not item.intact
            if place < start and time is not None:
                if time < times[start]:
                    continue  # of the group before
                if not (fresh or (item.is_key and item.intact)):
                    return
            place += 1
            if place >= len(times) or time != times[place]:
                return
            if held and not item.intact:
                return
            yield from held
            held = [(place, item)]
            if intra:
                yield held.pop()
        yield from held

    def _fill(
        self, frames: np.ndarray, wanted: np.ndarray, placed: Iterator[tuple[int, Decoded]], transform: FrameTransform
    ) -> str:
        """Fill `frames` with the numbered frames at `wanted`; return what is wrong, or "" if nothing is."""
        row, last, index = 0, -1, self.index
        for last, (frame, _, intact) in placed:
            if last > wanted[row]:
                break
            if last == wanted[row]:
                if not intact:
                    return f"frame {last} of {index.num_frames} is damaged"
                frames[row] = transform(np.ascontiguousarray(to_rgb(frame, index.height, index.width)))
                row += 1
                if row == len(wanted):
                    return ""
        return f"frame {wanted[row]} of {index.num_frames} cannot be decoded, {last + 1} frames on the way to it were"


def _leave_to_parent() -> None:
    """Make readers reopen their files in a forked process, where they share the parent's position in them."""
    # What the parent has open is never freed here: a decoder would wait for threads that only the parent has.
    for reader in list(_readers):
        for held in (*(reader._opened or ()), reader._stack):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
        reader._stack, reader._opened = ExitStack(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def index_video(source: Source, *, use_cache: bool = True) -> VideoIndex:
    """Return the `VideoIndex` of a video.

    Reads the packets once and decodes one frame. If packets do not reliably give the frames and their order (see
    `video_index.py`), decodes all frames once; damaged frames at the end then do not count.
    """
    with VideoReader(source, use_cache=use_cache) as reader:
        return reader.index


def read_frames(
    source: Source, indices: Sequence[int] | np.ndarray, *, index: VideoIndex | None = None, use_cache: bool = True
) -> np.ndarray:
    """Return the frames at `indices`, in any order and with repeats: (len(indices), height, width, 3) uint8, RGB.

    Frames are upright (rotation metadata applied), with square pixels (the width is stretched). Alpha is dropped, not
    composited; interlaced frames keep both fields; 10-bit becomes 8; a frame of another size than the first is resized
    to it. Colours are converted as ffmpeg does by default. Every frame from the keyframe on is decoded, so that a frame
    is identical whether read alone or with others.

    Raises:
        IndexError: an index is not in [0, num_frames).
        HfRltError: the source cannot be decoded, or a wanted frame is damaged or missing.
    """
    with VideoReader(source, index, use_cache=use_cache) as reader:
        return reader.read(indices)


def _count(decoded: Iterator[Decoded], index: VideoIndex) -> Iterator[tuple[int, Decoded]]:
    """Number all frames of a file. A frame lost to damage keeps its number if packets have times."""
    place, damaged = -1, False
    for item in decoded:
        place += 1
        time, damaged = item.frame.pts, damaged or not item.intact
        if index._keys is not None and damaged and time is not None:
            place = max(place, int(np.searchsorted(index.pts, time)))
        yield place, item
