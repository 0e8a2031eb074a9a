# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The views of many videos, decoded in other processes while this one computes."""

import ctypes
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor

from ..data.eval_dataset import crop_pixels, crop_views
from ..errors import HfRltError
from ..jobs.worker_pool import Task, map_ordered
from ..models.runs import grid_size
from ..models.sampling import view_positions
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES


@dataclass(frozen=True)
class ViewConfig:
    """How a video becomes a model's input.

    Attributes:
        processor: the model's `RLTVideoProcessor`.
        num_clips: of a video, spread over it as in evaluation; one is the processor's own.
        num_crops: of each clip; one is the processor's own.

    Raises:
        ValueError: if a number is not positive, no whole tubelet fits into a clip, or its frames have no size of their own.
    """

    processor: Any
    num_clips: int = 1
    num_crops: int = 1

    def __post_init__(self) -> None:
        if min(self.num_clips, self.num_crops) < 1:
            raise HfRltError(
                f"Expected num_clips and num_crops from 1 on, received {self.num_clips} and {self.num_crops}."
            )
        self.shapes()

    @property
    def number(self) -> int:
        return self.num_clips * self.num_crops

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, int]]:
        """Returns the shapes of a video's pixels `(V, F, C, H, W)` and run lengths `(V, N)`."""
        settings = self.processor
        side = settings.crop_size if settings.do_center_crop or self.num_crops > 1 else settings.size
        if not side or "height" not in side:
            raise HfRltError(
                f"Expected a processor whose frames have one size, received one with size {dict(settings.size)} and "
                f"do_center_crop={settings.do_center_crop}: set do_center_crop and crop_size, or a size of height and width."
            )
        clip = (settings.num_frames or DEFAULT_NUM_FRAMES, 3, side["height"], side["width"])
        tokens = math.prod(grid_size(clip, settings.tubelet_size, settings.patch_size))
        return (self.number, *clip), (self.number, tokens)

    def read(self, video: str) -> tuple[Tensor, Tensor]:
        """Returns `(V, F, C, H, W)` uint8 pixels, not normalised yet, and `(V, N)` run lengths.

        Raises:
            ValueError, OSError: if the video cannot be read.
        """
        settings = self.processor
        positions = [settings.position] if self.num_clips == 1 else view_positions(self.num_clips, settings.sampling)
        frames = settings.decode(video, positions, resized=True)
        crops = crop_views(settings, frames, self.num_crops)
        runs = settings.rule.find(crop_pixels(settings, crops))
        return torch.from_numpy(crops).movedim(-1, 2), runs

    def normalised(self, pixels: Tensor) -> Tensor:
        """Returns what the processor makes of `read`'s pixels, on their device."""
        own = self.processor
        return own.rescale_and_normalize(
            pixels, own.do_rescale, own.rescale_factor, own.do_normalize, own.image_mean, own.image_std
        )


@dataclass
class VideoJob:
    """A video on its way.

    Attributes:
        video: its path.
        size, mtime_ns: of its file.
        block: the number of consecutive videos it belongs to, see `predict`.
        slot: where its pixels are, as long as it has any.
        record: what an earlier run found out.
    """

    video: str
    size: int = 0
    mtime_ns: int = 0
    block: int = 0
    slot: int | None = None
    record: dict[str, Any] | None = None


class SharedBuffers:
    """Memory that the decoding processes write to and this one reads: as many videos as may be under way at once.

    A clip of 16 x 224 x 224 pixels takes 2.6 ms to the batch this way, 5.0 ms through a pipe, 6.5 ms in shared memory
    for it alone. Bytes are normalised where the model is: float32 takes 10 ms through a pipe, and four times the room.
    """

    def __init__(self, views: ViewConfig, number: int) -> None:
        pixels, runs = views.shapes()
        self.number, self.shapes = number, (pixels, runs)
        needed = number * (math.prod(pixels) + 8 * math.prod(runs))
        try:  # the standard library looks for another place if /dev/shm is small, as in containers
            free = max(shutil.disk_usage(place).free for place in ("/dev/shm", gettempdir()) if os.path.isdir(place))
            if needed > free and os.name == "posix":  # or writing to it would fill a disk, and end in SIGBUS
                raise MemoryError(f"{free >> 20} MiB")
            self._pixels = RawArray(ctypes.c_uint8, number * math.prod(pixels))
            self._runs = RawArray(ctypes.c_int64, number * math.prod(runs))
        except (OSError, MemoryError) as error:
            raise OSError(
                f"Expected {needed >> 20} MiB of shared memory for {number} videos, found less ({error}): use smaller "
                "batches or fewer workers."
            ) from error

    def __getitem__(self, slot: int) -> tuple[Tensor, Tensor]:
        """Returns pixels and run lengths, the shared memory itself."""
        pixels = torch.frombuffer(self._pixels, dtype=torch.uint8).view(self.number, *self.shapes[0])
        runs = torch.frombuffer(self._runs, dtype=torch.int64).view(self.number, *self.shapes[1])
        return pixels[slot], runs[slot]


@dataclass(frozen=True)
class Reader:
    """What a decoding process does with a clip: fills its slot, and returns how many tokens are to be computed."""

    views: ViewConfig
    slots: SharedBuffers
    cores: tuple[int, ...] | None = None

    def __call__(self, clip: VideoJob) -> int:
        if self.cores is not None:
            os.sched_setaffinity(0, self.cores)
        assert clip.slot is not None
        pixels, runs = self.views.read(clip.video)
        for place, found in zip(self.slots[clip.slot], (pixels, runs), strict=True):
            if found.shape != place.shape or found.dtype != place.dtype:
                raise HfRltError(
                    f"{clip.video}: expected {place.dtype} views of {tuple(place.shape)}, the processor made {found.dtype} "
                    f"of {tuple(found.shape)}: leave do_center_crop on, and its frames as they are."
                )
            place.copy_(found)
        return int((runs > 0).sum())


class Decoder:
    """Decodes videos ahead of who takes them, in their order, a bounded number at once.

    Not torch's DataLoader: a process that dies ends it, and its tensors are allocated anew for each clip.

    Args:
        views: what is made of each.
        workers: processes.
        ahead: videos that are decoded or waiting to be, before somebody takes them; at least.
        held: videos whose slots may be kept meanwhile.
        cores: that the processes are to keep to.
    """

    def __init__(
        self, views: ViewConfig, workers: int, ahead: int, held: int, cores: Iterable[int] | None = None
    ) -> None:
        self.workers, self.queued = workers, -(-ahead // workers) + 1
        self.window = workers * self.queued
        self.slots = SharedBuffers(views, self.window + held + 1)
        self.free = list(range(self.slots.number))
        self._reader = Reader(views, self.slots, None if cores is None else tuple(cores))

    def decoded(self, clips: Iterable[Task]) -> Iterator[Task]:
        """Returns tasks whose item is a `VideoJob`; the result: its tokens (its slot is filled then), or `Failure`."""
        # Several tasks queue at each process, since this one gives out no others while it computes.
        tasks = map(self._placed, clips)
        found = map_ordered(
            tasks, self._reader, self.workers, window=self.window, queued=self.queued, drain_on_interrupt=False
        )
        for task in found:
            if not isinstance(task.result, int):
                self.release(task.item)
            yield task

    def release(self, clip: VideoJob) -> None:
        """Returns nothing; the slot may be used for another clip."""
        if clip.slot is not None:
            self.free.append(clip.slot)
            clip.slot = None

    def _placed(self, task: Task) -> Task:
        if task.result is None:
            task.item.slot = self.free.pop()
        return task
