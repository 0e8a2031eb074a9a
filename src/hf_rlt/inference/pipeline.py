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
from ..jobs.worker_pool import Failure, Task
from .decoder import Decoder, Options, VideoJob
from .runner import PendingBatch, Runner

UNLIMITED = 1 << 62


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


@dataclass(frozen=True)
class Batch:
    """Tasks that are computed together; or, after the last batch of a block, those that could not be read."""

    block: int
    tasks: list[Task]
    last: bool = False


def batches(
    decoded: Iterable[Task],
    options: Options,
    on_failure: Callable[[VideoJob, Failure], None] = lambda job, failure: None,
) -> Iterator[Batch]:
    """Group tasks into batches within the budget, none with videos of two blocks.

    Videos with a record are planned for too, though not computed: a resumed run has the batches of an uninterrupted one.
    """

    def readable(tasks: Iterable[Task], bad: list[Task]) -> Iterator[Task]:
        for task in tasks:
            if isinstance(task.result, Failure):
                on_failure(task.item, task.result)
                bad.append(task)
            else:
                yield task

    limit, size = options.max_tokens_per_batch or UNLIMITED, options.videos
    for block, tasks in groupby(decoded, key=lambda task: task.item.block):
        bad: list[Task] = []
        for batch in batches_within(readable(tasks, bad), limit, lambda task: task.result, size, ahead=size):
            yield Batch(block, batch)
        yield Batch(block, bad, last=True)


def run(
    tasks: Iterable[Task],
    runner: Runner,
    ranks: int = 1,
    rows: Sequence[Any] | None = None,
    on_failure: Callable[[VideoJob, Failure], None] = lambda job, failure: None,
) -> Iterator[Batch]:
    """Yield each batch, in order, while the next ones are decoded; a task's result is now its `Prediction` or `Failure`.

    Args:
        tasks: of `VideoJob`s. One with a result, computed tokens or `Failure`, is not decoded.
        runner: the model.
        ranks: processes of this machine that share its cores.
        rows: where to find videos that have no path, by index.
        on_failure: called at once with a video that cannot be read; may raise.
    """
    decoder = Decoder(runner.processor, runner.options, ranks, rows)
    under_way: deque[tuple[Batch, PendingBatch | None]] = deque()
    for batch in batches(decoder.decoded(tasks), runner.options, on_failure):
        under_way.append((batch, _launch(batch, decoder, runner)))
        while under_way and (
            under_way[0][1] is None or sum(pending is not None for _, pending in under_way) > runner.delay
        ):
            yield _fetch(*under_way.popleft(), runner)
    for batch, pending in under_way:
        yield _fetch(batch, pending, runner)


def _launch(batch: Batch, decoder: Decoder, runner: Runner) -> PendingBatch | None:
    jobs = [task.item for task in batch.tasks if task.item.slot is not None]
    if not jobs:
        return None
    pending = runner.launch([decoder.slots[job.slot] for job in jobs])
    for job in jobs:
        decoder.release(job)
    return pending


def _fetch(batch: Batch, pending: PendingBatch | None, runner: Runner) -> Batch:
    if pending is not None:
        computed = [task for task in batch.tasks if task.item.record is None]
        for task, prediction in zip(computed, runner.fetch(pending), strict=True):
            task.result = prediction
    return batch
