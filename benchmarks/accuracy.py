# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of every method on one trained model: curves, thresholds, equal tokens, the paper's inference table."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.data import EvalDataset
from hf_rlt.data.hub_datasets import load_videos
from hf_rlt.hub.repo_config import read_config

from .common import options as opt
from .common import paper
from .common.accuracy import Setting, budget_settings, curve, equal_token_settings, evaluate, rlt_settings
from .common.methods import STANDARD
from .common.plots import Series, draw
from .common.record import Column, Row, column, percent, report, save, table
from .common.shares import mean_tokens, thresholds_for_shares

SHARES = [0.15, 0.2, 0.3]
THRESHOLDS = [0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2]


def _command(name: str, text: str) -> Callable[..., None]:
    """Make the command `name`."""

    def command(
        data: Annotated[str, typer.Argument(help="Folder with a subfolder per class, annotation file, or Hub id.")],
        model: Annotated[str, typer.Option("--model", "-m", help="Folder or Hub id of a trained classifier.")],
        num_clips: Annotated[int, typer.Option(help="Temporal clips per video.", min=1)] = 1,
        num_crops: Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)] = 1,
        threshold: opt.Threshold = 0.1,
        sweep: Annotated[list[float], typer.Option(help="Thresholds of `thresholds`. May be repeated.")] = THRESHOLDS,
        share: Annotated[
            list[float], typer.Option(help="Shares of the tokens, of `budgets`. May be repeated.")
        ] = SHARES,
        budget_groups: Annotated[int, typer.Option(help="Groups of tubelets that share a budget.", min=1)] = 1,
        video_dir: opt.VideoDir = None,
        split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
        batch_size: Annotated[int, typer.Option(help="Videos per batch.", min=1)] = 8,
        num_workers: opt.NumWorkers = 2,
        on_bad_video: opt.OnBadVideo = "raise",
        seed: Annotated[int, typer.Option(help="Seed of random masking.")] = 0,
        attention: opt.Attention = "sdpa",
        dtype: opt.Dtype = "float32",
        device: opt.Device = "auto",
        output: opt.Output = opt.OUTPUT,
    ) -> None:
        base, processor = opt.model_and_processor("", model, attention, dtype, device)
        dense = read_config(model)["model_type"] == "videomae" or base.config.threshold is None
        names = [base.config.id2label[index] for index in range(base.config.num_labels)]
        views = EvalDataset(load_videos(data, names, video_dir, split), processor, num_clips, num_crops, on_bad_video)
        options = {"batch_size": batch_size, "workers": num_workers}
        tokens = math.prod(base.config.grid)
        if name == "accuracy":
            chosen = curve(base.config, tokens, threshold)
        elif name == "thresholds":
            chosen = [Setting(STANDARD, "dense"), *rlt_settings(sweep), *rlt_settings(sweep, "RLT, proportional")]
        elif name == "budgets":
            chosen = budget_settings(base.config, tokens, thresholds_for_shares(views, share, **options), budget_groups)
        else:
            target = round(mean_tokens(views, threshold, **options))
            chosen = equal_token_settings(base.config, tokens, target, threshold)
        rows = evaluate(base, views, chosen, seed=seed, **options)
        fields = ("hidden_size", "num_hidden_layers", "num_frames", "image_size")
        settings = {"checkpoint": model, "data": data, "num_clips": num_clips, "num_crops": num_crops, "seed": seed}
        settings["trained"] = "trained dense, as VideoMAE" if dense else "trained with RLT"
        settings |= {"device": base.device.type, "dtype": dtype, "attention": attention, "batch_size": batch_size}
        settings |= {"threshold": threshold, "model": {key: getattr(base.config, key) for key in fields}}
        if name == "budgets":
            settings["budget_groups"] = budget_groups
        report(save(output, name, rows, settings))

    command.__name__, command.__doc__ = name, text
    return command


accuracy = _command("accuracy", "Accuracy of every method, nothing trained for it, over its tokens.")
thresholds = _command("thresholds", "RLT's accuracy and speed over thresholds.")
budgets = _command("budgets", "Accuracy of every method at equal tokens, nothing trained for it.")
inference = _command("inference", "The paper's inference table: every method at RLT's number of tokens.")


SHAPES = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}  # by width
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
        shape = SHAPES.get(settings["model"]["hidden_size"], "ViT-B")
        rows = [{**row, **_in_paper(shape, row["method"])} for row in rows]
        columns += [
            column(f"paper, {shape}, K400: top-1", "paper_accuracy", "{:.1f} %"),
            column("change", "paper_change", "{:+.1f}"),
        ]
        note = f"Paper: {paper.INFERENCE_SOURCE}; what no source confirms is left out. "
    if record["benchmark"] == "budgets":
        groups = settings["budget_groups"]
        spread = f", spread over {groups} groups of tubelets" if groups > 1 else ""
        note = (
            "RLT and anchor: the threshold that computes the share on average over these videos, found without labels; "
            f"num_tokens and by difference: so many tokens of each clip{spread}, by difference found in the forward pass. "
            "ToMe and STA reach the share after the last block only, STA in steps. Random tokens stand for themselves: "
            "proportional attention changes nothing. "
        )
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
    known = paper.INFERENCE.get((shape, "dense" if method == "standard" else method, "K400"), {})
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
