# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Writing and reading cards in tests."""

import json
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard
from typer.testing import CliRunner

from hf_rlt.cli import app

BASE = "MCG-NJU/videomae-base"
EVALUATION = {"accuracy": 0.9125, "top_5_accuracy": 1.0, "mean_class_accuracy": 0.9, "tokens_computed": 0.2137}
EVALUATION |= {"clips": 1320, "unreadable": 2, "num_clips": 5, "num_crops": 3, "threshold": 0.1, "per_class": []}


def change(path: Path, **fields) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), **fields}))


def run(folder: str | Path, *words: str | Path):
    return CliRunner().invoke(app, ["card", "--model", str(folder), *map(str, words)])


def results(path: Path) -> list[EvalResult]:
    return ModelCard.load(path).data.eval_results
