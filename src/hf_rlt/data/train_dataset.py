# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Training data: augmented clips of a list or a stream, with everything random seeded by their place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import check_range
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES
from .hub_datasets import ClipStream
from .video_dataset import (
    IGNORED,
    VIDEO_ERRORS,
    VideoDataset,
    blank_clip,
    check_on_bad_video,
    clip_seed,
    report_unreadable,
    source_name,
)
from .video_list import VideoList

Augmentation = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class _ItemBuilder:
    """Builds training items; see `TrainDataset` for its settings."""

    processor: Any
    augmentation: Augmentation | None
    random_clips: bool
    repeats: int
    seed: int

    def __post_init__(self) -> None:
        check_range("repeats", self.repeats, 1)

    def seeds(self, index: int, epoch: int) -> list[int]:
        return [clip_seed(self.seed, epoch, index, repeat) for repeat in range(self.repeats)]

    def position(self, seed: int) -> Any:
        if not self.random_clips:
            return 0.5
        frames = (self.processor.num_frames or DEFAULT_NUM_FRAMES) if self.processor.sampling == "uniform" else None
        return np.random.default_rng(seed).random(frames)  # one for each frame's segment, or one for the clip

    def item(self, frames: np.ndarray, label: int, seeds: list[int]) -> dict[str, Tensor]:
        if self.augmentation is None:
            return self._batch(self.processor.pixels([frames]).expand(len(seeds), -1, -1, -1, -1), label, seeds)
        clips = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                clips.append(self.augmentation(frames))
        return self._batch(torch.stack(clips), label, seeds)

    def placeholder(self, seeds: list[int]) -> dict[str, Tensor]:
        return self._batch(torch.stack([blank_clip(self.processor)] * len(seeds)), IGNORED, seeds)

    def _batch(self, clips: Tensor, label: int, seeds: list[int]) -> dict[str, Tensor]:
        return {"pixel_values": clips, "labels": torch.full((len(seeds),), label), "seeds": torch.tensor(seeds)}


class TrainDataset(VideoDataset):
    """Map-style training set: item i is `pixel_values` (R, F, C, H, W), `labels` (R,) and `seeds` (R,).

    R is `repeats`: a video is decoded once and augmented R times. `ClipCollator` makes a batch and finds the runs.
    Randomness depends only on the seed, the epoch and the clip's index, so neither the number of processes nor an
    interruption changes it. A skipped video is a blank clip with label -100.

    Args:
        clips: videos and labels.
        processor: an `RLTVideoProcessor`.
        augmentation: from `(F, H, W, 3)` uint8 frames to `(F, C, H, W)` float pixels; default: the processor's own steps.
        random_clips: take the clip from anywhere in the video instead of its middle (with `sampling="uniform"`: each
            frame from anywhere in its segment).
        repeats: repeated augmentation.
        seed: seeds everything random.
        on_bad_video: "raise" an `UnreadableClipError`, or "skip" and report each by name, once.
        cache_bytes: bytes of decoded frames to keep per process, so small sets are decoded once; unused with
            `random_clips`.
    """

    def __init__(
        self,
        clips: VideoList,
        processor: Any,
        augmentation: Augmentation | None = None,
        random_clips: bool = False,
        repeats: int = 1,
        seed: int = 0,
        on_bad_video: str = "raise",
        cache_bytes: int = 0,
    ) -> None:
        super().__init__(clips, processor, on_bad_video, cache_bytes)
        self.builder = _ItemBuilder(processor, augmentation, random_clips, repeats, seed)
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds augmentation, also in running loading processes."""
        self.epoch.fill_(epoch)

    def _load(self, index: int) -> dict[str, Tensor]:
        seeds = self.builder.seeds(index, int(self.epoch))
        position, use_cache = self.builder.position(seeds[0]), not self.builder.random_clips
        frames = self._decode(index, [position], resized=False, use_cache=use_cache)
        return self.builder.item(frames[0], self.clips.labels[index], seeds)

    def _placeholder(self, index: int) -> dict[str, Tensor]:
        return self.builder.placeholder(self.builder.seeds(index, int(self.epoch)))


class TrainStream(IterableDataset):
    """Endless training set over a `ClipStream`; items and arguments are those of `TrainDataset`.

    Passes follow each other, each in its own order, so a place in the stream is a number of items, which a resumed
    training skips.

    Attributes:
        unreadable_count: unreadable videos so far, over all loading processes; each is reported once.
    """

    def __init__(
        self,
        clips: ClipStream,
        processor: Any,
        augmentation: Augmentation | None = None,
        random_clips: bool = False,
        repeats: int = 1,
        seed: int = 0,
        on_bad_video: str = "raise",
    ) -> None:
        check_on_bad_video(on_bad_video)
        self.clips, self.on_bad_video = clips, on_bad_video
        self.builder = _ItemBuilder(processor, augmentation, random_clips, repeats, seed)
        self.unreadable_count = torch.zeros((), dtype=torch.int64).share_memory_()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        reported: set[str] = set()
        for epoch in count():
            index = first
            for source, label in self.clips.read(epoch):
                yield self._item(source, label, self.builder.seeds(index, epoch), reported)
                index += step
            if index == first:
                return  # more loading processes than files: nothing for this one

    def _item(self, source: Any, label: int, seeds: list[int], reported: set[str]) -> dict[str, Tensor]:
        try:
            frames = self.builder.processor.decode(source, [self.builder.position(seeds[0])])
            return self.builder.item(frames[0], label, seeds)
        except VIDEO_ERRORS as error:
            name = source_name(source, "a clip")
            report_unreadable(error, self.on_bad_video, name, name, name in reported)
        self.unreadable_count += name not in reported
        reported.add(name)
        return self.builder.placeholder(seeds)
