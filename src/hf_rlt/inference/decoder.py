# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decode the views of many videos in other processes while this one computes."""

import ctypes
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.sharedctypes import RawArray
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor

from ..data.eval_dataset import crop_pixels, crop_views, find_view_runs
from ..errors import HfRltError, check_range
from ..jobs.worker_pool import Task, map_ordered
from ..models.packing import packed_layout
from ..models.runs import grid_size, to_2tuple
from ..models.sampling import view_positions
from ..models.tubelets import cut_tubelets
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES

FEATURES = ("pooled", "tokens")


@dataclass(frozen=True)
class Options:
    """How videos are computed.

    Attributes:
        num_clips: temporal clips of a video, spread over it; one lies where the processor says.
        num_crops: crops of each clip; one is the processor's own. The probabilities are the mean of all views'.
        batch_size: largest number of views in a batch; a batch has at least one video.
        max_tokens_per_batch: token budget of a batch; a video with more tokens is computed alone.
        num_workers: decoding processes: 0 decodes in this one, None takes one for each core.
        top_k: number of scores kept of each video.
        features: "pooled" (the mean over a video's computed tokens), "tokens" (all of them, runs filled back to the grid) or
            None.
        cores: that the decoding processes are to keep to, if any.
        token_keep_ratio: share of the computed tokens to keep, drawn at random: random masking as a baseline.

    Raises:
        HfRltError: if a value is out of range.
    """

    num_clips: int = 1
    num_crops: int = 1
    batch_size: int = 8
    max_tokens_per_batch: int | None = None
    num_workers: int | None = None
    top_k: int = 5
    features: str | None = None
    cores: tuple[int, ...] | None = None
    token_keep_ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_clips", "num_crops", "batch_size", "max_tokens_per_batch", "num_workers", "top_k"):
            number, least = getattr(self, name), 0 if name == "num_workers" else 1
            if number is not None:
                check_range(name, number, least)
        if self.features not in (None, *FEATURES):
            raise HfRltError(
                f"Expected features to be one of {', '.join(FEATURES)} or None, received {self.features!r}."
            )

    @property
    def views(self) -> int:
        """Views of each video."""
        return self.num_clips * self.num_crops

    @property
    def videos(self) -> int:
        """Most videos in a batch."""
        return max(self.batch_size // self.views, 1)


def decoding_workers(options: Options, ranks: int = 1) -> int:
    """Return how many videos to decode at once: one for each core of a process, unless given."""
    return max((os.cpu_count() or 1) // ranks, 1) if options.num_workers is None else options.num_workers


def view_size(processor: Any, options: Options) -> tuple[int, int, int]:
    """Return the frames, height and width of each view.

    Raises:
        HfRltError: if frames have no fixed size.
    """
    size = processor.crop_size if processor.do_center_crop or options.num_crops > 1 else processor.size
    if not size or "height" not in size:
        raise HfRltError(
            f"Expected a processor whose frames have one size, received size {dict(processor.size)} without centre crop: "
            "set do_center_crop and crop_size, or a size of height and width."
        )
    return processor.num_frames or DEFAULT_NUM_FRAMES, size["height"], size["width"]


def view_grid(processor: Any, options: Options) -> tuple[int, int, int]:
    """Return the tubelet grid `(T, H', W')` of each view; raise HfRltError if no whole tubelet fits into it."""
    frames, height, width = view_size(processor, options)
    return grid_size((frames, 3, height, width), processor.tubelet_size, processor.patch_size)


def slot_shapes(processor: Any, options: Options) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return the shapes of all tubelets of a video `(V * N, s, 3, p, p)`, and of its run lengths `(V, N)`."""
    tokens = math.prod(view_grid(processor, options))
    tubelet = (processor.tubelet_size, 3, *to_2tuple(processor.patch_size))
    return (options.views * tokens, *tubelet), (options.views, tokens)


def read_views(processor: Any, options: Options, source: Any, index: int = 0) -> tuple[Tensor, Tensor]:
    """Decode the views of a video, and find their runs `(V, N)`; return the computed tubelets `(L, s, 3, p, p)` uint8, too.

    Args:
        processor: the model's `RLTVideoProcessor`.
        options: see `Options`.
        source: a path, URL or row of a Hub data set.
        index: its place in the data set, which seeds random masking.

    Raises:
        ValueError, OSError: if the video cannot be read.
    """
    clips = options.num_clips
    positions = [processor.position] if clips == 1 else view_positions(clips, processor.sampling)
    frames = processor.decode(source, positions, resized=True)
    views = crop_views(processor, frames, options.num_crops)
    if views.shape[1:-1] != (size := view_size(processor, options)):
        expected = f"expected {size[0]} frames of {size[1]}x{size[2]}"
        got = f"got {views.shape[1]} of {views.shape[2]}x{views.shape[3]}"
        raise HfRltError(f"{expected}, {got}: leave the processor's resizing and centre crop on.")
    runs = find_view_runs(processor, crop_pixels(processor, views), index, options.token_keep_ratio)
    frames = torch.from_numpy(views).movedim(-1, -3)
    return cut_tubelets(frames, packed_layout(runs), processor.tubelet_size, processor.patch_size), runs


@dataclass
class VideoJob:
    """A video to decode."""

    video: str | None  # path or URL; None for a row of a data set
    index: int = 0  # in the data set
    block: int = 0  # of consecutive videos; a batch never crosses a block
    slot: int | None = None  # number of the buffer that holds its tubelets, while there is one
    size: int = 0
    mtime_ns: int = 0
    record: dict[str, Any] | None = None  # of an earlier run


class SharedBuffers:
    """Shared memory that the decoding processes write to: a slot for each video that may be under way at once.

    All of a clip of 16 x 224 x 224 pixels takes 2.6 ms to the batch this way, 5.0 ms through a pipe, and 6.5 ms in shared
    memory of its own. A slot has room for all tubelets of a video and gets the computed ones, as uint8: they are normalised
    on the model's device.
    """

    def __init__(self, shapes: tuple[tuple[int, ...], tuple[int, int]], number: int) -> None:
        self.number, self.shapes = number, shapes
        tubelets, runs = shapes
        needed = number * (math.prod(tubelets) + 8 * math.prod(runs))
        try:  # the standard library looks for another place if /dev/shm is small, as in containers
            free = max(shutil.disk_usage(place).free for place in ("/dev/shm", gettempdir()) if os.path.isdir(place))
            if needed > free and os.name == "posix":  # or writing to it would fill a disk, and end in SIGBUS
                raise MemoryError(f"{free >> 20} MiB")
            self._tubelets = RawArray(ctypes.c_uint8, number * math.prod(tubelets))
            self._runs = RawArray(ctypes.c_int64, number * math.prod(runs))
        except (OSError, MemoryError) as error:
            raise OSError(
                f"Expected {needed >> 20} MiB of shared memory for {number} videos, found less ({error}): use smaller "
                "batches or fewer workers."
            ) from error

    def __getitem__(self, slot: int) -> tuple[Tensor, Tensor]:
        """Return the computed tubelets and run lengths of a video, the shared memory itself."""
        tubelets, runs = self._slot(slot)
        return tubelets[: int((runs > 0).sum())], runs

    def __setitem__(self, slot: int, found: tuple[Tensor, Tensor]) -> None:
        tubelets, runs = self._slot(slot)
        runs.copy_(found[1])
        tubelets[: len(found[0])] = found[0]

    def _slot(self, slot: int) -> tuple[Tensor, Tensor]:
        tubelets = torch.frombuffer(self._tubelets, dtype=torch.uint8).view(self.number, *self.shapes[0])
        runs = torch.frombuffer(self._runs, dtype=torch.int64).view(self.number, *self.shapes[1])
        return tubelets[slot], runs[slot]


@dataclass(frozen=True)
class Reader:
    """The function of the decoding processes: fill a video's slot, and return how many of its tokens are computed."""

    processor: Any
    options: Options
    slots: SharedBuffers
    rows: Sequence[Any] | None

    def __call__(self, job: VideoJob) -> int:
        """Decode one video."""
        if self.options.cores is not None:
            os.sched_setaffinity(0, self.options.cores)
        assert job.slot is not None
        source = job.video if self.rows is None else self.rows[job.index]
        found = read_views(self.processor, self.options, source, job.index)
        self.slots[job.slot] = found
        return len(found[0])


class Decoder:
    """Decodes videos ahead of the model, in their order: two batches are ready while one is computed and one is filled.

    Not torch's DataLoader: that ends when one of its processes dies, here this costs one video.

    Args:
        processor: the model's `RLTVideoProcessor`.
        options: see `Options`.
        ranks: processes of this machine that share its cores.
        rows: where to find videos that have no path, by index.
    """

    def __init__(self, processor: Any, options: Options, ranks: int = 1, rows: Sequence[Any] | None = None) -> None:
        self.num_workers, ahead = decoding_workers(options, ranks), 2 * options.videos
        # Several tasks queue at each process, since this one hands out no others while it computes.
        self.queued = -(-ahead // self.num_workers) + 1 if self.num_workers else 1
        self.window = max(self.num_workers * self.queued, 1)
        self.slots = SharedBuffers(slot_shapes(processor, options), self.window + ahead + 1)
        self.free = list(range(self.slots.number))
        self._reader = Reader(processor, options, self.slots, rows)

    def decoded(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Yield tasks of `VideoJob`s with their results: the number of computed tokens (the slot is filled) or `Failure`."""
        limited = partial(map_ordered, window=self.window, queued=self.queued, drain_on_interrupt=False)
        for task in limited(map(self._placed, tasks), self._reader, self.num_workers):
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
