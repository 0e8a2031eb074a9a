# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Counting over any number of videos: found as they are needed, remembered in a file, gone on with after an interruption."""

import errno
import json
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from ..data.lists import walk_videos
from .processes import Failed, Task, attempt, in_processes
from .videos import Question, TokenCount, count_video

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEGINNING = b'{"video": '


@dataclass
class Counted:
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

    def records(self, question: Question) -> list[dict[str, Any]]:
        """Returns the counts as they are written: one dictionary for each part of the question."""
        file = {"video": os.path.abspath(self.video), "size": self.size, "mtime_ns": self.mtime_ns}
        asked = {"settings": question.digest}
        return [{**file, **asked, **asdict(count), "share": count.share} for count in self.counts]


class CountFile:
    """A file of JSON lines, one for each video, rate and threshold; appended to as counts are found.

    Only places in the file are held in memory. Use as a context.

    Raises:
        ValueError: if the file holds something else, which would be spoilt, or another process writes it.
        OSError: if it cannot be written.
    """

    def __init__(self, path: str | Path, question: Question) -> None:
        self.question = question
        if not Path(path).parent.is_dir():
            raise FileNotFoundError(f"{path}: expected an existing folder to write to, found no {Path(path).parent}.")
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        self._places: dict[bytes, int] = {}
        try:
            self._lock(path)
            self._read(path)
        except BaseException:
            self._file.close()
            raise

    def _lock(self, path: str | Path) -> None:
        """Returns nothing; holds the file until it is closed, or this process ends. Two would write into one another."""
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path}: another count is being written to it: wait for its end, or choose another name."
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):  # some network disks know no locks
                raise

    def _read(self, path: str | Path) -> None:
        with open(path, "rb") as lines:
            head = lines.read(len(BEGINNING))
            if head not in (BEGINNING, BEGINNING[: len(head)]):
                raise ValueError(f"{path}: expected a file of counts or none, found another one: choose another name.")
            lines.seek(0)
            place = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    self._file.truncate(place)  # an interruption tore it
                    break
                record = _parsed(line)
                if record is not None:
                    self._places[_key(record)] = place
                place += len(line)

    def __enter__(self) -> "CountFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def known(self, video: Counted) -> list[TokenCount] | None:
        """Returns the counts of an unchanged video if every part of the question has been answered; else None."""
        keys = [self._key_of(video, *part) for part in self.question.parts]
        if not all(key in self._places for key in keys):
            return None
        return [self._at(self._places[key]) for key in keys]

    def append(self, video: Counted) -> None:
        """Returns nothing; writes those of the counts that are not in the file yet."""
        records = video.records(self.question)
        new = [record for record in records if _key(record) not in self._places]
        # At once: what an interruption leaves is a whole number of lines, or one torn at the end.
        place = self._file.seek(0, os.SEEK_END)
        lines = [json.dumps(record).encode() + b"\n" for record in new]
        self._write(b"".join(lines), place)
        for record, line in zip(new, lines, strict=True):
            self._places[_key(record)] = place
            place += len(line)

    def _write(self, content: bytes, place: int) -> None:
        """Returns nothing; a disk that is full takes a part at most, and keeps none of it."""
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError:
            self._file.truncate(place)
            raise

    def _key_of(self, video: Counted, fps: float | None, threshold: float) -> bytes:
        file = {"video": os.path.abspath(video.video), "size": video.size, "mtime_ns": video.mtime_ns}
        return _key({**file, "settings": self.question.digest, "fps": fps, "threshold": threshold})

    def _at(self, place: int) -> TokenCount:
        self._file.seek(place)
        record = json.loads(self._line())
        return TokenCount(**{name: record[name] for name in TokenCount.__dataclass_fields__})

    def _line(self) -> bytes:
        parts = [self._file.read(1024)]
        while parts[-1] and b"\n" not in parts[-1]:
            parts.append(self._file.read(1024))
        return b"".join(parts).split(b"\n", 1)[0]


def find(paths: Iterable[str | Path], problems: list[Counted] | None = None) -> Iterator[str]:
    """Returns the videos among paths: files as they are given, folders with all video files anywhere below them.

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
            raise ValueError(f"{path}: expected a video or a folder of videos, found neither: check the path.")
    return (video for path in names for video in (_below(path, problems) if os.path.isdir(path) else [path]))


def count_videos(
    videos: Iterable[str], question: Question, workers: int = 1, store: CountFile | None = None
) -> Generator[Counted, None, None]:
    """Returns what is known of each video, in their order, as it becomes known; a single one is read in this process.

    Neither a video that cannot be read nor one that ends the process that reads it ends the count.

    Args:
        videos: paths; taken as they can be worked on.
        question: what to count.
        workers: processes, see `in_processes`.
        store: what is in it already is not counted again; the rest is written to it as it is found.
    """
    source = iter(videos)
    first = list(islice(source, 2))
    work = partial(_count, question)
    if len(first) == 1:
        task = _task(first[0], store)
        task.result = task.result or attempt(work, task.thing)
        _keep(task, store)
        yield _outcome(task)
        return
    paths = (path for part in (first, source) for path in part)
    tasks = (_task(path, store) for path in paths)
    for task in in_processes(tasks, work, workers, lambda task: _keep(task, store)):
        yield _outcome(task)


def _below(folder: str, problems: list[Counted] | None) -> Iterator[str]:
    def cannot(error: OSError) -> None:
        if problems is not None:
            problems.append(Counted(str(error.filename), problem=f"cannot be listed ({error.strerror})."))

    return map(str, walk_videos(folder, cannot))


def _task(path: str, store: CountFile | None) -> Task:
    """Returns the task to count a video; one that is done already if it is no file, or nothing about it is new."""
    video = Counted(path)
    try:
        status = os.stat(path)
    except OSError as error:
        return Task(video, Failed(f"cannot be found ({error.strerror})."))
    if not stat.S_ISREG(status.st_mode):
        return Task(video, Failed("expected a file, found something else."))  # reading a pipe might never end
    video.size, video.mtime_ns = status.st_size, status.st_mtime_ns
    counts = None if store is None else store.known(video)
    video.reused = counts is not None
    return Task(video, counts)


def _count(question: Question, video: Counted) -> list[TokenCount]:
    return count_video(video.video, question)


def _keep(task: Task, store: CountFile | None) -> None:
    video = _outcome(task)
    if store is not None and not video.reused:
        store.append(video)


def _outcome(task: Task) -> Counted:
    video: Counted = task.thing
    if isinstance(task.result, Failed):
        video.problem = task.result.reason.removeprefix(f"{' '.join(video.video.split())}: ")
    else:
        video.counts = task.result
    return video


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Returns the record in a line; None for a line that holds something else."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    needed = {"video", "size", "mtime_ns", "settings", *TokenCount.__dataclass_fields__}
    return record if isinstance(record, dict) and needed <= record.keys() else None


def _key(record: dict[str, Any]) -> bytes:
    """Returns what tells a line from others: file, settings, rate and threshold."""
    parts = [record[name] for name in ("video", "size", "mtime_ns", "settings", "fps", "threshold")]
    return blake2b(json.dumps(parts).encode(), digest_size=16).digest()
