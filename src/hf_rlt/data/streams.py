# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Training data set that reads a stream."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from .hub_datasets import ClipStream
from .train_dataset import IGNORED, ItemMaker, check_on_bad_video, make_or_skip, read_clips, source_name


class TrainStream(IterableDataset):
    """Endless iterable training set over a `ClipStream`; its items are those of `TrainDataset`.

    One pass follows the other, each in an order of its own, so that a place in the stream is a number of items: what a
    resumed training skips. Arguments are those of `TrainDataset`.

    Attributes:
        bad_count: videos that could not be read so far, in all loading processes; each was reported once.
    """

    def __init__(
        self,
        clips: ClipStream,
        processor: Any,
        augmentation: Callable[[np.ndarray], Tensor] | None = None,
        random_clips: bool = False,
        repeats: int = 1,
        seed: int = 0,
        on_bad_video: str = "raise",
    ) -> None:
        check_on_bad_video(on_bad_video)
        self.clips, self.on_bad_video = clips, on_bad_video
        self.maker = ItemMaker(processor, augmentation, random_clips, repeats, seed)
        self.bad_count = torch.zeros((), dtype=torch.int64).share_memory_()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        reported: set[str] = set()
        for epoch in count():
            index = first
            for source, label in self.clips.read(epoch):
                yield self._item(source, label, self.maker.seeds(index, epoch), reported)
                index += step
            if index == first:
                return  # more loading processes than files: nothing for this one

    def _item(self, source: Any, label: int, seeds: list[int], reported: set[str]) -> dict[str, Tensor]:
        def make() -> dict[str, Tensor]:
            frames = read_clips(self.maker.processor, source, [self.maker.position(seeds[0])])
            return self.maker.item(frames[0], label, seeds)

        name = source_name(source, "a clip")
        known = name in reported
        item = make_or_skip(make, self.on_bad_video, name, name, known)
        if item is not None:
            return item
        self.bad_count += not known
        reported.add(name)
        return self.maker.item(None, IGNORED, seeds)
