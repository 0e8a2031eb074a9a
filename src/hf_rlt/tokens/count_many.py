# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Count the tokens of any number of videos; remember the counts in a file, and resume after an interruption."""

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data.rendered import cache_folder
from ..data.text_files import json_name
from ..data.video_dataset import check_on_bad_video, report_unreadable, source_name
from ..data.video_list import VideoList, cloud_videos, walk_videos
from ..errors import HfRltError, without_name
from ..jobs.jsonl import JsonlStore
from ..jobs.worker_pool import Failure, Task, map_ordered
from ..models.downloads import check_path, is_address
from .count import CountConfig, TokenCount, count_video

KEYS = ("video", "size", "mtime_ns", "settings", "fps", "threshold")


@dataclass
class VideoCounts:
    """Counts of one video.

    Attributes:
        video: its path or address; a digest as `sha256://...`, if it is a row of a data set that holds its bytes.
        size, mtime_ns: of its file, by which a change is noticed.
        counts: one for each part of the configuration.
        problem: why it cannot be read, in one line.
        reused: whether the counts were known before.
        source: what to decode, if not the file `video`.
    """

    video: str
    size: int = 0
    mtime_ns: int = 0
    counts: list[TokenCount] = field(default_factory=list)
    problem: str | None = None
    reused: bool = False
    source: Any = None

    def file_fields(self) -> dict[str, Any]:
        """Return the fields of a record that identify the video."""
        return {"video": written_name(self.video), "size": self.size, "mtime_ns": self.mtime_ns}

    def records(self, config: CountConfig) -> list[dict[str, Any]]:
        """Return the counts as they are written: one dictionary for each part of the configuration."""
        fields = {**self.file_fields(), "settings": config.digest}
        rules = [config.rule(count.threshold).describe() for count in self.counts]
        return [
            {**fields, "rule": rule, **asdict(count), "share": count.share}
            for rule, count in zip(rules, self.counts, strict=True)
        ]


class CountFile(JsonlStore):
    """A file of JSON lines, one for each video, rate and threshold, appended to as counts are found."""

    def __init__(self, path: str | Path, config: CountConfig, wait: bool = False) -> None:
        self.config = config
        super().__init__(path, KEYS, TokenCount.__dataclass_fields__, "counts", wait=wait)

    def known(self, video: VideoCounts) -> list[TokenCount] | None:
        """Return the counts of an unchanged video if there is one for every part of the configuration; else None."""
        fields = {**video.file_fields(), "settings": self.config.digest}
        found = [self.get({**fields, "fps": fps, "threshold": threshold}) for fps, threshold in self.config.parts]
        if None in found:
            return None
        names = TokenCount.__dataclass_fields__
        return [TokenCount(**{name: record[name] for name in names}) for record in found if record]

    def append(self, video: VideoCounts) -> None:
        """Write the counts that are not in the file yet."""
        self.add(record for record in video.records(self.config) if record not in self)


def find(paths: Iterable[str | Path], problems: list[VideoCounts] | None = None) -> Iterator[str]:
    """Find the videos among paths: files as they are given, folders with all video files anywhere below them.

    Addresses (s3://, gs://, hf://, https://) count as folders if they name no file of a known suffix. Folders are read as
    they are needed, each in the order of names; linked ones are entered, but not in circles. `problems` receives those that
    cannot be listed. A path that is not there raises HfRltError at once.
    """
    names = [os.fspath(path) for path in paths]
    for path in names:
        check_path(path)

    def report(error: OSError) -> None:
        if problems is not None:
            problems.append(VideoCounts(str(error.filename), problem=f"cannot be listed ({error.strerror})."))

    def among(path: str) -> Iterable[Any]:
        if is_address(path):
            return cloud_videos(path)
        return walk_videos(path, report) if os.path.isdir(path) else [path]

    return (str(video) for path in names for video in among(path))


