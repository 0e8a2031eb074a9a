# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A program in the place of the fine-tuning job: it keeps the words of each call, and writes made-up results."""

import json
from pathlib import Path

RECORDING = """
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--output_dir") + 1])
with open(pathlib.Path(__file__).with_name("calls.jsonl"), "a") as stream:
    stream.write(json.dumps(words) + "\\n")
"""


def write_stub(folder: Path, results: str) -> Path:
    """Write the program into a folder; `results` is code that writes into `out`, the folder of the run."""
    path = folder / "stub.py"
    path.write_text(RECORDING + results)
    return path


def calls(stub: Path) -> list[list[str]]:
    """Return the words of each call so far."""
    path = stub.with_name("calls.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
