# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Scores and features of any number of videos, written to a folder; nothing is computed twice."""

import os
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.annotations import read_annotations, read_paths, read_table_paths
from ..data.video_list import none_found
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from ..tokens import find
from ..tokens.count import processor_settings
from ..tokens.count_many import VideoCounts, file_state, problem_of, written_name
from .decoder import Options, VideoJob
from .pipeline import ALONE, Rank, run
from .results import Folder, digest
from .rows import ERROR, Row, row_of, row_schema
from .runner import Runner

BLOCK = 8  # batches: so many videos are dealt out together
PATIENCE = 5.0  # seconds after which results are written, though their block is not finished


@dataclass
class Predicted:
    """The result of one video.

    Attributes:
        record: its row in the table, with `error` if it cannot be read; what is null is left out.
        cached: whether an earlier run computed it; the record then comes without features.
    """

    record: Row
    cached: bool = False


def predict(
    videos: Iterable[str | Path],
    network: Any,
    processor: Any,
    folder: str | Path,
    options: Options | None = None,
    share: Rank = ALONE,
    jsonl: bool = False,
    on_listed: Callable[[int], None] = lambda number: None,
) -> Generator[Predicted, None, None]:
    """Yield the result of each video that this process takes, as it becomes known, and write it to a folder.

    When the last one is taken, the folder holds `predictions.parquet`, a row for each video in their order. An interrupted
    run is resumed: results of unchanged videos are reused. Blocks of videos are dealt out to the processes; batches lie
    within a block, so that the results depend on neither the processes nor an interruption.

    Args:
        videos: see `video_paths`.
        network: as `hf_rlt.inference.loading.load` returns it, on the device.
        processor: of the model.
        folder: where to write predictions.
        options: see `Options`.
        share: which of several processes this is.
        jsonl: whether to write `predictions.jsonl`, too.
        on_listed: called with the number of videos that this process takes, before any is decoded.

    Raises:
        HfRltError: if an option is out of range, a path leads nowhere, or the folder holds something else.
        OSError: if the folder cannot be written to.
    """
    options, problems = options or Options(), list[VideoCounts]()
    listed = video_paths(videos, problems)
    runner = Runner(network, processor, options)
    with Folder(folder, settings_of(runner), row_schema(runner.classifies, options), share.rank) as store:
        share.wait()  # all have read what there was before any writes
        size = BLOCK * options.videos
        starts = range(0, len(listed), size)[share.rank :: share.ranks]
        on_listed(sum(len(listed[start : start + size]) for start in starts))
        jobs = (VideoJob(video, block=start // size) for start in starts for video in listed[start : start + size])
        waiting, written = list[Predicted](), time.monotonic()
        for batch in run((_task(job, store) for job in jobs), runner, share.ranks):
            waiting += map(result_of, batch.tasks)
            if batch.last or time.monotonic() - written > PATIENCE:
                store.add([result.record for result in waiting if not result.cached])
                yield from waiting
                waiting, written = [], time.monotonic()
        if share.rank == 0:
            yield from (Predicted({"video": folder.video, "error": folder.problem}) for folder in problems)
        share.wait()
        if share.rank == 0:
            store.finalize(listed, jsonl)
    share.wait()
    if share.rank == 0:
        store.remove_parts()


def video_paths(paths: Iterable[str | Path], problems: list[VideoCounts] | None = None) -> list[str]:
    """List the videos among paths: files, folders (see `hf_rlt.tokens.find`), and those that lists name.

    Lists are annotation files (CSV, JSON) of `hf_rlt.data.from_file`, text files (.txt) with a path on each line, and
    tables (.parquet) with a column `path` or `video`.

    Args:
        paths: what to list.
        problems: receives the folders that cannot be listed.

    Raises:
        HfRltError: if a path leads nowhere, a list cannot be read, or there is no video.
    """
    names = [os.fspath(path) for path in paths]

    def among(path: str) -> Iterable[Any]:
        if path.lower().endswith((".csv", ".json")):
            return read_annotations(path)[0]
        if path.lower().endswith((".txt", ".parquet")):
            return read_paths(path) if path.lower().endswith(".txt") else read_table_paths(path)
        return find([path], problems)

    found = [str(video) for path in names for video in among(path)]
    if not found:
        raise HfRltError(none_found(", ".join(names)))
    return found


def settings_of(runner: Runner) -> Row:
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


def file_row(video: str, size: int, mtime_ns: int) -> Row:
    """Return the columns that identify a video."""
    return {"video": written_name(video), "size": size, "mtime_ns": mtime_ns}


def result_of(task: Task) -> Predicted:
    """Return the result of a task that is done."""
    job, found = task.item, task.result
    if job.record is not None:
        return Predicted(job.record, cached=True)
    known = file_row(job.video, job.size, job.mtime_ns)
    if isinstance(found, Failure):
        return Predicted({**known, ERROR: problem_of(found, job.video)})
    return Predicted({**known, **row_of(found)})


def _task(job: VideoJob, store: Folder) -> Task:
    """Return the task to compute a video; it is already done if that was computed before, or there is no such file."""
    assert job.video is not None
    state = file_state(job.video)
    if isinstance(state, Failure):
        return Task(job, state)
    job.size, job.mtime_ns = state
    job.record = store.cached(job.video, *state)
    return Task(job, None if job.record is None else job.record["tokens_computed"])
