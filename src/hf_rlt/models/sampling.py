# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames of a video make a clip: integers in, integers out."""

import math

import numpy as np

from .errors import HfRltError


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise HfRltError(f"{name} must be positive, received {value}.")


def _check_position(position: float | np.ndarray) -> None:
    if not np.all((np.asarray(position) >= 0) & (np.asarray(position) <= 1)):
        raise HfRltError(f"position must be between 0 and 1, received {position}.")


def strided_indices(total: int, num_frames: int, frame_stride: int, position: float = 0.5) -> np.ndarray:
    """Returns `(num_frames,)` int64: a clip of every `frame_stride`-th frame, centred unless `position` says otherwise.

    Short videos: indices past the end repeat the last frame (repeated frames cost RLT next to nothing).

    Args:
        total: frames in the video.
        num_frames: frames in the clip.
        frame_stride: distance of two frames of the clip, in frames of the video.
        position: where the clip lies, from 0 (it begins with the video) to 1 (it ends with the video).

    Raises:
        ValueError: if a number is not positive or the position is not in [0, 1].

    Source: the sparse clips of VideoMAE (16 x 4) and their padding with the last frame.
    """
    _check_positive(total=total, num_frames=num_frames, frame_stride=frame_stride)
    _check_position(position)
    free = max(total - ((num_frames - 1) * frame_stride + 1), 0)
    start = math.ceil(position * free - 0.5)  # the nearest frame; halves go down, as free // 2 does
    return np.minimum(start + np.arange(num_frames, dtype=np.int64) * frame_stride, total - 1)


def fps_indices(timestamps: np.ndarray, num_frames: int, fps: float, position: float = 0.5) -> np.ndarray:
    """Returns `(num_frames,)` int64: the frames on display at `fps` instants a second, centred in the video.

    Args:
        timestamps: `(total,)` seconds at which each frame appears, ascending; unequal distances are honoured.
        num_frames: frames in the clip.
        fps: instants per second; above the video's own rate frames repeat. Short videos repeat the last frame.
        position: where the clip lies, from 0 (it begins with the video) to 1 (it ends with the video).

    Raises:
        ValueError: if a number is not positive or the position is not in [0, 1].
    """
    _check_positive(total=len(timestamps), num_frames=num_frames, fps=fps)
    _check_position(position)
    span = (num_frames - 1) / fps
    start = timestamps[0] + max(timestamps[-1] - timestamps[0] - span, 0.0) * position
    instants = start + np.arange(num_frames) / fps
    # Half a microsecond forgives rounding in instants that fall on a frame's own timestamp.
    return np.clip(np.searchsorted(timestamps, instants + 5e-7, side="right") - 1, 0, len(timestamps) - 1)


def uniform_indices(total: int, num_frames: int, position: float | np.ndarray = 0.5) -> np.ndarray:
    """Returns `(num_frames,)` int64: one frame of each of `num_frames` equal segments of the video, the middle one.

    Args:
        total: frames in the video.
        num_frames: frames in the clip.
        position: where in its segment each frame lies, from 0 to 1; one number, or `(num_frames,)`.

    Raises:
        ValueError: if a number is not positive or a position is not in [0, 1].

    Source: segment sampling as VideoMAE uses it for Something-Something.
    """
    _check_positive(total=total, num_frames=num_frames)
    _check_position(position)
    return np.minimum((np.arange(num_frames) + position) * total / num_frames, total - 1).astype(np.int64)


def view_positions(num_clips: int, sampling: str) -> list[float]:
    """Returns the positions of the clips of a multi-view evaluation, for the functions above.

    One clip is centred. Strided clips are spread from the beginning to the end of the video; uniform clips begin at the
    first frame of each segment and are `1 / num_clips` of a segment apart.

    Raises:
        ValueError: if `num_clips` is not positive.

    Source: VideoMAE's test protocol, kinetics.py and ssv2.py of its public code.
    """
    _check_positive(num_clips=num_clips)
    if num_clips == 1:
        return [0.5]
    return [clip / (num_clips if sampling == "uniform" else num_clips - 1) for clip in range(num_clips)]


def view_crops(height: int, width: int, crop_height: int, crop_width: int, num_crops: int) -> list[tuple[int, int]]:
    """Returns the `(top, left)` of `num_crops` crops spread along the longer side of a frame; one is centred.

    Raises:
        ValueError: if `num_crops` is not positive or the crop is larger than the frame.

    Source: VideoMAE's test protocol (left, centre, right or top, centre, bottom for three crops).
    """
    _check_positive(num_crops=num_crops)
    free_rows, free_columns = height - crop_height, width - crop_width
    if min(free_rows, free_columns) < 0:
        raise HfRltError(
            f"Expected frames of at least {crop_height}x{crop_width} to crop from, received {height}x{width}: set the "
            "processor's size to the crop's or more."
        )
    along = [0.5] if num_crops == 1 else [crop / (num_crops - 1) for crop in range(num_crops)]
    rows, columns = (along, [0.5] * num_crops) if free_rows > free_columns else ([0.5] * num_crops, along)
    return [(round(row * free_rows), round(column * free_columns)) for row, column in zip(rows, columns, strict=True)]
