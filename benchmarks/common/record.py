# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Records: measurements as JSON with machine, versions, commit and command; Markdown tables made from them."""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
import typer

from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import installed_versions, processor_name, quartiles
from hf_rlt.jobs.atomic import write_text_atomic

PACKAGES = (
    *("hf_rlt", "torch", "torchvision", "transformers", "accelerate", "av", "torchcodec", "decord2"),
    *("onnx", "onnxruntime", "openvino", "nncf"),
)
ROOT = Path(__file__).parents[2]
# Module with `markdown(record)`, the tables, and if it draws `pictures(record, folder)`, which returns the paths.
NAMES = (
    "tokens reading processing ratios throughput augmentation balance keeps vjepa2 runtimes gpu finetune speed accuracy"
)
MODULES = {name: name for name in NAMES.split()} | {"ablation": "finetune", "frames": "speed"}
MODULES |= dict.fromkeys(("thresholds", "budgets", "inference"), "accuracy")
MODULES |= {"equal-tokens": "common.token_tables"}
Row = Mapping[str, Any]


def say(line: str) -> None:
    """Print progress on stderr."""
    typer.echo(line, err=True)


def _commit() -> str | None:
    """Return the checkout's commit, with "+changes" if there are any; None without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" * bool(git("status", "--porcelain", "-uno")))
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, Any]:
    """Return date, command, commit, machine and versions: what it takes to repeat a measurement."""
    versions = {"python": platform.python_version(), **installed_versions(PACKAGES)}
    machine: dict[str, Any] = {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
        versions["cuda"] = str(torch.version.cuda)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "commit": _commit(),
        "machine": machine,
        "versions": versions,
    }


@cache
def at_start() -> dict[str, Any]:
    """Return the environment at the first call: of the command's beginning, if it calls this first."""
    return environment()


def save(folder: Path, name: str, rows: Sequence[Row], settings: Row, **more: Any) -> Path:
    """Write the record `NAME.json` and return its path."""
    content = {"benchmark": name, "environment": at_start(), "settings": dict(settings)}
    return write_json(folder / f"{name}.json", {**content, "rows": [dict(row) for row in rows], **more})


def write_json(path: Path, content: Any) -> Path:
    """Write JSON atomically, creating its folder."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text_atomic(path, text)


def load_record(path: Path) -> dict[str, Any]:
    """Load a record that `save` wrote."""
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise HfRltError(f"{path}: expected a benchmark's JSON, found a damaged file ({error}).") from None
    if not isinstance(record, dict) or record.get("benchmark") not in MODULES:
        raise HfRltError(f"{path}: expected a record of {', '.join(MODULES)}, found something else.")
    return record


def report(file: Path, folder: Path | None = None) -> None:
    """Write `NAME.md` and the pictures of a record, into its own folder unless another is given; print the table."""
    record, folder = load_record(file), folder or file.parent
    folder.mkdir(parents=True, exist_ok=True)
    module: Any = import_module(f"benchmarks.{MODULES[record['benchmark']]}")
    text, path = module.markdown(record), folder / f"{record['benchmark']}.md"
    path.write_text(f"{text}\n{_provenance(record)}")
    drawn = module.pictures(record, folder) if hasattr(module, "pictures") else []
    typer.echo(text)
    typer.echo("Written: " + ", ".join(map(str, [path, *drawn])))


def _provenance(record: Row) -> str:
    found = record["environment"]
    machine, versions = found["machine"], found["versions"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads"
    if "gpu" in machine:
        where = f"{machine['gpu']}; {where}"
    used = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{found['date']}; {where}; {used}; commit {found['commit'] or 'unknown'}.\n\n`{found['command']}`\n"


class Column(NamedTuple):
    """A column of a table: its title and the cell of a row, "" where there is none."""

    title: str
    cell: Callable[[Row], str]


def column(title: str, key: str, form: str = "{}") -> Column:
    """Make a column that formats `row[key]` and is empty where it is missing or None."""
    return Column(title, lambda row: "" if row.get(key) is None else form.format(row[key]))


def percent(title: str, key: str) -> Column:
    """Make a column that writes the share `row[key]` as "12.3 %"."""
    return Column(title, lambda row: "" if row.get(key) is None else f"{100 * row[key]:.1f} %")


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Make a Markdown table, without columns that are empty in every row."""
    cells = [[column.cell(row) for column in columns] for row in rows]
    used = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    lines = ["| " + " | ".join(columns[i].title for i in used) + " |", "|" + "---|" * len(used)]
    return "\n".join(lines + ["| " + " | ".join(row[i] for i in used) + " |" for row in cells]) + "\n"


def spread(runs: Sequence[Row], key: str) -> str | None:
    """Format mean, lowest and highest of a share over the seeds; None without any."""
    values = [100 * run[key] for run in runs if run.get(key) is not None]
    return f"{statistics.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})" if values else None


def middle(values: list[float] | None) -> str | None:
    """Format median and quartiles of seconds; None without any."""
    if not values:
        return None
    low, median, high = quartiles(values)
    return f"{median:.3f} ({low:.3f} to {high:.3f})" if len(values) > 1 else f"{median:.3f}"
