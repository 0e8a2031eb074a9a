# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The table of fine-tuning in several variants, and of RLT with and without random masking and length embedding."""

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from hf_rlt.inference.measure import quartiles

from .common import paper
from .common.record import Column, Row, column, table

ORDER = ("dense", "ToMe", "random", "RLT", "RLT+length", "RLT+random", "RLT+random+length")
PAPER_COLUMNS = {
    "finetune": (("ViT-B", "K400"), ("ViT-B", "SSv2"), ("ViT-L", "K400"), ("ViT-L", "SSv2")),
    "ablation": (("ViT-L", "K400"),),
}


def markdown(record: Row) -> str:
    """Make the table of `finetune` or `ablation`, with notes."""
    rows = table_rows(record)
    baseline = rows[0]["title"] if rows else "dense"
    columns = [
        column("variant", "title"),
        column("top-1, mean (lowest to highest)", "accuracy"),
        column("pair that only timing separates", "pair"),
        column("s/step, median (quartiles)", "step"),
        column("whole job", "job"),
        column(f"speed-up over {baseline}", "speedup", "{:.1f} x"),
        column("model step", "model_step", "{:.3f} s"),
        column("speed-up", "model_speedup", "{:.1f} x"),
    ]
    for where in PAPER_COLUMNS[record["benchmark"]]:
        columns.append(Column("paper: " + ", ".join(where), partial(_paper_cell, *where)))
    return f"{table(rows, columns)}\n{notes(record)}"


def table_rows(record: Row) -> list[dict[str, Any]]:
    """Make a row for each variant that was trained or timed, in the paper's order."""
    timing = record.get("timing") or {}
    seconds, alone = timing.get("seconds_per_step", {}), timing.get("model_seconds", {})
    known = [name for name in ORDER if name in seconds or any(run["variant"] == name for run in record["rows"])]
    speed = {name: statistics.median(values) for name, values in seconds.items()}
    rows = []
    for name in known:
        runs = [run for run in record["rows"] if run["variant"] == name]
        row: dict[str, Any] = {"variant": name, "title": title(name, record["settings"])}
        row |= {"accuracy": spread(runs, "accuracy"), "pair": spread(runs, "pair_accuracy")}
        row |= {"step": middle(seconds.get(name)), "job": _job(runs, speed.get(name))}
        row |= {"speedup": _ratio(speed, known[0], name), "model_step": alone.get(name)}
        rows.append(row | {"model_speedup": _ratio(alone, known[0], name)})
        if masked := spread(runs, "accuracy_masked"):
            rows.append({"title": "the same, masked at evaluation too", "accuracy": masked})
    return rows


def title(name: str, settings: Row) -> str:
    """Name a variant, with the share of tokens that random masking keeps."""
    if name == "random":
        return f"random, {100 * settings['random_ratio']:.1f} % of the tokens"
    if name == "ToMe":
        return f"ToMe, r = {settings['tome_r']}"
    return name.replace("+random", f" + random {settings['keep_of_runs']:g}").replace("+length", " + length")


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


def _ratio(measured: Row, baseline: str, name: str) -> float | None:
    return measured[baseline] / measured[name] if baseline in measured and name in measured else None


def _job(runs: Sequence[Row], seconds_per_step: float | None) -> str | None:
    """Format how long the whole training takes, by the timing of a step, else as the runs took."""
    if seconds_per_step is not None:
        known = [seconds_per_step * run["steps"] for run in runs]
    else:
        known = [run["train_seconds"] for run in runs if run.get("train_seconds") is not None]
    if not known:
        return None
    whole = statistics.median(known)
    size, unit = (3600, "h") if whole >= 3600 else (60, "min") if whole >= 60 else (1, "s")
    return f"{whole / size:.1f} {unit}"


def _paper_cell(model: str, dataset: str, row: Row) -> str:
    return paper.fine_tuning_cell(row["variant"], model, dataset) if "variant" in row else ""


def notes(record: Row) -> str:
    """Write the notes: what ran, how it was timed, where the paper's numbers are from."""
    settings, timing = record["settings"], record.get("timing")
    seeds = len({run["seed"] for run in record["rows"]})
    steps = sorted({run["steps"] for run in record["rows"]})
    counted = " or ".join(f"{count:,}" for count in steps)
    text = f"{settings['data']}: {seeds} seed{'s' * (seeds != 1)}, {counted} steps" if steps else settings["data"]
    text += f"; threshold {settings['threshold']:g}."
    if timing:
        text += f" A step is timed in {timing['steps']} steps of the whole job, the variants in turn"
        text += '; "model step" is forward, backward and optimiser on a batch in memory' * bool(timing["model_seconds"])
        text += "."
        if "environment" in timing:
            machine = timing["environment"]["machine"]
            text += f" Timed {timing['environment']['date']} on {machine.get('gpu', machine['cpu'])}."
    elif record["rows"]:
        text += ' "Whole job" is what the runs took, not timed in turn: pass --time to measure.'
    text += f" Paper: {paper.PAPER}, Table 1; hours on 8 GPUs."
    disputed = any(run["variant"].startswith("RLT+random") for run in record["rows"])
    return f"{text}{' ' + paper.RLT_AND_RANDOM_NOTE if disputed else ''}\n"
