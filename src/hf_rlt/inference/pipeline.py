# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From decoded videos to what is known of them, batch by batch."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import Tensor

from ..data.token_budget import batches_within
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from ..tokens.count_many import problem_of, written_name
from .decoder import Decoder, ViewConfig
from .runner import PendingBatch, Prediction, Runner

UNLIMITED = 1 << 62
Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How videos are predicted.

    Attributes:
        num_clips, num_crops: views of each video; the probabilities are the mean of the views'.
        batch_size: views computed together at most, but at least one video.
        max_tokens: computed together at most; a video that has more is computed alone.
        workers: decoding processes; one for each core unless given.
        top_k: classes in a line.
        features: "pooled" (the mean over a video's computed tokens), "tokens" (all of them, runs filled back to the grid) or
            None.
        cores: that the decoding processes are to keep to, if any.

    Raises:
        ValueError: if a number is below 1.
    """

    num_clips: int = 1
    num_crops: int = 1
    batch_size: int = 8
    max_tokens: int | None = None
    workers: int | None = None
    top_k: int = 5
    features: str | None = None
    cores: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("num_clips", "num_crops", "batch_size", "max_tokens", "workers", "top_k"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise HfRltError(f"Expected {name} >= 1, received {number}.")

    @property
    def videos(self) -> int:
        """Videos in a batch at most."""
        return max(self.batch_size // (self.num_clips * self.num_crops), 1)


@dataclass
class Predicted:
    """What is known of a video.

    Attributes:
        record: its line in `predictions.jsonl`, with `error` if it cannot be read.
        known: whether an earlier run found it out.
        features: of it, until they are written.
    """

    record: Record
    known: bool = False
    features: Tensor | None = None


def decoder_for(views: ViewConfig, options: Options, ranks: int = 1) -> Decoder:
    """Return a decoder that has two batches ready while one is computed, and one that is filled besides."""
    workers = options.workers or max((os.cpu_count() or 1) // ranks, 1)
    return Decoder(views, workers, 2 * options.videos, 2 * options.videos, options.cores)


@dataclass(frozen=True)
class Batch:
    """Tasks that are computed together, or those of a block that could not be read, after all its batches."""

    block: int
    tasks: list[Task]
    last: bool = False


def batches(decoded: Iterable[Task], options: Options) -> Iterator[Batch]:
    """Return batches within the budget, none with videos of two blocks.

    Known videos are planned for too, though not computed: after an interruption batches are what they would have been.
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
    """Results of one batch."""

    block: int
    videos: list[Predicted]
    last: bool


def computed(planned: Iterable[Batch], decoder: Decoder, runner: Runner) -> Iterator[BatchResult]:
    """Yield the results of each batch, in order, when the device has been given `runner.delay` further batches."""
    under_way: deque[tuple[Batch, PendingBatch | None]] = deque()
    for batch in planned:
        under_way.append((batch, _launch(batch, decoder, runner)))
        while under_way and (
            under_way[0][1] is None or sum(launched is not None for _, launched in under_way) > runner.delay
        ):
            yield _fetched(*under_way.popleft(), runner)
    for batch, launched in under_way:
        yield _fetched(batch, launched, runner)


def _launch(batch: Batch, decoder: Decoder, runner: Runner) -> PendingBatch | None:
    clips = [task.item for task in batch.tasks if task.item.slot is not None]
    if not clips:
        return None
    launched = runner.launch([decoder.slots[clip.slot] for clip in clips])
    for clip in clips:
        decoder.release(clip)
    return launched


def _fetched(batch: Batch, launched: PendingBatch | None, runner: Runner) -> BatchResult:
    answers = iter(runner.fetch(launched) if launched is not None else ())
    return BatchResult(batch.block, [_predicted_of(task, answers) for task in batch.tasks], batch.last)


def _predicted_of(task: Task, answers: Iterator[Prediction]) -> Predicted:
    clip, result = task.item, task.result
    if clip.record is not None:
        return Predicted(clip.record, known=True)
    file = {"video": written_name(clip.video), "size": clip.size, "mtime_ns": clip.mtime_ns}
    if isinstance(result, Failure):
        return Predicted({**file, "error": problem_of(result, clip.video)})
    answer = next(answers)
    return Predicted({**file, **_said(answer)}, features=answer.features)


def _said(answer: Prediction) -> Record:
    tokens = {"tokens_computed": answer.tokens_computed, "tokens": answer.tokens}
    if answer.scores is None:
        return tokens
    return {"scores": [{"label": label, "score": round(score, 6)} for label, score in answer.scores], **tokens}
