# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Scores and features of any number of videos, written to a folder; nothing is computed twice."""

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from torch import Tensor

from ..data import read_annotations
from ..data.annotations import read_paths
from ..data.video_list import none_found
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from ..tokens import find
from ..tokens.count import processor_settings
from ..tokens.count_many import VideoCounts, file_state, problem_of, written_name
from .decoder import Options, VideoJob
from .pipeline import ALONE, Rank, run
from .results import Folder, Record, digest
from .runner import Runner

BLOCK = 8  # batches: so many videos are dealt out, and their features written, together


@dataclass
class Predicted:
    """The result of one video.

    Attributes:
        record: its line in `predictions.jsonl`, with `error` if it cannot be read.
        cached: whether an earlier run computed it.
        features: of the video, until they are written.
    """

    record: Record
    cached: bool = False
    features: Tensor | None = None


def predict(
    videos: Iterable[str | Path],
    network: Any,
    processor: Any,
    folder: str | Path,
    options: Options | None = None,
    share: Rank = ALONE,
) -> Generator[Predicted, None, None]:
    """Yield the result of each video that this process takes, as it becomes known, and write it to a folder.

    When the last one is taken, the folder holds `predictions.jsonl`, a line for each video in their order. An interrupted
    run is resumed: results of unchanged videos are reused. Blocks of videos are dealt out to the processes; batches lie
    within a block, so that the results depend on neither the processes nor an interruption.

    Args:
        videos: files, folders, annotation files (CSV, JSON) of `hf_rlt.data.from_file`, and text files (.txt) with a path on
            each line.
        network: as `hf_rlt.inference.loading.load` returns it, on the device.
        processor: of the model.
        folder: where to write predictions.
        options: see `Options`.
        share: which of several processes this is.

    Raises:
        HfRltError: if an option is out of range, a path leads nowhere, or the folder holds something else.
        OSError: if the folder cannot be written to.
    """
    options, paths = options or Options(), [os.fspath(path) for path in videos]
    problems: list[VideoCounts] = []
    found = video_paths(paths, problems)
    first = next(found, None)
    if first is None:
        raise HfRltError(none_found(", ".join(paths)))
    runner = Runner(network, processor, options)
    with Folder(folder, _settings(runner), share.rank) as store:
        share.wait()  # all have read what there was before any writes
        tasks, waiting = _tasks(chain([first], found), options, store, share), list[Predicted]()
        for batch in run(tasks, runner, share.ranks):
            waiting += map(_result, batch.tasks)
            if options.features is None or batch.last:
                _write(waiting, batch.block, store)
                yield from waiting
                waiting = []
        if share.rank == 0:
            yield from (Predicted({"video": folder.video, "error": folder.problem}) for folder in problems)
        share.wait()
        if share.rank == 0:
            store.finalize(video_paths(paths))
    share.wait()
    if share.rank == 0:
        store.remove_parts()


def video_paths(paths: Iterable[str], problems: list[VideoCounts] | None = None) -> Iterator[str]:
    """Find the videos among paths (see `hf_rlt.tokens.find`), and those listed in annotation and text files."""

    def among(path: str) -> Iterable[Any]:
        if path.lower().endswith((".csv", ".json")):
            return read_annotations(path)[0]
        return read_paths(path) if path.lower().endswith(".txt") else find([path], problems)

    return map(str, chain.from_iterable([among(path) for path in paths]))


def _settings(runner: Runner) -> Record:
    """Return everything that the results depend on, except for the videos."""
    names = ("num_clips", "num_crops", "top_k", "features", "token_keep_ratio")
    asked = {name: getattr(runner.options, name) for name in names}
    return {
        "rule": runner.processor.run_rule.describe(),  # first, so that a change is told in words
        "model": digest(runner.network),
        "dtype": str(runner.dtype),
        **asked,
        "processor": processor_settings(runner.processor),
    }


def _result(task: Task) -> Predicted:
    job, found = task.item, task.result
    if job.record is not None:
        return Predicted(job.record, cached=True)
    record: Record = {"video": written_name(job.video), "size": job.size, "mtime_ns": job.mtime_ns}
    if isinstance(found, Failure):
        return Predicted({**record, "error": problem_of(found, job.video)})
    if found.scores is not None:
        record["scores"] = [{"label": label, "score": round(score, 6)} for label, score in found.scores]
    record |= {"tokens_computed": found.tokens_computed, "tokens": found.tokens}
    return Predicted(record, features=found.features)


def _write(results: list[Predicted], block: int, store: Folder) -> None:
    """Write what is new, features before the lines that name them."""
    features = [result.features for result in results if result.features is not None]
    if features:
        name, rows = store.add_features(block, features), count()
        for result in results:
            if result.features is not None:
                result.record |= {"features": name, "row": next(rows)}
                result.features = None
    store.add([result.record for result in results if not result.cached])


def _tasks(videos: Iterable[str], options: Options, store: Folder, share: Rank) -> Iterator[Task]:
    for number, video in enumerate(videos):
        block = number // (BLOCK * options.videos)
        if block % share.ranks != share.rank:
            continue
        job, state = VideoJob(video, block=block), file_state(video)
        if isinstance(state, Failure):
            yield Task(job, state)
            continue
        job.size, job.mtime_ns = state
        job.record = store.cached(job)
        yield Task(job, None if job.record is None else job.record["tokens_computed"])
