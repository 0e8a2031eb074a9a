# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Scores and features of any number of videos: decoding and computing overlap, nothing is computed twice."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from torch import Tensor

from ..counting import find
from ..counting.files import Counted, file_state
from ..counting.processes import Failed, Task
from ..data import read_annotations
from ..data.budget import batches_within
from ..data.lists import VIDEO_SUFFIXES
from .clips import Clip, Decoder, Views
from .compute import Answer, Launched, Runner
from .folder import Folder, Record, digest

BLOCK = 8  # batches: so many videos are dealt out, and their features written, together
UNLIMITED = 1 << 62


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
    """

    num_clips: int = 1
    num_crops: int = 1
    batch_size: int = 8
    max_tokens: int | None = None
    workers: int | None = None
    top_k: int = 5
    features: str | None = None
    cores: tuple[int, ...] | None = None

    @property
    def videos(self) -> int:
        """Videos in a batch at most."""
        return max(self.batch_size // (self.num_clips * self.num_crops), 1)


@dataclass(frozen=True)
class Share:
    """Which of several processes this is; `wait` returns when all of them have called it."""

    rank: int = 0
    ranks: int = 1
    wait: Callable[[], None] = field(default=lambda: None)


ALONE = Share()


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


def predict(
    videos: Iterable[str | Path],
    network: Any,
    processor: Any,
    folder: str | Path,
    options: Options | None = None,
    share: Share = ALONE,
) -> Generator[Predicted, None, None]:
    """Returns a record for each video that this process takes, as it becomes known; writes them to a folder.

    When the last one is taken, the folder holds `predictions.jsonl`, a line for each video in their order, also if an
    earlier run was interrupted: its records are used, unless the video has changed. Blocks of videos are dealt out to
    the processes; batches lie within a block, so that the results depend on neither the processes nor an interruption.

    Args:
        videos: files, folders, and annotation files (CSV, JSON) of `hf_rlt.data.from_file`.
        network, processor: as `hf_rlt.opening.open_model` or `open_encoder` returns them, on the device.
        folder: where predictions are written.
        options: see `Options`.
        share: of several processes, which one this is.

    Raises:
        ValueError: if an option is out of range, a path leads nowhere, or the folder holds something else.
        OSError: if the folder cannot be written to.
    """
    options, paths = options or Options(), [os.fspath(path) for path in videos]
    problems: list[Counted] = []
    found = listed(paths, problems)
    first = next(found, None)
    if first is None:
        raise ValueError(
            f"{', '.join(paths)}: expected videos ({', '.join(sorted(VIDEO_SUFFIXES))}) below it, found none."
        )
    found = chain([first], found)
    views = Views(processor, options.num_clips, options.num_crops)
    runner = Runner(network, views, options.top_k, options.features)
    with Folder(folder, _settings(runner, options), share.rank) as store:
        share.wait()  # all have read what there was before any writes
        yield from _predicted(found, runner, options, store, share)
        if share.rank == 0:
            yield from (Predicted({"video": folder.video, "error": folder.problem}) for folder in problems)
        share.wait()
        if share.rank == 0:
            store.finish(listed(paths))
    share.wait()


def listed(paths: Iterable[str], problems: list[Counted] | None = None) -> Iterator[str]:
    """Returns the videos among paths, see `hf_rlt.counting.find`; an annotation file stands for those it lists."""
    lists = (".csv", ".json")
    parts = [read_annotations(path)[0] if path.lower().endswith(lists) else find([path], problems) for path in paths]
    return map(str, chain.from_iterable(parts))


def _settings(runner: Runner, options: Options) -> Record:
    own = runner.views.processor.to_dict()
    for name in ("auto_map", "transformers_version", "processor_class"):
        own.pop(name, None)
    asked = {name: getattr(options, name) for name in ("num_clips", "num_crops", "top_k", "features")}
    return {"model": digest(runner.network), "dtype": str(runner.dtype), **asked, "processor": own}


def _predicted(
    videos: Iterable[str], runner: Runner, options: Options, store: Folder, share: Share
) -> Iterator[Predicted]:
    decoder = decoder_for(runner.views, options, share.ranks)
    decoded = decoder.decoded(_tasks(videos, options, store, share))
    waiting: list[Predicted] = []
    for done in computed(batches(decoded, options), decoder, runner):
        waiting += done.videos
        if options.features is None or done.last:
            _write(waiting, done.block, store)
            yield from waiting
            waiting = []


def decoder_for(views: Views, options: Options, ranks: int = 1) -> Decoder:
    """Returns a decoder that has two batches ready while one is computed, and one that is filled besides."""
    workers = options.workers or max((os.cpu_count() or 1) // ranks, 1)
    return Decoder(views, workers, 2 * options.videos, 2 * options.videos, options.cores)


def _write(found: list[Predicted], block: int, store: Folder) -> None:
    """Returns nothing; writes what is new, features before the lines that name them."""
    with_features = [video for video in found if video.features is not None]
    if with_features:
        name = store.add_features(block, [video.features for video in with_features if video.features is not None])
        for row, video in enumerate(with_features):
            video.record.update(features=name, row=row)
            video.features = None
    store.add([video.record for video in found if not video.known])


def _tasks(videos: Iterable[str], options: Options, store: Folder, share: Share) -> Iterator[Task]:
    for number, video in enumerate(videos):
        block = number // (BLOCK * options.videos)
        if block % share.ranks != share.rank:
            continue
        clip, state = Clip(video, block=block), file_state(video)
        if isinstance(state, Failed):
            yield Task(clip, state)
            continue
        clip.size, clip.mtime_ns = state
        clip.record = store.known(clip)
        yield Task(clip, None if clip.record is None else clip.record["tokens_computed"])


@dataclass(frozen=True)
class Batch:
    """Tasks that are computed together, or those of a block that could not be read, after all its batches."""

    block: int
    tasks: list[Task]
    last: bool = False


def batches(decoded: Iterable[Task], options: Options) -> Iterator[Batch]:
    """Returns batches within the budget, none with videos of two blocks.

    Known videos are planned for too, though not computed: after an interruption batches are what they would have been.
    """
    for block, tasks in groupby(decoded, key=lambda task: task.thing.block):
        bad: list[Task] = []
        readable = _readable(tasks, bad)
        limit, size = options.max_tokens or UNLIMITED, options.videos
        for batch in batches_within(readable, limit, lambda task: task.result, size, ahead=size):
            yield Batch(block, batch)
        yield Batch(block, bad, last=True)


def _readable(tasks: Iterable[Task], bad: list[Task]) -> Iterator[Task]:
    for task in tasks:
        if isinstance(task.result, Failed):
            bad.append(task)
        else:
            yield task


@dataclass(frozen=True)
class Done:
    """What became known with a batch."""

    block: int
    videos: list[Predicted]
    last: bool


def computed(planned: Iterable[Batch], decoder: Decoder, runner: Runner) -> Iterator[Done]:
    """Returns what becomes known with each batch, in their order; the device has got `runner.delay` batches more by then."""
    under_way: deque[tuple[Batch, Launched | None]] = deque()
    for batch in planned:
        under_way.append((batch, _launch(batch, decoder, runner)))
        while under_way and (
            under_way[0][1] is None or sum(launched is not None for _, launched in under_way) > runner.delay
        ):
            yield _fetched(*under_way.popleft(), runner)
    for batch, launched in under_way:
        yield _fetched(batch, launched, runner)


def _launch(batch: Batch, decoder: Decoder, runner: Runner) -> Launched | None:
    clips = [task.thing for task in batch.tasks if task.thing.slot is not None]
    if not clips:
        return None
    launched = runner.launch([decoder.slots[clip.slot] for clip in clips])
    for clip in clips:
        decoder.release(clip)
    return launched


def _fetched(batch: Batch, launched: Launched | None, runner: Runner) -> Done:
    answers = iter(runner.fetch(launched) if launched is not None else ())
    return Done(batch.block, [_predicted_of(task, answers) for task in batch.tasks], batch.last)


def _predicted_of(task: Task, answers: Iterator[Answer]) -> Predicted:
    clip, result = task.thing, task.result
    if clip.record is not None:
        return Predicted(clip.record, known=True)
    file = {"video": os.path.abspath(clip.video), "size": clip.size, "mtime_ns": clip.mtime_ns}
    if isinstance(result, Failed):
        return Predicted({**file, "error": result.reason.removeprefix(f"{clip.video}: ")})
    answer = next(answers)
    return Predicted({**file, **_said(answer)}, features=answer.features)


def _said(answer: Answer) -> Record:
    tokens = {"tokens_computed": answer.tokens_computed, "tokens": answer.tokens}
    if answer.scores is None:
        return tokens
    return {"scores": [{"label": label, "score": round(score, 6)} for label, score in answer.scores], **tokens}
