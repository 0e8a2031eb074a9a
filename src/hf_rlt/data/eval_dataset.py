# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Evaluation data set with all views of each clip."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import HfRltError
from ..models.runs import drop_random
from ..models.sampling import view_crops, view_positions
from .train_dataset import IGNORED, ReadClips, blank_clip, clip_seed
from .video_list import VideoList

logger = logging.getLogger(__name__)


class EvalDataset(ReadClips):
    """Map-style evaluation set: item i is `pixel_values` and `run_lengths` of all views of clip i, and `labels`.

    Shapes are (V, F, C, H, W) and (V, N), without the V for a single view: the model averages over views, so a clip is
    counted once whatever their number. Views are `num_clips` temporal clips x `num_crops` crops. A video that is skipped
    is a blank clip with label -100.

    Args:
        clips, processor, on_bad_video, cache_bytes: as for `TrainDataset`.
        num_clips: temporal clips per video.
        num_crops: crops along the longer side; 1 is the processor's own.
        token_keep_ratio: share of the computed tokens that each view keeps, drawn at random, the same in each pass.
    """

    resized = True

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
        super().__init__(clips, processor, cache_bytes, on_bad_video)
        self.token_keep_ratio = token_keep_ratio
        self.positions = view_positions(num_clips, processor.sampling)
        self.num_crops = num_crops
        if num_crops < 1:
            raise HfRltError(f"Expected num_crops >= 1, received {num_crops}.")
        if num_crops > 1 and processor.size == processor.crop_size:
            logger.warning(
                f"{num_crops} crops of frames resized to {dict(processor.size)} are all the same: one is enough."
            )

    def make(self, index: int) -> dict[str, Tensor]:
        frames = self.read(index, self.positions, keep=True)
        return self._item(index, cut_views(self.processor, frames, self.num_crops), self.clips.labels[index])

    def blank(self, index: int) -> dict[str, Tensor]:
        return self._item(index, torch.stack([blank_clip(self.processor)] * self.num_views), IGNORED)

    def _item(self, index: int, views: Tensor, label: int) -> dict[str, Tensor]:
        lengths = self.processor.rule.find(views)
        if self.token_keep_ratio is not None:
            seeds = [clip_seed(0, 0, index, view) for view in range(self.num_views)]
            lengths = drop_random(lengths, self.token_keep_ratio, [torch.Generator().manual_seed(s) for s in seeds])
        if self.num_views == 1:
            views, lengths = views[0], lengths[0]
        return {"pixel_values": views, "run_lengths": lengths, "labels": torch.tensor(label)}

    @property
    def num_views(self) -> int:
        return len(self.positions) * self.num_crops


def cut_views(processor: Any, frames: np.ndarray, num_crops: int, **changes: Any) -> Tensor:
    """Return the views `(clips x crops, F, C, H, W)` of `(clips, F, H, W, 3)` uint8 frames, clip by clip.

    Args:
        processor: an `RLTVideoProcessor`.
        frames: of one video, as `RLTVideoProcessor.decode(..., resized=True)` returns them.
        num_crops: crops along the longer side; 1 is the processor's own.
        **changes: settings of the processor for this call.
    """
    changes["do_resize"] = False
    if num_crops == 1:
        return processor.pixels(frames, **changes)
    clips = processor.pixels(frames, do_center_crop=False, **changes)
    height, width = processor.crop_size["height"], processor.crop_size["width"]
    corners = view_crops(clips.shape[-2], clips.shape[-1], height, width, num_crops)
    crops = [clips[..., top : top + height, left : left + width] for top, left in corners]
    return torch.stack(crops, dim=1).flatten(0, 1)
