# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`predict` on a Ray cluster: Ray hands out blocks of videos, and brings them to another worker when one is lost.

    driver   lists the videos, leaves out those that are known ............................ predictions.parquet
    worker       decodes a block, computes it, writes its rows to parts/ ... their scores back to the driver ^

With GPUs, decoding runs in workers of its own, on whatever cores the cluster has.
"""

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from ..errors import HfRltError
from ..jobs.worker_pool import Failure
from ..tokens.count_many import VideoCounts, file_state, problem_of
from .batch import RLTBatchDecoder, RLTBatchPredictor
from .decoder import Options
from .loading import load
from .predict import BLOCK, Predicted, file_row, settings_of, video_paths
from .results import FILE_FIELDS, SETTINGS, Folder, filled, write_part
from .rows import ERROR, FEATURES, row_schema
from .runner import Runner

RETRIES = 2  # of a block whose worker was lost


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
    runner = Runner(network.to(dtype=None if dtype is None else getattr(torch, dtype)), processor, options)
    size = BLOCK * options.videos
    with Folder(os.path.abspath(folder), settings_of(runner), row_schema(runner.classifies, options)) as store:
        on_listed(len(listed))
        blocks = []
        for start in range(0, len(listed), size):
            known, wanted = _divided(listed[start : start + size], store)
            yield from known
            if wanted:
                blocks.append(pa.Table.from_pylist(wanted))
        del runner, network
        if blocks:
            yield from _computed(blocks, store.path, model, options, address, dtype, settings)
        yield from (Predicted({"video": place.video, ERROR: place.problem}) for place in problems)
        store.finalize(listed, jsonl)
    store.remove_parts()


def _divided(videos: list[str], store: Folder) -> tuple[list[Predicted], list[dict[str, Any]]]:
    """Return the results that are known, files that are not there among them, and the rows to be computed."""
    known, wanted, gone = [], [], []
    for video in videos:
        state = file_state(video)
        if isinstance(state, Failure):
            gone.append({**file_row(video, 0, 0), ERROR: problem_of(state, video)})
        elif (record := store.cached(video, *state)) is not None:
            known.append(Predicted(record, cached=True))
        else:
            wanted.append(file_row(video, *state))
    store.add(gone)
    return known + list(map(Predicted, gone)), wanted


def _computed(
    blocks: list[pa.Table],
    folder: Path,
    model: str,
    options: Options,
    address: str | None,
    dtype: str | None,
    settings: dict[str, Any],
) -> Generator[Predicted, None, None]:
    """Compute blocks on the cluster; yield results as they come."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise HfRltError("The engine ray needs Ray: `pip install hf_rlt[cluster]`.") from error
    try:
        ray.init(address, ignore_reinit_error=True, logging_level="ERROR", log_to_driver=False)
    except ConnectionError as error:
        raise HfRltError(f"--address: found no cluster at {address} ({error}).") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = None  # blocks stay whole, so that batches are those of `predict`
    resources = ray.cluster_resources()
    cores, gpus = max(int(resources.get("CPU", 1)), 1), int(resources.get("GPU", 0))
    options = replace(options, num_workers=1)  # a worker for each core, not threads within one
    stage = {"batch_size": None, "batch_format": "pyarrow", "max_task_retries": RETRIES, "max_restarts": -1}
    data = ray.data.from_arrow(blocks)
    if gpus:  # decoders take what cores there are, the models one GPU each
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=cores)
        made_of = {"fn_constructor_args": [model, options], "fn_constructor_kwargs": settings}
        data = data.rename_columns({"video": "path"}).map_batches(
            RLTBatchDecoder, compute=pool, num_cpus=1, **made_of, **stage
        )
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=min(gpus or cores, len(blocks)))
    share = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}
    made_of = {"fn_constructor_args": [str(folder), model, options, dtype], "fn_constructor_kwargs": settings}
    data = data.map_batches(_Writer, compute=pool, **share, **made_of, **stage)
    for table in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from (Predicted(filled(row)) for row in table.to_pylist())


class _Writer:
    """A worker that computes blocks, and writes their rows to the folder."""

    def __init__(self, folder: str, model: str, options: Options, dtype: str | None, **settings: Any) -> None:
        if not Path(folder, SETTINGS).is_file():
            raise HfRltError(f"{folder}: expected a folder that all machines share, found none on this one.")
        self.folder, self.predictor = Path(folder), RLTBatchPredictor(model, options, dtype=dtype, **settings)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Compute a block; return it without features."""
        names = ["path" if name == "video" else name for name in block.column_names]
        found = self.predictor(block.rename_columns(names))
        found = found.rename_columns(["video" if name == "path" else name for name in found.column_names])
        write_part(self.folder, found.select([*FILE_FIELDS, *self.predictor.schema.names]))
        return found.select([name for name in found.column_names if name != FEATURES])
