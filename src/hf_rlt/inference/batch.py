# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify videos where an engine hands them out in batches: Ray Data, Daft, `datasets.Dataset.map`, or a loop.

one stage    path or bytes -> RLTBatchPredictor -> label, score, ...
two stages   path or bytes -> RLTBatchDecoder -> computed tubelets -> RLTBatchPredictor -> label, score, ...
             on machines with many cores                           on machines with GPUs
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..data.text_files import path_of
from ..data.token_budget import batches_within
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, call_safely
from ..tokens.count_many import file_state, problem_of
from .decoder import Options, decoding_workers, read_views, slot_shapes
from .loading import as_dtype, load, load_processor
from .pipeline import UNLIMITED
from .rows import ERROR, Row, as_table, row_of, row_schema
from .runner import Runner

SOURCES = ("path", "bytes")
TUBELETS, RUNS = "tubelets", "run_lengths"
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
            rows = self.rows(batch)
            return {**kept, **{name: [row.get(name) for row in rows] for name in self.schema.names}}
        needed = (*SOURCES, TUBELETS, RUNS, ERROR)
        rows = self.rows({name: batch[name].to_pylist() for name in batch.column_names if name in needed})
        added = as_table(rows, self.schema)
        table = batch.drop_columns([name for name in batch.column_names if name in (*CONTENTS, *added.column_names)])
        for field, column in zip(added.schema, added.columns, strict=True):
            table = table.append_column(field, column)
        return table

    def rows(self, batch: Columns) -> list[Row]:
        """Compute the new columns of a batch, row by row; what is None is left out."""
        raise NotImplementedError

    @property
    def schema(self) -> pa.Schema:
        """The types of the new columns."""
        raise NotImplementedError

    def _decoded(self, processor: Any, batch: Columns) -> list[Clip | Failure]:
        """Decode each video of a batch, several at once."""
        names = [name for name in SOURCES if name in batch]
        if len(names) != 1:
            raise HfRltError(f"Expected a column path or bytes, received {', '.join(batch) or 'none'}.")
        threads = max(decoding_workers(self.options), 1)
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(partial(self._read, processor), batch[names[0]]))

    def _read(self, processor: Any, source: Any) -> Clip | Failure:
        """Decode a path or bytes, or return why it cannot be read, in the words of `hf_rlt.inference.predict`."""
        name = path_of(source) if isinstance(source, str) else "<bytes>"
        state = file_state(name) if isinstance(source, str) else None
        source = name if isinstance(source, str) else source
        found = (
            state if isinstance(state, Failure) else call_safely(partial(read_views, processor, self.options), source)
        )
        return Failure(problem_of(found, name)) if isinstance(found, Failure) else found


class RLTBatchDecoder(_Stage):
    """Decodes videos, with a column `path` or `bytes`, for an `RLTBatchPredictor` elsewhere.

    New columns: `tubelets` and `run_lengths`, the bytes of what the model computes; `error`, None where there is none.

    Args:
        model: folder or Hub id; of its files only the configurations are read.
        options: those of the predictor. `num_workers` are threads; one for each core unless given.
        **settings: those of the predictor.
    """

    def __init__(self, model: str, options: Options | None = None, **settings: Any) -> None:
        super().__init__(options, (model, options), settings)
        of_processor = {
            name: value for name, value in settings.items() if name not in ("sampling", "attn_implementation")
        }
        self.processor = load_processor(model, **of_processor, **(settings.get("sampling") or {}))

    def rows(self, batch: Columns) -> list[Row]:
        """Compute the new columns of a batch, row by row; what is None is left out."""
        return [
            {ERROR: clip.reason}
            if isinstance(clip, Failure)
            else {TUBELETS: clip[0].numpy().tobytes(), RUNS: clip[1].numpy().tobytes()}
            for clip in self._decoded(self.processor, batch)
        ]

    @property
    def schema(self) -> pa.Schema:
        """The types of the new columns."""
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
        network, processor = load(model, head=self.options.features is None, **settings)
        place = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
        network = network.to(place, as_dtype(dtype))
        self.runner = Runner(network, processor, self.options)

    def rows(self, batch: Columns) -> list[Row]:
        """Compute the new columns of a batch, row by row; what is None is left out."""
        received = TUBELETS in batch
        clips = self._received(batch) if received else self._decoded(self.runner.processor, batch)
        rows: list[Row] = [{ERROR: clip.reason} if isinstance(clip, Failure) else {} for clip in clips]
        readable = [(clip, row) for clip, row in zip(clips, rows, strict=True) if not isinstance(clip, Failure)]
        limit, size = self.options.max_tokens_per_batch or UNLIMITED, self.options.videos
        for part in batches_within(readable, limit, lambda each: len(each[0][0]), size, ahead=size):
            found = self.runner.fetch(self.runner.launch([clip for clip, _ in part]))
            for (_, row), prediction in zip(part, found, strict=True):
                row |= row_of(prediction)
        return rows

    @property
    def schema(self) -> pa.Schema:
        """The types of the new columns."""
        return row_schema(self.runner.classifies, self.options)

    def _received(self, batch: Columns) -> list[Clip | Failure]:
        """Return the clips that an `RLTBatchDecoder` made."""
        shapes = slot_shapes(self.runner.processor, self.options)
        return [
            Failure(error) if error is not None else _clip(tubelets, runs, shapes)
            for tubelets, runs, error in zip(batch[TUBELETS], batch[RUNS], batch[ERROR], strict=True)
        ]


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
