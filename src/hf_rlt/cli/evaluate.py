# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt evaluate`: accuracy of a model with several views per video."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .console import spinner
from .options import (
    AsJson,
    AttnImplementation,
    BatchSize,
    Bf16,
    Fps,
    FrameStride,
    MaxTokens,
    Model,
    NumClips,
    NumCrops,
    NumFrames,
    NumWorkers,
    OnBadVideo,
    Threshold,
    VideoDir,
    load_model,
)


def evaluate(
    data: Annotated[
        str, typer.Argument(help="Folder with a subfolder per class, annotation file (CSV, JSON), or Hub id.")
    ],
    model: Model,
    num_clips: NumClips = 1,
    num_crops: NumCrops = 1,
    threshold: Threshold = "model",
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    fps: Fps = None,
    token_keep_ratio: Annotated[
        float | None, typer.Option(help="Share of the computed tokens to keep, drawn at random (a baseline).")
    ] = None,
    video_dir: VideoDir = None,
    split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
    batch_size: BatchSize = 8,
    max_tokens: MaxTokens = None,
    num_workers: NumWorkers = None,
    on_bad_video: OnBadVideo = "raise",
    bf16: Bf16 = False,
    attn_implementation: AttnImplementation = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write evaluation.json and per_class.csv to this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure top-1, top-5 and mean-class accuracy on DATA, with several views per video.

    Several processes: accelerate launch --config_file FILE -m hf_rlt evaluate DATA --model MODEL
    """
    import torch

    from ..data.hub_datasets import load_videos
    from ..inference.pipeline import Options, launched_rank
    from ..jobs.worker_pool import start_server

    evaluation = _evaluation()
    options = Options(num_clips, num_crops, batch_size, max_tokens, num_workers)
    rank, device = launched_rank()
    network, processor = load_model(model, threshold, num_frames, frame_stride, fps, attn_implementation)
    network.to(device, torch.bfloat16 if bf16 else None)
    names = [network.config.id2label[index] for index in range(network.config.num_labels)]
    clips = load_videos(data, names, video_dir, split)
    start_server()
    with spinner(Console(stderr=True)) as progress:
        line = progress.add_task("starting")
        result = evaluation.evaluate_model(
            network,
            processor,
            clips,
            options,
            on_bad_video,
            token_keep_ratio,
            rank,
            lambda done, total: progress.update(line, description=f"{done:,} of {total:,} videos"),
        )
    if rank.rank == 0:
        if output is not None:
            evaluation.write_report(result, output)
        typer.echo(json.dumps(result, indent=2)) if as_json else _show(result, output)


def _evaluation() -> Any:
    try:
        from ..inference import evaluate as evaluation
    except ModuleNotFoundError as error:
        from ..errors import HfRltError

        raise HfRltError(f"Evaluation needs {error.name}: `pip install hf_rlt[train]`.") from error
    return evaluation


def _show(result: dict[str, Any], output: str | None) -> None:
    from ..errors import printable

    table = Table(show_header=False, box=None)
    table.add_row("Top-1 accuracy", f"{result['accuracy']:.2%}")
    if "top_5_accuracy" in result:
        table.add_row("Top-5 accuracy", f"{result['top_5_accuracy']:.2%}")
    table.add_row("Mean-class accuracy", f"{result['mean_class_accuracy']:.2%}")
    table.add_row("Tokens computed", f"{result['tokens_computed']:.1%}")
    table.add_row("Videos", f"{result['clips']}, {result['num_clips']} clips x {result['num_crops']} crops each")
    if result["unreadable"]:
        table.add_row("Skipped, unreadable", str(result["unreadable"]))
    table.add_row("Videos per second", f"{result['clips_per_second']:.2f}, from file to score")
    console = Console()
    console.print(table)
    weakest = sorted(result["per_class"], key=lambda row: row["accuracy"])[:5]
    lines = ["Weakest classes: " + ", ".join(f"{row['class']} {row['accuracy']:.0%}" for row in weakest)]
    if output is not None:
        lines.append(f"Written: {Path(output) / 'evaluation.json'} and per_class.csv")
    for text in lines:
        console.print(printable(text), markup=False)
