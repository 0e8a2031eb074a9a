# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decode the views of many videos in other processes while this one computes."""

import ctypes
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from tempfile import gettempdir
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.eval_dataset import crop_pixels, crop_views
from ..data.video_dataset import clip_seed, fetch_remote
from ..errors import HfRltError
from ..jobs.worker_pool import Task, map_ordered
from ..models.runs import drop_random, grid_size
from ..models.sampling import view_positions
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES


@dataclass(frozen=True)
class ViewConfig:
    """How a video becomes a model's input.

    Attributes:
        processor: the model's `RLTVideoProcessor`.
        num_clips: temporal clips of a video, spread over it; one lies where the processor says.
        num_crops: crops of each clip; one is the processor's own.
        token_keep_ratio: share of the computed tokens that is kept, drawn at random, the same in each pass.

    Raises:
        HfRltError: if a number is not positive, no whole tubelet fits into a clip, or frames have no fixed size.
    """

    processor: Any
    num_clips: int = 1
    num_crops: int = 1
    token_keep_ratio: float | None = None

    def __post_init__(self) -> None:
        if min(self.num_clips, self.num_crops) < 1:
            raise HfRltError(
                f"Expected num_clips and num_crops from 1 on, received {self.num_clips} and {self.num_crops}."
            )
        self.shapes()

    @property
    def number(self) -> int:
        """Views of each video."""
        return self.num_clips * self.num_crops

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, int]]:
        """Return the shapes of a video's frames `(V, F, H, W, 3)` and run lengths `(V, N)`."""
        settings = self.processor
        side = settings.crop_size if settings.do_center_crop or self.num_crops > 1 else settings.size
        if not side or "height" not in side:
            raise HfRltError(
                f"Expected a processor whose frames have one size, received one with size {dict(settings.size)} and "
                f"do_center_crop={settings.do_center_crop}: set do_center_crop and crop_size, or a size of height and width."
            )
        frames, height, width = settings.num_frames or DEFAULT_NUM_FRAMES, side["height"], side["width"]
        tokens = math.prod(grid_size((frames, 3, height, width), settings.tubelet_size, settings.patch_size))
        return (self.number, frames, height, width, 3), (self.number, tokens)

    def read(self, source: Any, index: int = 0) -> tuple[np.ndarray, Tensor]:
        """Decode the views of a video, `(V, F, H, W, 3)` uint8, and find their runs, `(V, N)`.

        Args:
            source: a path, URL or row of a Hub data set.
            index: its place in the data set, which seeds random masking.

        Raises:
            ValueError, OSError: if the video cannot be read.
        """
        processor = self.processor
        positions = [processor.position] if self.num_clips == 1 else view_positions(self.num_clips, processor.sampling)
        frames = processor.decode(fetch_remote(source), positions, resized=True)
        views = crop_views(processor, frames, self.num_crops)
        runs = processor.rule.find(crop_pixels(processor, views))
        if self.token_keep_ratio is not None:
            seeds = [clip_seed(0, 0, index, view) for view in range(len(runs))]
            runs = drop_random(runs, self.token_keep_ratio, [torch.Generator().manual_seed(seed) for seed in seeds])
        return views, runs


@dataclass
class VideoJob:
    """A video to decode.

    Attributes:
        video: its path or URL; None for a row of a data set.
        index: its place in the data set.
        block: the block of consecutive videos that it belongs to; a batch never crosses a block.
        slot: number of the buffer that holds its frames, while there is one.
        size, mtime_ns: of its file.
        record: the result of an earlier run.
    """

    video: str | None
    index: int = 0
    block: int = 0
    slot: int | None = None
    size: int = 0
    mtime_ns: int = 0
    record: dict[str, Any] | None = None


