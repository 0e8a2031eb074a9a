# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt evaluate`: accuracy of a model with several views per video."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import HfRltError, printable
from ..jobs.worker_pool import start_server
from .console import VideoProgress
from .options import AsJson, BatchOptions, Model, ModelOptions, OnBadVideo, VideoDir


def evaluate(
    data: Annotated[
        str, typer.Argument(help="Folder with a subfolder per class, annotation file (CSV, JSON), or Hub id.")
    ],
    model: Model,
    settings: ModelOptions,
    batches: BatchOptions,
    token_keep_ratio: Annotated[
        float | None, typer.Option(help="Share of the computed tokens to keep, drawn at random (a baseline).")
    ] = None,
    video_dir: VideoDir = None,
    split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
    on_bad_video: OnBadVideo = "raise",
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write evaluation.json and per_class.csv to this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure top-1, top-5 and mean-class accuracy on DATA, with several views per video.

    Several processes: accelerate launch --config_file FILE -m hf_rlt evaluate DATA --model MODEL
    """
    if batches.num_workers != 0:
        start_server()  # it imports while this process does
    try:
        from ..inference.evaluate import evaluate_model, write_report
    except ModuleNotFoundError as error:
        raise HfRltError(f"Evaluation needs {error.name}: `pip install hf_rlt[train]`.") from error
    from ..data.hub_datasets import load_videos
    from ..inference import Options

    options = Options(**vars(batches), token_keep_ratio=token_keep_ratio)
    network, processor, rank = settings.load(model)
    names = [network.config.id2label[index] for index in range(network.config.num_labels)]
    clips = load_videos(data, names, video_dir, split)
    with VideoProgress(Console(stderr=True)) as progress:
        result = evaluate_model(network, processor, clips, options, on_bad_video, rank, progress.reach)
    if rank.rank == 0:
        if output is not None:
            write_report(result, output)
        typer.echo(json.dumps(result, indent=2)) if as_json else _show(result, network.config, output)


def _show(result: dict[str, Any], config: Any, output: str | None) -> None:
    from ..models.rlt_config import RLTConfigMixin
    from ..models.run_rule import rule_of

    rule = rule_of(config)
    names = [config.method] if rule.drops or config.method != RLTConfigMixin.method else []
    rows = {
        "Top-1 accuracy": f"{result['accuracy']:.2%}",
        "Top-5 accuracy": f"{result['top_5_accuracy']:.2%}" if "top_5_accuracy" in result else None,
        "Mean-class accuracy": f"{result['mean_class_accuracy']:.2%}",
        "Tokens computed": f"{result['tokens_computed']:.1%}",
        "Method": ", ".join([*names, rule.describe()]),
        "Videos": f"{result['clips']}, each in {result['num_clips']} x {result['num_crops']} views",
        "Skipped, unreadable": str(result["unreadable"] or ""),
        "Videos per second": f"{result['clips_per_second']:.2f}, from file to score",
    }
    table = Table(show_header=False, box=None)
    for name, text in rows.items():
        if text:
            table.add_row(name, text)
    console = Console()
    console.print(table)
    weakest = sorted(result["per_class"], key=lambda row: row["accuracy"])[:5]
    lines = ["Weakest classes: " + ", ".join(f"{row['class']} {row['accuracy']:.0%}" for row in weakest)]
    if output is not None:
        lines.append(f"Written: {Path(output) / 'evaluation.json'} and per_class.csv")
    for text in lines:
        console.print(printable(text), markup=False)
