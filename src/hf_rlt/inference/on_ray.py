# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`predict` on a Ray cluster: Ray hands out blocks of videos, and brings them to another worker when one is lost.

    driver   lists the videos, leaves out blocks that are known ........................ writes predictions.parquet
    worker       decodes and computes a block, writes its rows to parts/ ... their scores to the driver ^

There is a worker for each GPU, with an equal share of the cores; without GPUs one for each core.
"""

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from ..data.text_files import path_of
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from ..tokens.count_many import VideoCounts, file_state, problem_of
from .decoder import Options, VideoJob
from .loading import as_dtype, load
from .pipeline import run
from .predict import BLOCK, Predicted, file_row, result_of, settings_of, video_paths
from .results import SETTINGS, Folder, file_schema, filled, write_part
from .rows import ERROR, FEATURES, Row, as_table, row_schema
from .runner import Runner

WAIT = 10.0  # seconds for a cluster to answer
BLOCK_NUMBER, KNOWN = "block", "known"
TASK_SCHEMA = file_schema(pa.schema({BLOCK_NUMBER: pa.int64(), KNOWN: pa.int64()}))  # KNOWN: tokens, if known


def predict_on_ray(
    videos: Iterable[str | Path],
    model: str,
    folder: str | Path,
    options: Options,
    address: str | None = None,
    dtype: str | None = None,
    jsonl: bool = False,
    on_listed: Callable[[int], None] = lambda number: None,
    **settings: Any,
) -> Generator[Predicted, None, None]:
    """Yield the result of each video, in any order, and write the table that `predict` writes.

    Args:
        videos: see `video_paths`.
        model: folder or Hub id, which all machines can read.
        folder: where to write predictions, on a disk that all machines share.
        options: see `Options`.
        address: of the cluster; without one, and without RAY_ADDRESS, this machine is used.
        dtype: of the model, such as "bfloat16"; its own unless given.
        jsonl: whether to write `predictions.jsonl`, too.
        on_listed: called with the number of videos, before any is decoded.
        **settings: of `load`.

    Raises:
        HfRltError, OSError: see `predict`; also without Ray, or if there is no cluster at the address.
    """
    problems: list[VideoCounts] = []
    listed, model = video_paths(videos, problems), os.path.abspath(model) if os.path.exists(model) else model
    network, processor = load(model, head=options.features is None, **settings)
    runner = Runner(network.to(dtype=as_dtype(dtype)), processor, options)
    size, folder = BLOCK * options.videos, os.path.abspath(folder)
    with Folder(folder, settings_of(runner), row_schema(runner.classifies, options)) as store:
        on_listed(len(listed))
        blocks = []
        for start in range(0, len(listed), size):
            known, rows = _divided(listed[start : start + size], start // size, store)
            yield from known
            if rows:
                blocks.append(pa.Table.from_pylist(rows, TASK_SCHEMA))
        del runner, network
        if blocks:
            worker = {"folder": folder, "model": model, "options": options, "dtype": dtype, "settings": settings}
            yield from _computed(blocks, size, worker, address)
        yield from (Predicted({"video": place.video, ERROR: place.problem}) for place in problems)
        store.finalize(listed, jsonl)
    store.remove_parts()


def _divided(videos: list[str], block: int, store: Folder) -> tuple[list[Predicted], list[Row]]:
    """Return the results that are known, of files that are not there too, and the rows to compute.

    If there are any, the known ones are among them, with their tokens: batches are then those of an uninterrupted run.
    """
    known, rows, gone = [], [], []
    for video in videos:
        state = file_state(video)
        if isinstance(state, Failure):
            gone.append({**file_row(video, 0, 0), ERROR: problem_of(state, video)})
            continue
        record = store.cached(video, *state)
        if record is not None:
            known.append(Predicted(record, cached=True))
        rows.append({**file_row(video, *state), BLOCK_NUMBER: block, KNOWN: record and record["tokens_computed"]})
    store.add(gone)
    return known + list(map(Predicted, gone)), [] if len(known) == len(rows) else rows


def _computed(blocks: list[pa.Table], size: int, worker: dict[str, Any], address: str | None) -> Iterator[Predicted]:
    """Compute blocks on the cluster; yield results as they come."""
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # before it is imported
    try:
        import ray
    except ModuleNotFoundError as error:
        raise HfRltError("The engine ray needs Ray: `pip install hf_rlt[cluster]`.") from error
    try:
        host, separator, port = (address or "").rpartition(":")
        if separator and port.isdecimal() and "://" not in host:
            socket.create_connection((host, int(port)), WAIT).close()  # Ray itself would try for minutes
        ray.init(address, ignore_reinit_error=True, logging_level=logging.ERROR, log_to_driver=False)
    except OSError as error:  # ConnectionError is one
        raise HfRltError(f"--address: found no cluster at {address} ({error}).") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    resources = ray.cluster_resources()
    cores, gpus = max(int(resources.get("CPU", 1)), 1), int(resources.get("GPU", 0))
    share: dict[str, Any] = {"num_gpus": 1, "num_cpus": max(cores // gpus, 1)} if gpus else {"num_cpus": 1}
    workers = ray.data.ActorPoolStrategy(min_size=1, max_size=min(gpus or cores, len(blocks)))
    worker["options"] = replace(worker["options"], num_workers=share["num_cpus"])
    found: Any = ray.data.from_arrow(blocks).map_batches(
        _Worker, fn_constructor_kwargs=worker, compute=workers, batch_size=size, batch_format="pyarrow", **share
    )
    for table in found.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from (Predicted(filled(row)) for row in table.to_pylist())


class _Worker:
    """Computes blocks as `predict` does, with decoding processes of its own, and writes their rows to the folder."""

    def __init__(self, folder: str, model: str, options: Options, dtype: str | None, settings: dict[str, Any]) -> None:
        self.folder = Path(folder)
        if not (self.folder / SETTINGS).is_file():
            raise HfRltError(f"{folder}: expected a folder that all machines share, found none on this one.")
        network, processor = load(model, head=options.features is None, **settings)
        place = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        self.runner = Runner(network.to(place, as_dtype(dtype)), processor, options)
        self.schema = file_schema(row_schema(self.runner.classifies, options))

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Compute the rows that are not known; return them without features."""
        batches = run(map(_task, rows.to_pylist()), self.runner)
        found = [result_of(task) for batch in batches for task in batch.tasks]
        table = as_table([result.record for result in found if not result.cached], self.schema)
        write_part(self.folder, table)
        return table.select([name for name in table.column_names if name != FEATURES])


def _task(row: Row) -> Task:
    known = row[KNOWN]
    record = None if known is None else {"tokens_computed": known}
    job = VideoJob(path_of(row["video"]), 0, row[BLOCK_NUMBER], None, row["size"], row["mtime_ns"], record)
    return Task(job, known)