class SharedBuffers:
    """Shared memory that the decoding processes write to: a slot for each video that may be under way at once.

    A clip of 16 x 224 x 224 pixels takes 2.6 ms to the batch this way, 5.0 ms through a pipe, and 6.5 ms in shared memory
    of its own. Slots hold bytes, normalised where the model is: float32 would take four times the memory.
    """

    def __init__(self, views: ViewConfig, number: int) -> None:
        frames, runs = views.shapes()
        self.number, self.shapes = number, (frames, runs)
        needed = number * (math.prod(frames) + 8 * math.prod(runs))
        try:  # the standard library looks for another place if /dev/shm is small, as in containers
            free = max(shutil.disk_usage(place).free for place in ("/dev/shm", gettempdir()) if os.path.isdir(place))
            if needed > free and os.name == "posix":  # or writing to it would fill a disk, and end in SIGBUS
                raise MemoryError(f"{free >> 20} MiB")
            self._frames = RawArray(ctypes.c_uint8, number * math.prod(frames))
            self._runs = RawArray(ctypes.c_int64, number * math.prod(runs))
        except (OSError, MemoryError) as error:
            raise OSError(
                f"Expected {needed >> 20} MiB of shared memory for {number} videos, found less ({error}): use smaller "
                "batches or fewer workers."
            ) from error

    def __getitem__(self, slot: int) -> tuple[Tensor, Tensor]:
        """Return frames and run lengths, the shared memory itself."""
        frames = torch.frombuffer(self._frames, dtype=torch.uint8).view(self.number, *self.shapes[0])
        runs = torch.frombuffer(self._runs, dtype=torch.int64).view(self.number, *self.shapes[1])
        return frames[slot], runs[slot]


@dataclass(frozen=True)
class Reader:
    """The function of the decoding processes: fill a video's slot, and return how many of its tokens are computed."""

    views: ViewConfig
    slots: SharedBuffers
    rows: Sequence[Any] | None = None
    cores: tuple[int, ...] | None = None

    def __call__(self, job: VideoJob) -> int:
        """Decode one video."""
        if self.cores is not None:
            os.sched_setaffinity(0, self.cores)
        assert job.slot is not None
        source = job.video if self.rows is None else self.rows[job.index]
        name = job.video or f"video {job.index}"
        frames, runs = self.views.read(source, job.index)
        for slot, found in zip(self.slots[job.slot], (torch.as_tensor(frames), runs), strict=True):
            if found.shape != slot.shape or found.dtype != slot.dtype:
                raise HfRltError(
                    f"{name}: expected {slot.dtype} views of {tuple(slot.shape)}, the processor made {found.dtype} "
                    f"of {tuple(found.shape)}: leave do_center_crop on, and its frames as they are."
                )
            slot.copy_(found)
        return int((runs > 0).sum())


class Decoder:
    """Decodes videos ahead of the model, in their order, a bounded number at once.

    Not torch's DataLoader: that ends when one of its processes dies, here this costs one video.

    Args:
        views: what to make of each video.
        num_workers: processes; 0 decodes in this one.
        ahead: videos that are decoded before they are needed, at least.
        held: videos whose slots are in use meanwhile, at most.
        rows: where to find videos that have no path, by index.
        cores: that the processes are to keep to.
    """

    def __init__(
        self,
        views: ViewConfig,
        num_workers: int,
        ahead: int,
        held: int,
        rows: Sequence[Any] | None = None,
        cores: tuple[int, ...] | None = None,
    ) -> None:
        self.num_workers = num_workers
        # Several tasks queue at each process, since this one hands out no others while it computes.
        self.queued = -(-ahead // num_workers) + 1 if num_workers else 1
        self.window = max(num_workers * self.queued, 1)
        self.slots = SharedBuffers(views, self.window + held + 1)
        self.free = list(range(self.slots.number))
        self._reader = Reader(views, self.slots, rows, cores)

    def decoded(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Yield tasks of `VideoJob`s with their results: the number of computed tokens (the slot is filled) or `Failure`."""
        decoded = map_ordered(
            map(self._placed, tasks),
            self._reader,
            self.num_workers,
            window=self.window,
            queued=self.queued,
            drain_on_interrupt=False,
        )
        for task in decoded:
            if not isinstance(task.result, int):
                self.release(task.item)
            yield task

    def release(self, job: VideoJob) -> None:
        """Let another video use the slot."""
        if job.slot is not None:
            self.free.append(job.slot)
            job.slot = None

    def _placed(self, task: Task) -> Task:
        if task.result is None:
            task.item.slot = self.free.pop()
        return task
