# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tables and pictures of the comparison at equal tokens, from its record alone."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .plots import Series, draw
from .record import Row, column, middle, percent, spread, table
from .token_runs import DENSE, METHODS, run_name

# As tables and pictures call the methods.
TITLES = {"by_difference": "by difference", "optimal": "optimal, p = 4"}
MASKED = "random, masked at evaluation too"


def markdown(record: Row) -> str:
    """Make the tables of the parts that were run."""
    parts = {
        "Trained with each method, top-1: mean (lowest to highest)": trained(record),
        "The same by groups of classes": by_group(record),
        "One checkpoint for all budgets, beside one trained at each": budgets(record),
        "More frames of the same seconds, for the same tokens": frames(record),
        f"Trained with (rows), evaluated with (columns), {_share(record['settings']['share'])} of the tokens": matrix(
            record
        ),
    }
    text = "\n".join(f"**{title}**\n\n{content}" for title, content in parts.items() if content)
    return f"{text}\n{notes(record)}"


def _share(share: float) -> str:
    return f"{100 * share:g} %"


def _title(method: str) -> str:
    return TITLES.get(method, method)


def _runs(record: Row, part: str, **wanted: Any) -> list[Row]:
    """List the runs of a part that have these values."""
    own = [row for row in record["rows"] if row["part"] == part]
    return [row for row in own if all(row.get(key) == value for key, value in wanted.items())]


def _mean(runs: Sequence[Row], key: str) -> Any:  # a float, or None without any
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.mean(values) if values else None


def trained(record: Row) -> str:
    """Make the table of accuracy by method and share."""
    shares, rows = [*record["settings"]["shares"], 1.0], []
    for method in (DENSE, *METHODS):
        for title, key in ((_title(method), "accuracy"), (MASKED, "accuracy_masked")):
            cells = {share: spread(_runs(record, "trained", method=method, share=share), key) for share in shares}
            if any(cells.values()):
                rows.append({"title": title, **cells})
    columns = [column(_share(share) if share < 1 else "all tokens", share) for share in shares]
    return table(rows, [column("method", "title"), *columns]) if rows else ""


def by_group(record: Row) -> str:
    """Make the table of every run's tokens, accuracy by groups of classes, and time."""
    settings, rows = record["settings"], []
    seconds = (record.get("timing") or {}).get("seconds_per_step", {})
    for method in (DENSE, *METHODS):
        for share in [*settings["shares"], 1.0]:
            runs = _runs(record, "trained", method=method, share=share)
            if not runs:
                continue
            row = {"title": _title(method), "wanted": _share(share), "tokens": _mean(runs, "tokens_at_evaluation")}
            row |= {"accuracy": _mean(runs, "accuracy"), "step": middle(seconds.get(run_name(method, share)))}
            row |= {group: _mean(runs, f"{group}_accuracy") for group in settings["groups"]}
            rows.append(row | {"minutes": _minutes(runs)})
    groups = [percent(group, group) for group in settings["groups"]]
    columns = [column("method", "title"), column("tokens wanted", "wanted"), percent("at evaluation", "tokens")]
    columns += [percent("top-1", "accuracy"), *groups, column("s/step, median (quartiles)", "step")]
    return table(rows, [*columns, column("training, min", "minutes", "{:.1f}")]) if rows else ""


def _minutes(runs: Sequence[Row]) -> float | None:
    seconds = [run["train_seconds"] for run in runs if run.get("train_seconds") is not None]
    return statistics.median(seconds) / 60 if seconds else None


def budgets(record: Row) -> str:
    """Make the table of one checkpoint at many budgets, beside one trained at each."""
    rows, changes = [], list[float]()
    for used in dict.fromkeys(row["used"] for row in record["rows"] if row["part"] == "budgets" and "used" in row):
        one, own = (
            {run["seed"]: run for run in _runs(record, "budgets", **{key: used})} for key in ("used", "variant")
        )
        both = [100 * (one[seed]["accuracy"] - own[seed]["accuracy"]) for seed in one if seed in own]
        change = statistics.mean(both) if both else None
        changes += [change] if change is not None else []
        row = {"budget": _share(float(used.rpartition("-")[2])), "tokens": _mean([*one.values()], "tokens")}
        row |= {"one": spread([*one.values()], "accuracy"), "own": spread([*own.values()], "accuracy")}
        rows.append(row | {"change": change})
    if changes:
        rows.append({"budget": "mean", "change": statistics.mean(changes)})
    columns = [column("budget", "budget"), percent("tokens computed", "tokens"), column("one for all", "one")]
    columns += [column("trained at it", "own"), column("difference, points", "change", "{:+.1f}")]
    return table(rows, columns) if rows else ""


