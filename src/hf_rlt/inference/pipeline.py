# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The engine of predict, evaluate and classify: decode videos, group them into batches, and run the model."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Any

import torch

from ..data.token_budget import batches_within
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from .decoder import Decoder, VideoJob, ViewConfig
from .runner import PendingBatch, Prediction, Runner

UNLIMITED = 1 << 62


@dataclass(frozen=True)
class Options:
    """How videos are computed.

    Attributes:
        num_clips, num_crops: views of each video; the probabilities are the mean of the views'.
        batch_size: largest number of views in a batch; a batch has at least one video.
        max_tokens: token budget of a batch; a video with more tokens is computed alone.
        num_workers: decoding processes: 0 decodes in this one, None takes one for each core.
        top_k: number of scores kept of each video.
        features: "pooled" (the mean over a video's computed tokens), "tokens" (all of them, runs filled back to the grid) or
            None.
        cores: that the decoding processes are to keep to, if any.

    Raises:
        HfRltError: if a number is too small.
    """

    num_clips: int = 1
    num_crops: int = 1
    batch_size: int = 8
    max_tokens: int | None = None
    num_workers: int | None = None
    top_k: int = 5
    features: str | None = None
    cores: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("num_clips", "num_crops", "batch_size", "max_tokens", "num_workers", "top_k"):
            number, least = getattr(self, name), 0 if name == "num_workers" else 1
            if number is not None and number < least:
                raise HfRltError(f"Expected {name} >= {least}, received {number}.")

    @property
    def videos(self) -> int:
        """Most videos in a batch."""
        return max(self.batch_size // (self.num_clips * self.num_crops), 1)


@dataclass(frozen=True)
class Rank:
    """The number of this process among several that were launched together.

    Attributes:
        wait: returns when all of them have called it.
        gather: joins the lists of all of them.
    """

    rank: int = 0
    ranks: int = 1
    wait: Callable[[], None] = field(default=lambda: None)
    gather: Callable[[list[Any]], list[Any]] = field(default=lambda items: items)


ALONE = Rank()


def launched_rank() -> tuple[Rank, torch.device]:
    """Return which of the launched processes this is, and its device."""
    gpu = torch.accelerator.is_available()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        accelerator = torch.accelerator.current_accelerator() if gpu else None
        return ALONE, accelerator or torch.device("cpu")
    from accelerate import PartialState
    from accelerate.utils import gather_object

    # One that is done early waits for the others, however long they take.
    state = PartialState(cpu=not gpu, timeout=timedelta(days=30))
    return Rank(state.process_index, state.num_processes, state.wait_for_everyone, gather_object), state.device


def decoder_for(views: ViewConfig, options: Options, ranks: int = 1, rows: Sequence[Any] | None = None) -> Decoder:
    """Return a decoder that keeps two batches ready while one is computed and another one is filled."""
    workers = options.num_workers
    if workers is None:
        workers = max((os.cpu_count() or 1) // ranks, 1)
    return Decoder(views, workers, 2 * options.videos, 2 * options.videos, rows, options.cores)


@dataclass(frozen=True)
class Batch:
    """Tasks that are computed together; or, after the last batch of a block, those that could not be read."""

    block: int
    tasks: list[Task]
    last: bool = False


def batches(decoded: Iterable[Task], options: Options) -> Iterator[Batch]:
    """Group tasks into batches within the budget, none with videos of two blocks.

    Videos with a record are planned for too, though not computed: a resumed run has the batches of an uninterrupted one.
    """
    for block, tasks in groupby(decoded, key=lambda task: task.item.block):
        bad: list[Task] = []
        readable = _readable(tasks, bad)
        limit, size = options.max_tokens or UNLIMITED, options.videos
        for batch in batches_within(readable, limit, lambda task: task.result, size, ahead=size):
            yield Batch(block, batch)
        yield Batch(block, bad, last=True)


def _readable(tasks: Iterable[Task], bad: list[Task]) -> Iterator[Task]:
    for task in tasks:
        if isinstance(task.result, Failure):
            bad.append(task)
        else:
            yield task


@dataclass(frozen=True)
class BatchResult:
    """Results of a batch: each video's job with its prediction, the reason why it failed, or None if it has a record."""

    block: int
    results: list[tuple[VideoJob, Prediction | Failure | None]]
    last: bool


def run(
    tasks: Iterable[Task],
    runner: Runner,
    options: Options,
    ranks: int = 1,
    rows: Sequence[Any] | None = None,
    on_failure: Callable[[VideoJob, Failure], None] = lambda job, failure: None,
) -> Iterator[BatchResult]:
    """Yield the results of each batch, in order, while the next ones are decoded.

    Args:
        tasks: of `VideoJob`s. One with a result, computed tokens or `Failure`, is not decoded.
        runner: the model.
        options: see `Options`.
        ranks: processes of this machine that share its cores.
        rows: where to find videos that have no path, by index.
        on_failure: called at once with a video that cannot be read; may raise.
    """
    decoder = decoder_for(runner.views, options, ranks, rows)
    decoded = _checked(decoder.decoded(tasks), on_failure)
    under_way: deque[tuple[Batch, PendingBatch | None]] = deque()
    for batch in batches(decoded, options):
        under_way.append((batch, _launch(batch, decoder, runner)))
        while under_way and (
            under_way[0][1] is None or sum(pending is not None for _, pending in under_way) > runner.delay
        ):
            yield _fetch(*under_way.popleft(), runner)
    for batch, pending in under_way:
        yield _fetch(batch, pending, runner)


def _checked(decoded: Iterable[Task], on_failure: Callable[[VideoJob, Failure], None]) -> Iterator[Task]:
    for task in decoded:
        if isinstance(task.result, Failure):
            on_failure(task.item, task.result)
        yield task


def _launch(batch: Batch, decoder: Decoder, runner: Runner) -> PendingBatch | None:
    jobs = [task.item for task in batch.tasks if task.item.slot is not None]
    if not jobs:
        return None
    pending = runner.launch([decoder.slots[job.slot] for job in jobs])
    for job in jobs:
        decoder.release(job)
    return pending


def _fetch(batch: Batch, pending: PendingBatch | None, runner: Runner) -> BatchResult:
    predictions = iter(runner.fetch(pending) if pending is not None else ())
    results: list[tuple[VideoJob, Prediction | Failure | None]] = []
    for task in batch.tasks:
        failed, known = isinstance(task.result, Failure), task.item.record is not None
        results.append((task.item, task.result if failed else None if known else next(predictions)))
    return BatchResult(batch.block, results, batch.last)
