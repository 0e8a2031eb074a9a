# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Scores and features of any number of videos: decoding and computing overlap, nothing is computed twice."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from ..data import read_annotations
from ..data.annotations import read_paths
from ..data.video_list import none_found
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from ..tokens import find
from ..tokens.count_many import VideoCounts, file_state
from .decoder import VideoJob, ViewConfig
from .pipeline import Options, Predicted, Record, batches, computed, decoder_for
from .results import Folder, digest
from .runner import Runner

BLOCK = 8  # batches: so many videos are dealt out, and their features written, together


@dataclass(frozen=True)
class Rank:
    """The number of this process among several; `wait` returns when all of them have called it."""

    rank: int = 0
    ranks: int = 1
    wait: Callable[[], None] = field(default=lambda: None)


ALONE = Rank()


def predict(
    videos: Iterable[str | Path],
    network: Any,
    processor: Any,
    folder: str | Path,
    options: Options | None = None,
    share: Rank = ALONE,
) -> Generator[Predicted, None, None]:
    """Yield a record for each video that this process takes, as it becomes known; write them to a folder.

    When the last one is taken, the folder holds `predictions.jsonl`, a line for each video in their order, also if an
    earlier run was interrupted: its records are used, unless the video has changed. Blocks of videos are dealt out to
    the processes; batches lie within a block, so that the results depend on neither the processes nor an interruption.

    Args:
        videos: files, folders, annotation files (CSV, JSON) of `hf_rlt.data.from_file`, and text files (.txt) of one path
            a line.
        network, processor: as `hf_rlt.inference.loading.load` returns them, on the device.
        folder: where predictions are written.
        options: see `Options`.
        share: of several processes, which one this is.

    Raises:
        ValueError: if an option is out of range, a path leads nowhere, or the folder holds something else.
        OSError: if the folder cannot be written to.
    """
    options, paths = options or Options(), [os.fspath(path) for path in videos]
    problems: list[VideoCounts] = []
    found = listed(paths, problems)
    first = next(found, None)
    if first is None:
        raise HfRltError(none_found(", ".join(paths)))
    found = chain([first], found)
    views = ViewConfig(processor, options.num_clips, options.num_crops)
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
    if share.rank == 0:
        store.clear()


def listed(paths: Iterable[str], problems: list[VideoCounts] | None = None) -> Iterator[str]:
    """Return the videos among paths (see `hf_rlt.tokens.find`), and those listed in annotation and text files."""

    def among(path: str) -> Iterable[Any]:
        if path.lower().endswith((".csv", ".json")):
            return read_annotations(path)[0]
        return read_paths(path) if path.lower().endswith(".txt") else find([path], problems)

    return map(str, chain.from_iterable([among(path) for path in paths]))


def _settings(runner: Runner, options: Options) -> Record:
    own = runner.views.processor.to_dict()
    for name in ("auto_map", "transformers_version", "processor_class"):
        own.pop(name, None)
    asked = {name: getattr(options, name) for name in ("num_clips", "num_crops", "top_k", "features")}
    return {"model": digest(runner.network), "dtype": str(runner.dtype), **asked, "processor": own}


def _predicted(
    videos: Iterable[str], runner: Runner, options: Options, store: Folder, share: Rank
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


def _write(found: list[Predicted], block: int, store: Folder) -> None:
    """Write what is new, features before the lines that name them."""
    with_features = [video for video in found if video.features is not None]
    if with_features:
        name = store.add_features(block, [video.features for video in with_features if video.features is not None])
        for row, video in enumerate(with_features):
            video.record.update(features=name, row=row)
            video.features = None
    store.add([video.record for video in found if not video.known])


def _tasks(videos: Iterable[str], options: Options, store: Folder, share: Rank) -> Iterator[Task]:
    for number, video in enumerate(videos):
        block = number // (BLOCK * options.videos)
        if block % share.ranks != share.rank:
            continue
        clip, state = VideoJob(video, block=block), file_state(video)
        if isinstance(state, Failure):
            yield Task(clip, state)
            continue
        clip.size, clip.mtime_ns = state
        clip.record = store.known(clip)
        yield Task(clip, None if clip.record is None else clip.record["tokens_computed"])
