# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames of a video make a clip: integers in, integers out.

`position` is where a clip lies in its video, from 0 (it begins with it) to 1 (it ends with it). Numbers that are not
positive and positions outside [0, 1] raise HfRltError.
"""

import math
from typing import Any

import numpy as np

from .errors import HfRltError


def _check(position: float | np.ndarray = 0.5, **positive: float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise HfRltError(f"{name} must be positive, received {value}.")
    if not np.all((np.asarray(position) >= 0) & (np.asarray(position) <= 1)):
        raise HfRltError(f"position must be between 0 and 1, received {position}.")


def strided_indices(total: int, num_frames: int, frame_stride: int, position: float = 0.5) -> np.ndarray:
    """Take every `frame_stride`-th of `total` frames: `(num_frames,)` int64 indices.

        total 10, num_frames 3, stride 2    . . x . x . x . . .     position 0.5: centred
                                            x . x . x . . . . .     position 0: from the beginning

    Short videos: indices past the end repeat the last frame (repeated frames cost RLT next to nothing).

    Source: the sparse clips of VideoMAE (16 x 4) and their padding with the last frame.
    """
    _check(position, total=total, num_frames=num_frames, frame_stride=frame_stride)
    free = max(total - ((num_frames - 1) * frame_stride + 1), 0)
    start = math.ceil(position * free - 0.5)  # the nearest frame; halves go down, as free // 2 does
    return np.minimum(start + np.arange(num_frames, dtype=np.int64) * frame_stride, total - 1)


def fps_indices(timestamps: np.ndarray, num_frames: int, fps: float, position: float = 0.5) -> np.ndarray:
    """Take the frames on display at `fps` instants a second: `(num_frames,)` int64 indices.

    `timestamps` are ascending seconds. Above the video's own rate frames repeat; short videos repeat the last frame.
    """
    _check(position, total=len(timestamps), num_frames=num_frames, fps=fps)
    span = (num_frames - 1) / fps
    start = timestamps[0] + max(timestamps[-1] - timestamps[0] - span, 0.0) * position
    instants = start + np.arange(num_frames) / fps
    # Half a microsecond forgives rounding in instants that fall on a frame's own timestamp.
    return np.clip(np.searchsorted(timestamps, instants + 5e-7, side="right") - 1, 0, len(timestamps) - 1)


def uniform_indices(total: int, num_frames: int, position: float | np.ndarray = 0.5) -> np.ndarray:
    """Take one frame of each of `num_frames` equal segments of the video: `(num_frames,)` int64 indices.

    `position` says where in its segment each frame lies: one number, or `(num_frames,)`.

    Source: segment sampling as VideoMAE uses it for Something-Something.
    """
    _check(position, total=total, num_frames=num_frames)
    return np.minimum((np.arange(num_frames) + position) * total / num_frames, total - 1).astype(np.int64)


def clip_indices(
    total: int, timestamps: np.ndarray | None, num_frames: int, fps: float | None, sampling: str, **settings: Any
) -> np.ndarray:
    """Take the frames of a clip as a processor's settings say; `fps` goes before `frame_stride`."""
    if sampling == "uniform":
        return uniform_indices(total, num_frames, settings["position"])
    if fps is not None and timestamps is not None:
        return fps_indices(timestamps, num_frames, fps, settings["position"])
    return strided_indices(total, num_frames, **settings)


def array_indices(
    total: int, rate: float | None, num_frames: int | None, fps: float | None, sampling: str, **settings: Any
) -> np.ndarray:
    """Take the frames of a clip from an array of `total` frames at `rate` frames per second, None if it is not known.

    Files repeat their last frame; arrays keep transformers' rules. Without `num_frames` all frames are taken, or as many as
    `fps` makes; frames of an array that is too short for the stride or rate are spread evenly over it.

    Raises:
        HfRltError: if there are fewer than `num_frames` frames, or `fps` needs a rate that is not known.
    """
    timestamps = None
    if fps is not None and (num_frames is None or (sampling != "uniform" and num_frames < total)):
        if not rate or rate < 0:
            raise HfRltError("Sampling an array at `fps` needs video_metadata with the array's own fps.")
        timestamps = np.arange(total) / rate
    if num_frames is None:
        num_frames = total if fps is None or not rate else max(1, int(total / rate * fps))
    elif num_frames < total:
        indices = clip_indices(total, timestamps, num_frames, fps, sampling, **settings)
        strided = sampling != "uniform" and fps is None
        cut = strided and (num_frames - 1) * settings["frame_stride"] >= total
        if not cut and len(np.unique(indices)) == num_frames:
            return indices
    if num_frames > total:
        raise HfRltError(f"Expected at least num_frames={num_frames} frames to sample from, received {total}.")
    return np.arange(num_frames, dtype=np.int64) * total // num_frames


def view_positions(num_clips: int, sampling: str) -> list[float]:
    """List the positions of the clips of a multi-view evaluation.

    One clip is centred. Strided clips are spread from the beginning to the end of the video; uniform clips begin at the
    first frame of each segment and are `1 / num_clips` of a segment apart.

    Source: VideoMAE's test protocol, kinetics.py and ssv2.py of its public code.
    """
    _check(num_clips=num_clips)
    if num_clips == 1:
        return [0.5]
    return [clip / (num_clips if sampling == "uniform" else num_clips - 1) for clip in range(num_clips)]


def view_crops(height: int, width: int, crop_height: int, crop_width: int, num_crops: int) -> list[tuple[int, int]]:
    """List the `(top, left)` of `num_crops` crops spread along the longer side of a frame; one is centred.

    Source: VideoMAE's test protocol (left, centre, right or top, centre, bottom for three crops).
    """
    _check(num_crops=num_crops)
    free_rows, free_columns = height - crop_height, width - crop_width
    if min(free_rows, free_columns) < 0:
        wanted = f"Expected frames of at least {crop_height}x{crop_width} to crop from"
        raise HfRltError(f"{wanted}, received {height}x{width}: set a larger `size`.")
    along = [0.5] if num_crops == 1 else [crop / (num_crops - 1) for crop in range(num_crops)]
    rows, columns = (along, [0.5] * num_crops) if free_rows > free_columns else ([0.5] * num_crops, along)
    return [(round(row * free_rows), round(column * free_columns)) for row, column in zip(rows, columns, strict=True)]
