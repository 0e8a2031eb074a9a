# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Exact frames of video files, through PyAV: index a file once, then read the frames at given indices.

Frame `i` is the i-th frame that decoding the whole file returns, whatever the headers claim. Seeking only saves work:
what it finds is checked against the index by time stamp; where that fails, the file is decoded from its start.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import av
import numpy as np

from .indexing import (
    MAX_REORDER,
    REPAIR,
    Source,
    VideoIndex,
    cache,
    decode,
    index_frames,
    index_header,
    index_packets,
    index_table,
    name_of,
    open_stream,
    quarter_turns,
)

Each = Callable[[np.ndarray], np.ndarray]


class VideoReader:
    """One video, opened once to find its frames and to read any of them; `with` closes it.

    Args:
        source: a path, the bytes of a file, or a seekable binary file (read from its start).
        index: of the same source, if known.
        remember: keep the index of a file on disk for the next time that this process reads it. It is found again by
            path, inode, size and time of modification, unless that is less than two seconds ago.
    """

    def __init__(self, source: Source, index: VideoIndex | None = None, *, remember: bool = True) -> None:
        self._source, self._index = source, index
        self._key = cache.key(source) if remember and index is None else None
        self._stack = ExitStack()
        self._opened: tuple[Any, Any] | None = None
        self._at_start = False

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        self._opened = None

    def _open(self, *, at_start: bool) -> tuple[Any, Any]:
        """Returns container and stream, newly opened if the start is asked for and something was read."""
        if self._opened is None or (at_start and not self._at_start):
            self.close()
            self._opened, self._at_start = self._stack.enter_context(open_stream(self._source)), True
        return self._opened

    @property
    def index(self) -> VideoIndex:
        """The `VideoIndex`, see `index_video`."""
        if self._index is None:
            self._index = cache.get(self._key)
        if self._index is None:
            self._index = self._make_index()
            cache.put(self._key, self._index)
        return self._index

    def _make_index(self) -> VideoIndex:
        opened, found = self._open(at_start=True), None
        table = index_table(self._source, *opened)
        if table is not None:
            self._at_start = False
            found = index_header(*opened, *table)
        for index_from in (index_packets, index_frames):
            if found is None:
                opened, self._at_start = self._open(at_start=True), False
                found = index_from(*opened)
        if found is None:
            raise ValueError(f"{name_of(self._source)}: no frame of its video stream can be decoded. {REPAIR}")
        return found

    def read(self, indices: Sequence[int] | np.ndarray, each: Each | None = None) -> np.ndarray:
        """Returns the frames at `indices`, see `read_frames`, or what `each` makes of every one of them.

        Args:
            indices: see `read_frames`.
            each: from a frame (height, width, 3) to what is kept of it, always of one shape, such as a smaller picture: all
                frames are then never in memory at once.
        """
        index, asked = self.index, np.asarray(indices)
        if asked.ndim != 1 or (asked.size and asked.dtype.kind not in "iu"):
            raise ValueError(f"indices must be a flat sequence of integers, got {asked.dtype} of shape {asked.shape}.")
        wrong = asked[(asked < 0) | (asked >= index.num_frames)]
        if wrong.size:
            last = index.num_frames - 1
            raise IndexError(f"{name_of(self._source)}: no frame {wrong[0]}, they go from 0 to {last}.")
        wanted, rows = np.unique(asked.astype(np.int64), return_inverse=True)
        picture = np.zeros((index.height, index.width, 3), dtype=np.uint8)
        kept = picture if each is None else each(picture)
        frames = np.empty((len(wanted), *kept.shape), dtype=kept.dtype)
        if wanted.size and not self._read_seeking(wanted, frames, each):
            opened = self._open(at_start=True)
            self._at_start = False
            problem = _fill(decode(*opened), index, 0, wanted, frames, each)
            if problem:
                raise ValueError(f"{name_of(self._source)}: {problem}. {REPAIR}")
        return frames if np.array_equal(wanted, asked) else frames[rows.reshape(-1)]

    def _read_seeking(self, wanted: np.ndarray, frames: np.ndarray, each: Each | None) -> bool:
        """Fills `frames`, seeking to the keyframe before each group of wanted frames; False when that is not safe."""
        index = self.index
        if index._keys is None:
            return False
        container, stream = self._open(at_start=False)
        starts = index._keys[np.searchsorted(index._keys, wanted, side="right") - 1]
        # What a decoder has taken in when it hands out a frame is decoded anyway: seeking past that saves nothing.
        ahead = stream.codec_context.reorder_depth
        breaks = np.flatnonzero(starts[1:] > wanted[:-1] + 1 + ahead) + 1
        for rows in np.split(np.arange(len(wanted)), breaks):
            start, group = int(starts[rows[0]]), slice(rows[0], rows[-1] + 1)
            only = set(index.pts[wanted[group]].tolist())
            # Some demuxers seek by decoding time and land behind the keyframe: then from a little earlier, and to the
            # start by opening the file again.
            for back in (0, 4, MAX_REORDER) if start else (0, None):
                if back is None:
                    container, stream = self._open(at_start=True)
                elif start or not self._at_start:
                    with suppress(av.error.FFmpegError):
                        container.seek(int(index.pts[max(start - back, 0)]), stream=stream)
                fresh, self._at_start = self._at_start and not start, False
                decoded = decode(container, stream, only)
                if not _fill(decoded, index, start, wanted[group], frames[group], each, fresh):
                    break
            else:
                return False
        return True


