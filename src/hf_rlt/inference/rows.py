# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The row of a video, alike in every engine: its columns, their types, and how a prediction fills it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from .decoder import Options
from .runner import Prediction

ERROR, FEATURES = "error", "features"
Row = dict[str, Any]


def row_schema(classifies: bool, options: Options) -> pa.Schema:
    """Return the columns of a prediction and their types."""
    fields: dict[str, Any] = {}
    if classifies:
        fields = {"label": pa.string(), "score": pa.float64()}
        # Not of a fixed size: pyarrow writes Parquet with nulls of such, which it cannot read.
        fields |= {"labels": pa.list_(pa.string()), "scores": pa.list_(pa.float64())}
    fields |= {"tokens_computed": pa.int64(), "tokens": pa.int64()}
    if options.features is not None:
        vector = pa.list_(pa.float16())
        tokens = pa.list_(vector) if options.views == 1 else pa.list_(pa.list_(vector))
        fields[FEATURES] = vector if options.features == "pooled" else tokens
    return pa.schema({**fields, ERROR: pa.string()})


def row_of(found: Prediction) -> Row:
    """Return the row of a video that could be read; columns that are left out are null."""
    row: Row = {}
    if found.scores is not None:
        labels, scores = [label for label, _ in found.scores], [round(score, 6) for _, score in found.scores]
        row |= {"label": labels[0], "score": scores[0], "labels": labels, "scores": scores}
    row |= {"tokens_computed": found.tokens_computed, "tokens": found.tokens}
    if found.features is not None:
        row[FEATURES] = found.features.to(torch.float16).numpy()
    return row


def as_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Return rows as a table; what a row leaves out is null."""
    columns = [[_vectors(row.get(name)) for row in rows] for name in schema.names]
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _vectors(value: Any) -> Any:
    """Take arrays of several dimensions apart into lists of vectors, which pyarrow takes."""
    return list(map(_vectors, value)) if isinstance(value, np.ndarray) and value.ndim > 1 else value
