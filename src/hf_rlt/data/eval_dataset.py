# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Evaluation data: all views of each video."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import check_range
from ..models.runs import drop_random
from ..models.sampling import view_crops, view_positions
from .video_dataset import IGNORED, VideoDataset, blank_clip, clip_seed
from .video_list import VideoList

logger = logging.getLogger(__name__)


class EvalDataset(VideoDataset):
    """Map-style evaluation set: item i is `pixel_values` and `run_lengths` of all views of video i, and `labels`.

    Shapes are (V, F, C, H, W) and (V, N), without V for a single view; the model averages over views. There are
    `num_clips` x `num_crops` views. A skipped video is a blank clip with label -100.

    Args:
        clips, processor, on_bad_video, cache_bytes: as for `TrainDataset`.
        num_clips: temporal clips per video.
        num_crops: crops along the longer side; 1 is the processor's own.
        token_keep_ratio: share of the computed tokens to keep, drawn at random, the same in each pass.
    """

    def __init__(
        self,
        clips: VideoList,
        processor: Any,
        num_clips: int = 1,
        num_crops: int = 1,
        on_bad_video: str = "raise",
        cache_bytes: int = 0,
        token_keep_ratio: float | None = None,
    ) -> None:
        super().__init__(clips, processor, on_bad_video, cache_bytes)
        self.token_keep_ratio = token_keep_ratio
        self.positions = view_positions(num_clips, processor.sampling)
        self.num_crops = num_crops
        check_range("num_crops", num_crops, 1)
        warn_of_equal_crops(processor, num_crops)

    @property
    def num_views(self) -> int:
        """Views of each video."""
        return len(self.positions) * self.num_crops

    def _load(self, index: int) -> dict[str, Tensor]:
        frames = self._decode(index, self.positions, resized=True, use_cache=True)
        views = crop_pixels(self.processor, crop_views(self.processor, frames, self.num_crops))
        return self._item(index, views, self.clips.labels[index])

    def _placeholder(self, index: int) -> dict[str, Tensor]:
        return self._item(index, torch.stack([blank_clip(self.processor)] * self.num_views), IGNORED)

    def _item(self, index: int, views: Tensor, label: int) -> dict[str, Tensor]:
        lengths = find_view_runs(self.processor, views, index, self.token_keep_ratio)
        if self.num_views == 1:
            views, lengths = views[0], lengths[0]
        return {"pixel_values": views, "run_lengths": lengths, "labels": torch.tensor(label)}


def warn_of_equal_crops(processor: Any, num_crops: int) -> None:
    """Warn if frames are resized to the size of a crop, so that several crops show the same."""
    if num_crops > 1 and processor.size == processor.crop_size:
        logger.warning(f"{num_crops} crops of frames resized to {dict(processor.size)} are all the same: take one.")


def crop_views(processor: Any, frames: np.ndarray, num_crops: int) -> np.ndarray:
    """Crop frames `(clips, F, H, W, 3)` uint8 to views `(clips x num_crops, F, H', W', 3)` uint8, clip by clip.

    The frames are those of `processor.decode(..., resized=True)`. A single crop is the processor's own; several are spread
    along the longer side.
    """
    size = processor.crop_size
    if num_crops == 1:
        if not processor.do_center_crop:
            return frames
        return processor.center_crop(torch.from_numpy(frames).movedim(-1, -3), size).movedim(-3, -1).numpy()
    height, width = size["height"], size["width"]
    corners = view_crops(frames.shape[2], frames.shape[3], height, width, num_crops)
    crops = [frames[:, :, top : top + height, left : left + width] for top, left in corners]
    return np.stack(crops, axis=1).reshape(-1, *crops[0].shape[1:])


def crop_pixels(processor: Any, crops: np.ndarray | Tensor) -> Tensor:
    """Turn the crops of `crop_views`, on any device, into pixels `(views, F, C, H', W')` float32."""
    return processor.pixels(crops, do_resize=False, do_center_crop=False)


def find_view_runs(processor: Any, views: Tensor, index: int, token_keep_ratio: float | None) -> Tensor:
    """Find the runs `(V, N)` of a video's views; with a ratio, keep that share of the tokens, drawn at random.

    The draws depend on the video's index in the data set alone, so they are the same in each pass.
    """
    lengths = processor.run_rule.find(views)
    if token_keep_ratio is None:
        return lengths
    seeds = [clip_seed(0, 0, index, view) for view in range(len(views))]
    return drop_random(lengths, token_keep_ratio, [torch.Generator().manual_seed(seed) for seed in seeds])
