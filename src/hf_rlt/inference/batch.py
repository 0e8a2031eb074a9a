# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify videos where an engine hands them out in batches: Ray Data, Daft, `datasets.Dataset.map`, or a loop.

one stage    path or bytes -> RLTBatchPredictor -> label, score, ...
two stages   path or bytes -> RLTBatchDecoder -> computed tubelets -> RLTBatchPredictor -> label, score, ...
             on machines with many cores                           on machines with GPUs
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.token_budget import batches_within
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, call_safely
from .decoder import Options, read_views, slot_shapes
from .loading import load, load_processor
from .pipeline import UNLIMITED
from .runner import Prediction, Runner

SOURCES = ("path", "bytes")
TUBELETS, RUNS, ERROR = "tubelets", "run_lengths", "error"
CONTENTS = ("bytes", TUBELETS, RUNS)  # columns that nobody needs who has the answer
Columns = Mapping[str, Sequence[Any]]
Clip = tuple[Tensor, Tensor]  # computed tubelets (L, s, 3, p, p) uint8, and run lengths (V, N)


class _Stage:
    """Adds columns to batches. It is pickled as what it was made of: each worker loads its own model."""

    def __init__(self, options: Options | None, made_of: tuple[Any, ...], settings: dict[str, Any]) -> None:
        self.options = options or Options()
        self._made_of = made_of, settings

    def __reduce__(self) -> tuple[Any, ...]:
        made_of, settings = self._made_of
        return partial(type(self), **settings), made_of

    def __call__(self, batch: Any) -> Any:
        """Return a batch with more columns, see the class; those with videos are left out.

        Args:
            batch: a mapping of names to columns; or a `pyarrow.Table`, whose columns have types even where all is None.
        """
        if isinstance(batch, Mapping):
            kept = {name: list(values) for name, values in batch.items() if name not in CONTENTS}
            return {**kept, **self.added(batch)}
        import pyarrow as pa

        added = self.added({name: batch[name].to_pylist() for name in batch.column_names})
        table = batch.drop_columns([name for name in batch.column_names if name in (*CONTENTS, *added)])
        for field in self.schema:
            table = table.append_column(field, pa.array(added[field.name], field.type))
        return table

    def added(self, batch: Columns) -> dict[str, list[Any]]:
        """Compute the new columns of a batch."""
        raise NotImplementedError

    @property
    def schema(self) -> Any:
        """The types of the new columns, a `pyarrow.Schema`."""
        raise NotImplementedError

    def _decoded(self, processor: Any, batch: Columns) -> list[Clip | Failure]:
        """Decode each video of a batch, several at once."""
        names = [name for name in SOURCES if name in batch]
        if len(names) != 1:
            raise HfRltError(f"Expected a column path or bytes, received {', '.join(batch) or 'none'}.")
        read = partial(call_safely, partial(read_views, processor, self.options))
        workers = self.options.num_workers
        with ThreadPoolExecutor(max(os.cpu_count() or 1 if workers is None else workers, 1)) as threads:
            return list(threads.map(read, batch[names[0]]))


class RLTBatchDecoder(_Stage):
    """Decodes videos, with a column `path` or `bytes`, for an `RLTBatchPredictor` elsewhere.

    New columns: `tubelets` and `run_lengths`, the bytes of what the model computes; `error`, None where there is none.

    Args:
        model: folder or Hub id; of its files only the configurations are read.
        options: those of the predictor. `num_workers` are threads; one for each core unless given.
        **settings: of `load_processor`, those of the predictor.
    """

    def __init__(self, model: str, options: Options | None = None, **settings: Any) -> None:
        super().__init__(options, (model, options), settings)
        self.processor = load_processor(model, **settings)

    def added(self, batch: Columns) -> dict[str, list[Any]]:
        """Compute the new columns of a batch."""
        columns: dict[str, list[Any]] = {TUBELETS: [], RUNS: [], ERROR: []}
        for clip in self._decoded(self.processor, batch):
            if isinstance(clip, Failure):
                row: tuple[Any, ...] = (None, None, clip.reason)
            else:
                row = (*(each.numpy().tobytes() for each in clip), None)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        return columns

    @property
    def schema(self) -> Any:
        """The types of the new columns, a `pyarrow.Schema`."""
        import pyarrow as pa

        return pa.schema({TUBELETS: pa.large_binary(), RUNS: pa.binary(), ERROR: pa.string()})