def index_video(source: Source, *, remember: bool = True) -> VideoIndex:
    """Returns the `VideoIndex` of a video: a path, the bytes of a file, or a seekable binary file (read from its start).

    Reads an MP4 or MOV file's header, or else the packets once, and decodes one frame, for its size. Where packets do not
    tell the frames (no, equal or backward times, a cut, a start without keyframe, damage), decodes all frames once;
    damaged ones at the end then do not count. Of several video streams takes the one ffmpeg calls best, never a cover
    picture.

    Args:
        source: see above.
        remember: see `VideoReader`.

    Raises:
        OSError: the path cannot be opened.
        ValueError: the source holds no video that can be decoded.
    """
    with VideoReader(source, remember=remember) as reader:
        return reader.index


def read_frames(
    source: Source, indices: Sequence[int] | np.ndarray, *, index: VideoIndex | None = None, remember: bool = True
) -> np.ndarray:
    """Returns the frames at `indices`: (len(indices), height, width, 3) uint8, RGB.

    Frames are upright (rotation metadata applied), with square pixels (the width is stretched). Alpha is dropped, not
    composited; interlaced frames keep both fields; 10-bit becomes 8; a frame of another size than the first is resized
    to it. Colours are converted as ffmpeg does by default. Only frames from the keyframe before a wanted one are decoded,
    and of H.264 and HEVC none that no wanted one is decoded from.

    Args:
        source: as for `index_video`.
        indices: frames in any order, with repeats, each in [0, num_frames).
        index: the index of the same source, if known.
        remember: see `VideoReader`.

    Raises:
        IndexError: an index is out of range.
        OSError: the path cannot be opened.
        ValueError: the source cannot be decoded, or a wanted frame is damaged or missing.
    """
    with VideoReader(source, index, remember=remember) as reader:
        return reader.read(indices)


def _fill(
    decoded: Iterator,
    index: VideoIndex,
    start: int,
    wanted: np.ndarray,
    frames: np.ndarray,
    each: Each | None,
    anchored: bool = True,
) -> str:
    """Fills `frames` with those at `wanted`; returns what is not as the index, or the seek to `start`, promised.

    Unless `anchored`, by the start of the file, decoding has to pass the keyframe at `start` first.
    """
    row, count = 0, 0
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
            picture = _picture(frame, index)
            frames[row] = picture if each is None else each(np.ascontiguousarray(picture))
            row += 1
            if row == len(wanted):
                return ""
    return f"frame {wanted[row]} of {index.num_frames} cannot be decoded, {count} frames on the way to it were"


def _picture(frame: Any, index: VideoIndex) -> np.ndarray:
    turns = quarter_turns(frame)
    size = (index.width, index.height)[:: -1 if turns % 2 else 1]
    # One thread: swscale would otherwise start threads anew for every frame, which costs more than the conversion.
    return np.rot90(frame.to_ndarray(format="rgb24", width=size[0], height=size[1], threads=1), turns)
