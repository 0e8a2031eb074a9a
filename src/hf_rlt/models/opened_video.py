# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos that other libraries have opened: torchcodec's VideoDecoder and decord's VideoReader.

What these can say about a video is taken as it is: unlike `VideoReader`, nothing makes sure that frame i is the i-th that
decoding the whole file returns.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from .errors import HfRltError
from .video_index import VideoIndex
from .video_inputs import source_of
from .video_reader import FrameTransform, VideoReader
from .video_stream import NO_LIMITS, Limits

AT_ONCE = 8  # full-size frames in memory


class OpenedVideo:
    """Reads frames through somebody else's decoder, as `VideoReader` does through PyAV.

    Args:
        frames_at: returns the frames at a list of indices, `(n, H, W, 3)` uint8.
        count: number of frames.
        fps: average rate, by which the times of frames are taken to be even.
    """

    def __init__(self, frames_at: Callable[[list[int]], np.ndarray], count: int, fps: float) -> None:
        if count < 1:
            raise HfRltError("Expected a video with frames, received an open one without: leave it out.")
        self._frames_at = frames_at
        height, width = frames_at([0]).shape[1:3]
        base = 1 / Fraction(fps or 25).limit_denominator(100_000)
        self.index = VideoIndex(np.arange(count), base, height, width, float(fps or 25))

    def read(self, indices: Sequence[int] | np.ndarray, transform: FrameTransform | None = None) -> np.ndarray:
        """Return the frames at `indices`, each transformed."""
        wanted, rows = np.unique(np.asarray(indices), return_inverse=True)
        parts = [wanted[start : start + AT_ONCE].tolist() for start in range(0, len(wanted), AT_ONCE)]
        frames = [(transform or np.asarray)(frame) for part in parts for frame in self._frames_at(part)]
        return np.stack(frames)[rows.reshape(-1)]


@contextmanager
def open_video(video: Any, limits: Limits = NO_LIMITS) -> Iterator[VideoReader | OpenedVideo]:
    """Open a video given as a path, address, bytes, binary file, undecoded row of `datasets`, or opened by others."""
    opened = source_of(video)
    if hasattr(opened, "get_frames_at"):  # torchcodec
        yield OpenedVideo(lambda wanted: _channels_last(opened, wanted), len(opened), opened.metadata.average_fps)
    elif hasattr(opened, "get_batch"):  # decord
        yield OpenedVideo(lambda wanted: _as_array(opened.get_batch(wanted)), len(opened), opened.get_avg_fps())
    else:
        with VideoReader(opened, limits=limits) as reader:
            yield reader


def _channels_last(decoder: Any, wanted: list[int]) -> np.ndarray:
    """Return torchcodec's frames, which it was told to give as `(n, C, H, W)` or `(n, H, W, C)`."""
    frames = _as_array(decoder.get_frames_at(wanted).data)
    return frames if frames.shape[-1] == 3 else np.moveaxis(frames, 1, -1)


def _as_array(frames: Any) -> np.ndarray:
    """Return frames as an array, whichever library they come from: decord has bridges to several."""
    frames = frames.asnumpy() if hasattr(frames, "asnumpy") else frames
    return frames.cpu().numpy() if hasattr(frames, "cpu") else np.asarray(frames)