class RLTBatchPredictor(_Stage):
    """Classifies videos, with a column `path` or `bytes`, or what an `RLTBatchDecoder` made: rows in, rows out.

        predictor = RLTBatchPredictor("outputs/digits")
        predictor({"path": ["a.mp4", "b.mp4"]})["label"]

    New columns: `label` and `score` of the likeliest class, `labels` and `scores` of the `top_k` likeliest,
    `tokens_computed` of `tokens`, with `options.features` also `features` (float16), and `error`. A video that cannot be
    read has an error, and None in all others.

    Args:
        model: folder or Hub id of a classifier, or with features of an encoder.
        options: see `Options`. `num_workers` are threads that decode; one for each core unless given.
        device: where to compute; an accelerator if there is one, unless given.
        dtype: of the model, such as "bfloat16"; its own unless given.
        **settings: of `load`, such as `num_tokens`.

    Raises:
        HfRltError, OSError: if there is no such model.
    """

    def __init__(
        self,
        model: str,
        options: Options | None = None,
        device: str | None = None,
        dtype: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(options, (model, options, device, dtype), settings)
        if self.options.features == "tokens":
            raise HfRltError('Expected features of one size, received "tokens": ask for "pooled".')
        network, processor = load(model, head=self.options.features is None, **settings)
        place = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
        network = network.to(place, None if dtype is None else getattr(torch, dtype))
        self.runner = Runner(network, processor, self.options)

    def added(self, batch: Columns) -> dict[str, list[Any]]:
        """Compute the new columns of a batch."""
        received = TUBELETS in batch
        clips = self._received(batch) if received else self._decoded(self.runner.processor, batch)
        rows = [{ERROR: clip.reason} if isinstance(clip, Failure) else {} for clip in clips]
        readable = [(clip, row) for clip, row in zip(clips, rows, strict=True) if not isinstance(clip, Failure)]
        limit, size = self.options.max_tokens_per_batch or UNLIMITED, self.options.videos
        for part in batches_within(readable, limit, lambda each: len(each[0][0]), size):
            found = self.runner.fetch(self.runner.launch([clip for clip, _ in part]))
            for (_, row), prediction in zip(part, found, strict=True):
                row |= _row(prediction)
        return {name: [row.get(name) for row in rows] for name in self.schema.names}

    @property
    def schema(self) -> Any:
        """The types of the new columns, a `pyarrow.Schema`."""
        import pyarrow as pa

        fields, number = {}, pa.float64()
        if self.runner.classifies:
            fields = {"label": pa.string(), "score": number}
            # Not of a fixed size: pyarrow writes Parquet with nulls of such, which it cannot read.
            fields |= {"labels": pa.list_(pa.string()), "scores": pa.list_(number)}
        fields |= {"tokens_computed": pa.int64(), "tokens": pa.int64()}
        if self.options.features is not None:
            fields["features"] = pa.list_(pa.float16())
        return pa.schema({**fields, ERROR: pa.string()})

    def _received(self, batch: Columns) -> list[Clip | Failure]:
        """Return the clips that an `RLTBatchDecoder` made."""
        shapes = slot_shapes(self.runner.processor, self.options)
        return [
            Failure(error) if error is not None else _clip(tubelets, runs, shapes)
            for tubelets, runs, error in zip(batch[TUBELETS], batch[RUNS], batch[ERROR], strict=True)
        ]


def _row(found: Prediction) -> dict[str, Any]:
    row: dict[str, Any] = {"tokens_computed": found.tokens_computed, "tokens": found.tokens}
    if found.scores is not None:
        labels, scores = [label for label, _ in found.scores], [round(score, 6) for _, score in found.scores]
        row |= {"label": labels[0], "score": scores[0], "labels": labels, "scores": scores}
    if found.features is not None:
        row["features"] = found.features.to(torch.float16).numpy()
    return row


def _clip(tubelets: bytes, runs: bytes, shapes: tuple[tuple[int, ...], tuple[int, int]]) -> Clip:
    """Return a clip of the bytes of its computed tubelets and of its run lengths."""
    (_, *tubelet), views = shapes
    try:
        lengths = np.frombuffer(runs, np.int64).reshape(views)
        pixels = np.frombuffer(tubelets, np.uint8).reshape(int((lengths > 0).sum()), *tubelet)
    except ValueError as error:
        raise HfRltError(
            f"Expected views and tokens {views}, tubelets {tuple(tubelet)}, received bytes of others: decode with the same "
            "model, options and settings."
        ) from error
    return torch.from_numpy(pixels.copy()), torch.from_numpy(lengths.copy())