def frames(record: Row) -> str:
    """Make the table of accuracy and time by number of frames."""
    seconds, rows = (record.get("timing") or {}).get("seconds_per_step", {}), []
    for name in dict.fromkeys(row["variant"] for row in record["rows"] if row["part"] == "frames"):
        runs = _runs(record, "frames", variant=name)
        row = {"frames": runs[0]["num_frames"], "tokens": _mean(runs, "tokens_at_evaluation")}
        row |= {"accuracy": spread(runs, "accuracy"), "step": middle(seconds.get(name)), "minutes": _minutes(runs)}
        row["number"] = round(
            row["tokens"] * record["settings"]["tokens"] * row["frames"] / record["settings"]["num_frames"]
        )
        rows.append(row | {group: _mean(runs, f"{group}_accuracy") for group in record["settings"]["groups"]})
    columns = [column("frames", "frames"), column("tokens", "number"), percent("of all", "tokens")]
    columns += [column("top-1", "accuracy"), *(percent(group, group) for group in record["settings"]["groups"])]
    columns += [column("s/step, median (quartiles)", "step"), column("training, min", "minutes", "{:.1f}")]
    return table(rows, columns) if rows else ""


def matrix(record: Row) -> str:
    """Make the table of rules trained with and used."""
    share, rows = record["settings"]["share"], []
    names = [run_name(method, share) for method in (DENSE, *METHODS)]
    for trained_with in names:
        cells = {used: spread(_runs(record, "matrix", variant=trained_with, used=used), "accuracy") for used in names}
        if any(cells.values()):
            rows.append({"title": _title(trained_with.rpartition("-")[0] or DENSE), **cells})
    tokens = {used: _mean(_runs(record, "matrix", used=used), "tokens") for used in names}
    if rows:
        rows.append(
            {"title": "tokens computed", **{used: f"{100 * mean:.1f} %" for used, mean in tokens.items() if mean}}
        )
    columns = [column(_title(name.rpartition("-")[0] or DENSE), name) for name in names]
    return table(rows, [column("trained with", "title"), *columns]) if rows else ""


def notes(record: Row) -> str:
    """Write what ran, and what did not."""
    settings, timing = record["settings"], record.get("timing")
    steps = sorted({row["steps"] for row in record["rows"] if "steps" in row})
    seeds = len({row["seed"] for row in record["rows"]})
    text = (
        f"{settings['data']}: {seeds} seed{'s' * (seeds != 1)}, {' or '.join(f'{count:,}' for count in steps)} steps. "
    )
    text += "Thresholds give the share on average over the training clips, in the last table over the held-out ones."
    if timing:
        text += f" A step is timed in {timing['steps']} steps of whole trainings on decoded frames, the methods in turn"
        text += f" ({timing['environment']['date']})." if "environment" in timing else "."
    else:
        text += " Minutes are what the runs took, not timed in turn: pass --time to measure."
    if missing := settings["missing"]:
        text += f"\n\nNot run: {', '.join(missing)}."
    return f"{text}\n"


def pictures(record: Row, folder: Path) -> list[Path]:
    """Draw accuracy over the tokens of each method: of all classes, and of each group of classes."""
    name, dense, paths = record["benchmark"], _runs(record, "trained", method=DENSE), []
    for group in ["", *record["settings"]["groups"]]:
        key = f"{group}_accuracy" if group else "accuracy"
        series = [found for method in METHODS if (found := _series(record, method, key)).x]
        titles = (f"Trained with each method: {group or 'all classes'}", "tokens computed, %", "top-1, %")
        path, level = folder / f"{name}{'_' * bool(group)}{group}.png", 100 * _mean(dense, key) if dense else None
        paths += [draw(path, series, titles, horizontal=level)] if series else []
    return paths


def _series(record: Row, method: str, key: str) -> Series:
    x, y = [], []
    for share in record["settings"]["shares"]:
        if runs := _runs(record, "trained", method=method, share=share):
            # Random masking is off at evaluation: its curve is over the tokens of the training.
            x.append(100 * (share if method == "random" else _mean(runs, "tokens_at_evaluation")))
            y.append(100 * _mean(runs, key))
    return Series(_title(method), x, y)
