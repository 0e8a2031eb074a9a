# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Where the clips of a processor lie in an indexed video, and how fast their frames follow each other."""

from typing import Any

import numpy as np
from transformers.video_utils import VideoMetadata

from ..models.video_processing_rlt import RLTVideoProcessor
from ..models.video_reader import VideoIndex


def clip_indices(index: VideoIndex, processor: RLTVideoProcessor, first: int = 0, **changes: Any) -> np.ndarray:
    """Returns `(F,)` int64: the frames that the processor takes, or would take if the video began with frame `first`.

    Args:
        index: of the video.
        processor: says which frames make a clip.
        first: the frame before which nothing is looked at.
        **changes: settings of `RLTVideoProcessor.sample_frames` instead of the processor's own.
    """
    metadata = VideoMetadata(total_num_frames=index.num_frames - first, fps=index.fps)
    return processor.sample_frames(metadata, timestamps=index.timestamps[first:], **changes) + first


def clip_rate(index: VideoIndex, indices: np.ndarray, processor: RLTVideoProcessor, fps: float | None = None) -> float:
    """Returns how many frames of a clip follow each other in a second of the video.

    Args:
        index: of the video.
        indices: of the clip's frames.
        processor: says how they were chosen.
        fps: the rate at which they were chosen, if not the processor's own.

    By the time stamps, so that an uneven rate counts; but where the video is too short, and its last frame repeats, by
    the distance of the frames asked for.
    """
    fps = processor.fps if fps is None and processor.sampling == "clip" else fps
    if fps is not None:
        return float(fps)
    span = float(index.timestamps[indices[-1]] - index.timestamps[indices[0]])
    if span > 0 and len(np.unique(indices)) == len(indices):
        return (len(indices) - 1) / span
    if processor.sampling == "clip":
        return index.fps / processor.frame_stride
    return len(indices) / index.duration
