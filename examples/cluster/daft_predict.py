# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify the videos of a list with Daft.

python examples/cluster/daft_predict.py LIST.txt MODEL OUT

LIST.txt has a path on each line. `daft.set_runner_ray()` before anything else runs it on a Ray cluster.
"""

import sys
from pathlib import Path

import daft
from daft import DataType

from hf_rlt.inference.batch import RLTBatchPredictor

listed, model, out = sys.argv[1:]
PREDICTION = DataType.struct(
    {
        "label": DataType.string(),
        "score": DataType.float64(),
        "tokens_computed": DataType.int64(),
        "tokens": DataType.int64(),
        "error": DataType.string(),
    }
)


@daft.cls
class Predict:
    """Loads the model once in each worker."""

    def __init__(self) -> None:
        self.predictor = RLTBatchPredictor(model)

    @daft.method.batch(return_dtype=PREDICTION, batch_size=8)
    def __call__(self, path: daft.Series) -> list[dict]:
        """Classify a batch of paths."""
        found = self.predictor({"path": path.to_pylist()})
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


videos = daft.from_pydict({"path": Path(listed).read_text().splitlines()})
predicted = videos.with_column("found", Predict()(videos["path"]))
predicted.select("path", predicted["found"].unnest()).write_parquet(out)
