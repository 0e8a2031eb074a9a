# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames of a video make a clip: integers in, integers out."""

import numpy as np


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, received {value}.")


def strided_indices(total: int, num_frames: int, frame_stride: int, start: int | None = None) -> np.ndarray:
    """Returns `(num_frames,)` int64: a clip of every `frame_stride`-th frame, centred unless `start` is given.

    Short videos: indices past the end repeat the last frame (repeated frames cost RLT next to nothing).

    Args:
        total: frames in the video.
        num_frames: frames in the clip.
        frame_stride: distance of two frames of the clip, in frames of the video.
        start: first frame; None centres the clip in the video.

    Raises:
        ValueError: if a number is not positive.

    Source: the sparse clips of VideoMAE (16 x 4) and their padding with the last frame.
    """
    _check_positive(total=total, num_frames=num_frames, frame_stride=frame_stride)
    span = (num_frames - 1) * frame_stride + 1
    if start is None:
        start = max(total - span, 0) // 2
    return np.minimum(start + np.arange(num_frames, dtype=np.int64) * frame_stride, total - 1)


def fps_indices(timestamps: np.ndarray, num_frames: int, fps: float) -> np.ndarray:
    """Returns `(num_frames,)` int64: the frames on display at `fps` instants a second, centred in the video.

    Args:
        timestamps: `(total,)` seconds at which each frame appears, ascending; unequal distances are honoured.
        num_frames: frames in the clip.
        fps: instants per second; above the video's own rate frames repeat. Short videos repeat the last frame.

    Raises:
        ValueError: if a number is not positive.
    """
    _check_positive(total=len(timestamps), num_frames=num_frames, fps=fps)
    span = (num_frames - 1) / fps
    start = timestamps[0] + max(timestamps[-1] - timestamps[0] - span, 0.0) / 2
    instants = start + np.arange(num_frames) / fps
    # Half a microsecond forgives rounding in instants that fall on a frame's own timestamp.
    return np.clip(np.searchsorted(timestamps, instants + 5e-7, side="right") - 1, 0, len(timestamps) - 1)


def uniform_indices(total: int, num_frames: int) -> np.ndarray:
    """Returns `(num_frames,)` int64: the middles of `num_frames` equal segments of the video.

    Raises:
        ValueError: if a number is not positive.

    Source: segment sampling as VideoMAE uses it for Something-Something.
    """
    _check_positive(total=total, num_frames=num_frames)
    return ((np.arange(num_frames) + 0.5) * total / num_frames).astype(np.int64)