def count_videos(
    videos: Iterable[Any], config: CountConfig, num_workers: int = 1, store: CountFile | None = None
) -> Generator[VideoCounts, None, None]:
    """Yield the counts of each video, in order; one that cannot be read, or kills its process, does not end the count.

    Args:
        videos: paths, or rows of a Hub data set; taken as they can be worked on.
        config: what to count.
        num_workers: processes, see `map_ordered`; a single video is read in this one.
        store: counts in it are reused; new ones are written to it as they are found.
    """

    def save(task: Task) -> None:
        if store is not None:
            store.append(_finished(task))

    source = iter(videos)
    first = list(islice(source, 2))
    tasks = (_task(video, store) for video in chain(first, source))
    for task in map_ordered(tasks, partial(_count, config), num_workers if len(first) > 1 else 0, save):
        yield _finished(task)


def count_tokens(
    clips: VideoList,
    processor: Any,
    num_workers: int = 0,
    on_bad_video: str = "raise",
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Count the tokens computed of each video's clip, `(len(clips),)` int64; 0 for a video that cannot be read.

    Counts are kept in `cache_dir`: an interrupted count is resumed, and none is repeated with the same processor settings
    for a file that has not changed (path, size, modification time). Without augmentation, so estimates for training.

    Args:
        clips: what to count.
        processor: an `RLTVideoProcessor`; its threshold counts.
        num_workers: decoding processes; 0 decodes in this one.
        on_bad_video: "raise" UnreadableClipError, or "skip". A bad video is read again each time, as it may be repaired.
        cache_dir: `~/.cache/hf_rlt/tokens` unless given.
        progress: called with (clips counted, clips in all).
    """
    check_on_bad_video(on_bad_video)
    config, counts = CountConfig(processor, thresholds=(processor.threshold,)), np.zeros(len(clips), np.int64)
    folder = Path(cache_dir) if cache_dir is not None else cache_folder() / "tokens"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        CountFile(folder / f"{config.digest}.jsonl", config, wait=True) as store,
        closing(count_videos(clips.sources, config, num_workers, store)) as counted,
    ):
        for index, video in enumerate(counted):
            if video.problem is None:
                counts[index] = video.counts[0].tokens_after
            else:
                name = source_name(clips.sources[index], f"clip {index} of the data set")
                error, known = HfRltError(f"{name}: {video.problem}"), bool(clips.unreadable_mask[index])
                report_unreadable(error, on_bad_video, f"Clip {index}", name, known)
                clips.unreadable_mask[index] = True
            if progress is not None:
                progress(index + 1, len(clips))
    return counts


def written_name(path: str) -> str:
    """Return a video's unique name in records: its absolute path or a URI, see `json_name`."""
    return path if is_address(path) else json_name(os.path.abspath(path))


def problem_of(failed: Failure, path: str) -> str:
    """Return why a video cannot be read, without its name, and with other bytes replaced so that JSON can hold it."""
    return without_name(failed.reason, path).encode(errors="surrogateescape").decode(errors="replace")


def file_state(path: str) -> tuple[int, int] | Failure:
    """Return (size, modification time in ns) of a file, or why it cannot be read; (0, 0) of what an address names."""
    if is_address(path):
        return 0, 0
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return Failure(f"cannot be found ({getattr(error, 'strerror', error)}).")
    if not stat.S_ISREG(status.st_mode):
        return Failure("expected a file, found something else.")  # reading a pipe might never end
    return status.st_size, status.st_mtime_ns


def _task(source: Any, store: CountFile | None) -> Task:
    """Return the task to count a video; it is already done if there is no such file, or nothing new to count."""
    row = source if isinstance(source, dict) else {"path": source}
    name, content = str(row.get("path")), row.get("bytes")
    if content is not None:
        video = VideoCounts(f"sha256://{sha256(content).hexdigest()}", len(content), source=source)
    else:
        state = file_state(name)
        if isinstance(state, Failure):
            return Task(VideoCounts(name), state)
        video = VideoCounts(name, *state)
    counts = None if store is None else store.known(video)
    video.reused = counts is not None
    return Task(video, counts)


def _count(config: CountConfig, video: VideoCounts) -> list[TokenCount]:
    return count_video(video.video if video.source is None else video.source, config)


def _finished(task: Task) -> VideoCounts:
    """Return the video of a task that has a result, with its counts or problem."""
    video: VideoCounts = task.item
    video.source = None
    if isinstance(task.result, Failure):
        video.problem = problem_of(task.result, video.video)
    else:
        video.counts = task.result
    return video
