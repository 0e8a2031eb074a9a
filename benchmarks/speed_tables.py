# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tables and pictures of speed, from the record."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import geometric_mean

from .common.plots import Series, draw
from .common.record import Column, Row, column, table
from .common.speed import MIXED

WAYS = {"forward": "forward", "end_to_end": "file to logits", "training": "forward + backward"}


def _measured(what: str) -> list[Column]:
    seconds = column(f"{WAYS[what]}, s (quartiles)", what, "{0[seconds]:.3f} ({0[lower]:.3f} to {0[upper]:.3f})")
    rate = column(f"{WAYS[what]}, clips/s", what, "{0[clips_per_second]:.2f}")
    speedup = column("speed-up", what, "{0[speedup]:.2f} x")
    return [seconds, speedup] if what == "training" else [seconds, rate, speedup]


COLUMNS = (
    column("clip", "clip"),
    column("frames", "num_frames"),
    column("FPS", "fps", "{:g}"),
    column("batch", "batch"),
    column("method", "method"),
    column("tokens left", "tokens_left", "{:,.0f}"),
    column("mean over blocks", "tokens_by_block", "{:,.0f}"),
    column("GFLOPs per clip", "gflops", "{:.1f}"),
    *_measured("forward"),
    column("FLOP ratio", "flop_ratio", "{:.2f}"),
    Column("speed-up / FLOP ratio", lambda row: f"{row['forward']['speedup'] / row['flop_ratio']:.2f}"),
    *_measured("end_to_end"),
    *_measured("training"),
    Column("peak memory, MB", lambda row: f"{row['peak_bytes'] / 1e6:.0f}" if row.get("peak_bytes") else ""),
)


def fastest(rows: Sequence[Row], what: str) -> list[str]:
    """Find the fastest of RLT, ToMe and STA in each batch that has RLT and a rival."""
    batches: dict[tuple, dict[str, float]] = {}
    for row in rows:
        if row["method"] in ("RLT", "ToMe", "ToMe, proportional", "STA"):
            batches.setdefault((row["clip"], row["batch"]), {})[row["method"]] = row[what]["seconds"]
    return [min(seconds, key=seconds.__getitem__) for seconds in batches.values() if {"RLT"} < seconds.keys()]


def summary(rows: Sequence[Row]) -> str:
    """Make a table of geometric means over the clips of each batch size, mixed batches apart."""
    made = []
    for batch, mixed in product(dict.fromkeys(row["batch"] for row in rows), (False, True)):
        own = [row for row in rows if row["batch"] == batch and (row["clip"] == MIXED) == mixed]
        for method in dict.fromkeys(row["method"] for row in own):
            these = [row for row in own if row["method"] == method]
            ways = {
                f"{what}_mean": geometric_mean([row[what]["speedup"] for row in these])
                for what in WAYS
                if what in these[0]
            }
            ratios = [row["forward"]["speedup"] / row["flop_ratio"] for row in these]
            clips = f"{len(these)} clips, geometric mean" if len(these) > 1 else these[0]["clip"]
            made.append({"clips": clips, "batch": batch, "method": method, **ways, "lowest": min(ratios)})
    columns = [column(f"{title}, speed-up", f"{what}_mean", "{:.2f} x") for what, title in WAYS.items()]
    lowest = column("speed-up / FLOP ratio, lowest", "lowest", "{:.2f}")
    return table(made, [column("", "clips"), column("batch", "batch"), column("method", "method"), *columns, lowest])


MATCHED = {
    "left": "random masking, ToMe and STA are brought to RLT's number of tokens after the last block; before it the last "
    "two have more",
    "mean": "random masking, ToMe and STA are brought to RLT's number of tokens averaged over the blocks",
}


def verdicts(rows: Sequence[Row]) -> str:
    """Say, for each way of measuring, in how many batches RLT is the fastest; "" if it has no rival."""
    lines = []
    for what, title in WAYS.items():
        winners = fastest(rows, what) if all(what in row for row in rows) else []
        if winners:
            count = winners.count("RLT")
            lines.append(f"- {title}: RLT is faster than ToMe and STA in {count} of {len(winners)} batches.\n")
    return "".join(lines) + "\n" if lines else ""


def markdown(record: Row) -> str:
    """Make the tables."""
    rows, settings = record["rows"], record["settings"]
    model, frames = settings["model"], record["benchmark"] == "frames"
    text = (
        f"{model['num_hidden_layers']} blocks of width {model['hidden_size']}, {settings['dtype']}, "
        f"{settings['attention']}, {settings['device']}; {settings['weights']}. Medians of {settings['repeats']} forward "
        f"passes and {settings['end_to_end']} passes from the file, the methods in turn. Finding runs is part of "
        f'"{WAYS["end_to_end"]}", not of "{WAYS["forward"]}" (the processor does it); peak memory is what '
        "tensors take beyond weights and input.\n\n"
    )
    if frames:
        return f"{text}The same seconds of one clip in more and more frames.\n\n{table(rows, COLUMNS)}"
    text += "Batches are clips of one file, spread over it; mixed ones alternate still and lively files. In each batch "
    return f"{text}{MATCHED[settings['match']]}.\n\n{verdicts(rows)}{summary(rows)}\n{table(rows, COLUMNS)}"


def pictures(record: Row, folder: Path) -> list[Path]:
    """Draw measured speed-up against the ratio of operations."""
    rows = [row for row in record["rows"] if row["method"] != record["rows"][0]["method"]]
    if not rows:
        return []
    series = []
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        series.append(Series(name, [row["flop_ratio"] for row in own], [row["forward"]["speedup"] for row in own]))
    axes = ("ratio of analytic FLOPs", "measured speed-up of the forward pass")
    titles = ("Every point is a batch of real clips", *axes)
    path = folder / f"{record['benchmark']}.png"
    return [draw(path, series, titles, logarithmic=True)]
