# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From a benchmark's JSON to its Markdown and pictures."""

from importlib import import_module
from pathlib import Path
from typing import Any

from . import record as records

# Benchmark -> module beside this one with `markdown(record)`, the tables, and if it draws `pictures(record, folder)`,
# which returns the paths.
MODULES = {
    **{
        "tokens": "tokens",
        "grey": "grey",
        "reading": "reading",
        "processing": "processing",
        "ratios": "ratios",
        "throughput": "throughput",
        "finetune": "finetune_table",
        "ablation": "finetune_table",
    },
    **dict.fromkeys(("speed", "frames"), "speed_tables"),
    **dict.fromkeys(("accuracy", "thresholds", "inference"), "accuracy_tables"),
}


def write(file: str | Path, folder: str | Path | None = None) -> tuple[str, list[Path]]:
    """Returns (tables, paths written): `NAME.md` and the pictures of a record, in its own folder unless another is given.

    Raises:
        ValueError: if the file is no benchmark's record.
    """
    file = Path(file)
    record = records.load(file)
    name = record["benchmark"]
    if name not in MODULES:
        raise ValueError(f"{file}: expected a record of {', '.join(MODULES)}, received one of {name!r}.")
    folder = Path(folder) if folder is not None else file.parent
    folder.mkdir(parents=True, exist_ok=True)
    module: Any = import_module(f".{MODULES[name]}", __package__)
    text = module.markdown(record)
    path = folder / f"{name}.md"
    path.write_text(f"{text}\n{records.provenance(record)}")
    drawn = module.pictures(record, folder) if hasattr(module, "pictures") else []
    return text, [path, *drawn]
