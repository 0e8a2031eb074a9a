# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Counting over any number of videos: found as they are needed, remembered in a file, gone on with after an interruption."""

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.text_files import json_name
from ..data.video_list import walk_videos
from ..errors import HfRltError, without_name
from ..jobs.jsonl import JsonlStore
from ..jobs.worker_pool import Failure, Task, call_safely, map_ordered
from .count import CountConfig, TokenCount, count_video

KEYS = ("video", "size", "mtime_ns", "settings", "fps", "threshold")


@dataclass
class VideoCounts:
    """What is known of one video.

    Attributes:
        video: as it was found.
        size, mtime_ns: of its file, by which a change is noticed.
        counts: one for each part of the question; empty if it cannot be read.
        problem: why it cannot be read, in one line; None if it can.
        reused: whether the counts were known before.
    """

    video: str
    size: int = 0
    mtime_ns: int = 0
    counts: list[TokenCount] = field(default_factory=list)
    problem: str | None = None
    reused: bool = False

    def records(self, question: CountConfig) -> list[dict[str, Any]]:
        """Return the counts as they are written: one dictionary for each part of the question."""
        file = {"video": written_name(self.video), "size": self.size, "mtime_ns": self.mtime_ns}
        asked = {"settings": question.digest}
        return [{**file, **asked, **asdict(count), "share": count.share} for count in self.counts]


class CountFile(JsonlStore):
    """A file of JSON lines, one for each video, rate and threshold; appended to as counts are found."""

    def __init__(self, path: str | Path, question: CountConfig) -> None:
        self.question = question
        super().__init__(path, KEYS, TokenCount.__dataclass_fields__, "counts")

    def known(self, video: VideoCounts) -> list[TokenCount] | None:
        """Return the counts of an unchanged video if every part of the question has been answered; else None."""
        file = {"video": written_name(video.video), "size": video.size, "mtime_ns": video.mtime_ns}
        asked = {**file, "settings": self.question.digest}
        found = [self.get({**asked, "fps": fps, "threshold": threshold}) for fps, threshold in self.question.parts]
        counts = [_count_in(record) for record in found if record is not None]
        return counts if len(counts) == len(found) else None

    def append(self, video: VideoCounts) -> None:
        """Write those of the counts that are not in the file yet."""
        self.add(record for record in video.records(self.question) if record not in self)


def find(paths: Iterable[str | Path], problems: list[VideoCounts] | None = None) -> Iterator[str]:
    """Return the videos among paths: files as they are given, folders with all video files anywhere below them.

    Folders are read as they are needed, each in the order of names; linked ones are entered, but not in circles.

    Args:
        paths: files and folders.
        problems: gets what cannot be listed.

    Raises:
        ValueError: if a path is neither; before anything else is returned.
    """
    names = [os.fspath(path) for path in paths]
    for path in names:
        if not os.path.lexists(path):
            raise HfRltError(f"{path}: expected a video or a folder of videos, found neither: check the path.")
    return (video for path in names for video in (_below(path, problems) if os.path.isdir(path) else [path]))


def count_videos(
    videos: Iterable[str], question: CountConfig, workers: int = 1, store: CountFile | None = None
) -> Generator[VideoCounts, None, None]:
    """Return what is known of each video, in their order, as it becomes known; a single one is read in this process.

    Neither a video that cannot be read nor one that ends the process that reads it ends the count.

    Args:
        videos: paths; taken as they can be worked on.
        question: what to count.
        workers: processes, see `map_ordered`.
        store: what is in it already is not counted again; the rest is written to it as it is found.
    """
    source = iter(videos)
    first = list(islice(source, 2))
    work = partial(_count, question)
    if len(first) == 1:
        task = _task(first[0], store)
        task.result = task.result or call_safely(work, task.thing)
        _keep(task, store)
        yield _outcome(task)
        return
    paths = (path for part in (first, source) for path in part)
    tasks = (_task(path, store) for path in paths)
    for task in map_ordered(tasks, work, workers, lambda task: _keep(task, store)):
        yield _outcome(task)


def _below(folder: str, problems: list[VideoCounts] | None) -> Iterator[str]:
    def cannot(error: OSError) -> None:
        if problems is not None:
            problems.append(VideoCounts(str(error.filename), problem=f"cannot be listed ({error.strerror})."))

    return map(str, walk_videos(folder, cannot))


def written_name(path: str) -> str:
    """Return a file's unique name in records: its absolute path or a URI, see `json_name`."""
    return json_name(os.path.abspath(path))


def problem_of(failed: Failure, path: str) -> str:
    """Return why a video cannot be read, without its name, and with other bytes replaced so that JSON can hold it."""
    return without_name(failed.reason, path).encode(errors="surrogateescape").decode(errors="replace")


def file_state(path: str) -> tuple[int, int] | Failure:
    """Return (size, modification time in ns) of a file, or why it cannot be read."""
    try:
        status = os.stat(path)
    except OSError as error:
        return Failure(f"cannot be found ({error.strerror}).")
    if not stat.S_ISREG(status.st_mode):
        return Failure("expected a file, found something else.")  # reading a pipe might never end
    return status.st_size, status.st_mtime_ns


def _task(path: str, store: CountFile | None) -> Task:
    """Return the task to count a video; it is already done if there is no such file, or nothing new to count."""
    video, state = VideoCounts(path), file_state(path)
    if isinstance(state, Failure):
        return Task(video, state)
    video.size, video.mtime_ns = state
    counts = None if store is None else store.known(video)
    video.reused = counts is not None
    return Task(video, counts)


def _count(question: CountConfig, video: VideoCounts) -> list[TokenCount]:
    return count_video(video.video, question)


def _keep(task: Task, store: CountFile | None) -> None:
    video = _outcome(task)
    if store is not None and not video.reused:
        store.append(video)


def _outcome(task: Task) -> VideoCounts:
    video: VideoCounts = task.thing
    if isinstance(task.result, Failure):
        video.problem = problem_of(task.result, video.video)
    else:
        video.counts = task.result
    return video


def _count_in(record: dict[str, Any]) -> TokenCount:
    return TokenCount(**{name: record[name] for name in TokenCount.__dataclass_fields__})
