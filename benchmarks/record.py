# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a benchmark leaves behind: measurements with machine, versions, commit and command, and tables made of them."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hf_rlt.jobs.atomic import write_text_atomic

PACKAGES = ("hf_rlt", "torch", "torchvision", "transformers", "accelerate", "av")
Row = Mapping[str, Any]


def processor_name() -> str:
    """Returns the name of the CPU as the operating system gives it."""
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpus.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Returns the commit of the checkout this package runs from, "+changes" if it has any; None outside of one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", __file__) == "":
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here.parents[1]))
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, Any]:
    """Returns date, command, commit, machine and versions: what is needed to measure the same thing again."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
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
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine,
        "versions": versions,
    }


_STARTED: dict[str, Any] = {}


def begin() -> None:
    """Returns nothing; what `save` writes from now on was begun now, with the code as it is now."""
    _STARTED.clear()
    _STARTED.update(environment())


def save(folder: str | Path, name: str, rows: Sequence[Row], settings: Row, **more: Any) -> Path:
    """Returns the path of `NAME.json`, written whole or not at all.

    Args:
        folder: is made if it does not exist.
        name: of the benchmark, as the subcommand is called.
        rows: the measurements.
        settings: what was asked for.
        **more: other parts of the record.
    """
    record = {
        "benchmark": name,
        "environment": _STARTED or environment(),
        "settings": dict(settings),
        "rows": [dict(row) for row in rows],
        **more,
    }
    return write_json(Path(folder) / f"{name}.json", record)


def write_json(path: Path, content: Any) -> Path:
    """Returns the path, written whole or not at all; its folder is made if it does not exist."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text_atomic(path, text)


def load(path: str | Path) -> dict[str, Any]:
    """Returns a record that `save` wrote.

    Raises:
        ValueError: if the file is not one.
    """
    try:
        record = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: expected a benchmark's JSON, found no such file.") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected a benchmark's JSON, found a damaged file ({error}).") from None
    if not isinstance(record, dict) or not {"benchmark", "environment", "settings", "rows"} <= record.keys():
        raise ValueError(f"{path}: expected a benchmark's JSON with benchmark, environment, settings and rows.")
    return record


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and how a row's cell is written ("" where there is nothing to write)."""

    title: str
    cell: Callable[[Row], str]


def column(title: str, key: str, form: str = "{}") -> Column:
    """Returns a column that writes `row[key]` by a format, and nothing where it is missing or None."""
    return Column(title, lambda row: "" if row.get(key) is None else form.format(row[key]))


def percent(title: str, key: str) -> Column:
    """Returns a column that writes the share `row[key]` as "12.3 %", and nothing where it is missing or None."""
    return Column(title, lambda row: "" if row.get(key) is None else f"{100 * row[key]:.1f} %")


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Returns a Markdown table; columns without any content are left out."""
    cells = [[column.cell(row) for column in columns] for row in rows]
    used = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    lines = ["| " + " | ".join(columns[i].title for i in used) + " |", "|" + "---|" * len(used)]
    return "\n".join(lines + ["| " + " | ".join(row[i] for i in used) + " |" for row in cells]) + "\n"


def provenance(record: Row) -> str:
    """Returns the lines below a table: when, on what, with which versions and commit, by which command."""
    found = record["environment"]
    machine, versions = found["machine"], found["versions"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads"
    if "gpu" in machine:
        where = f"{machine['gpu']}; {where}"
    used = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{found['date']}; {where}; {used}; commit {found['commit'] or 'unknown'}.\n\n`{found['command']}`\n"
