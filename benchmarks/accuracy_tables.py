# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tables and pictures of accuracy without training: the curve, the sweep over thresholds, the paper's inference table."""

from pathlib import Path

from .common import paper
from .common.plots import Series, draw
from .common.record import Column, Row, column, percent, table

OTHER = "ViT-B"  # what stands beside a model of another width
SHAPES = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}

TOP_1 = ("accuracy", "accuracy_error")
OURS = [
    column("method", "method"),
    column("setting", "level"),
    Column("top-1 (standard error)", lambda row: "{:.1f} % (± {:.1f})".format(*(100 * row[key] for key in TOP_1))),
    percent("top-5", "top_5_accuracy"),
    column("tokens left", "tokens_left", "{:,.0f}"),
    percent("share", "share"),
    column("mean over blocks", "tokens_by_block", "{:,.0f}"),
    column("GFLOPs", "gflops", "{:.2f}"),
    column("clips/s, forward", "views_per_second", "{:.1f}"),
    column("speed-up", "speedup", "{:.2f} x"),
]


def markdown(record: Row) -> str:
    """Make the table; the inference table has the paper's numbers in columns of their own."""
    settings, rows, columns, note = record["settings"], record["rows"], list(OURS), ""
    if record["benchmark"] == "inference":
        shape = SHAPES.get(settings["model"]["hidden_size"], OTHER)
        rows = [{**row, **_in_paper(shape, row["method"])} for row in rows]
        columns += [
            column(f"paper, {shape}, K400: top-1", "paper_accuracy", "{:.1f} %"),
            column("change", "paper_change", "{:+.1f}"),
        ]
        note = f"Paper: {paper.INFERENCE_SOURCE}; what no source confirms is left out. "
    model = settings["model"]
    return (
        f"{table(rows, columns)}\n{rows[0]['videos']} videos of {settings['data']}, {settings['num_clips']} x "
        f"{settings['num_crops']} views; model {settings['checkpoint']} ({model['num_hidden_layers']} blocks of width "
        f"{model['hidden_size']}, {settings['dtype']}, {settings['attention']}, {settings['device']}), "
        f"{settings['trained']}. "
        f"Speed is of the forward pass, runs found before it; the settings take turns on each batch of "
        f"{settings['batch_size']} videos. {note}\n"
    )


def _in_paper(shape: str, method: str) -> dict[str, float]:
    known = paper.INFERENCE.get((shape, "dense" if method == "standard" else method), {})
    return {f"paper_{key}": value for key, value in known.items()}


def pictures(record: Row, folder: Path) -> list[Path]:
    """Draw accuracy over tokens left, and over measured speed-up."""
    name, rows = record["benchmark"], record["rows"]
    if name == "inference":
        return []
    over = {
        "tokens": ("share", 100.0, "tokens left, %"),
        "speed": ("speedup", 1.0, "measured speed-up of the forward pass"),
    }
    paths = []
    for what, (key, scale, title) in over.items():
        series = []
        for method in dict.fromkeys(row["method"] for row in rows):
            own = sorted((row for row in rows if row["method"] == method), key=lambda row: row[key])
            labelled = name == "thresholds" and method != "standard"
            labels = [row["level"].removeprefix("threshold ") for row in own] if labelled else []
            x, y = [row[key] * scale for row in own], [100 * row["accuracy"] for row in own]
            series.append(Series(method, x, y, labels))
        titles = (f"One model, {record['settings']['trained']}", title, "top-1, %")
        paths.append(draw(folder / f"{name}_{what}.png", series, titles, horizontal=100 * rows[0]["accuracy"]))
    return paths
