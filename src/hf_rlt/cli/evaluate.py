# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt evaluate`: accuracy of a model with several views per video."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import TrainingArguments

from ..errors import printable
from ..inference.loading import load, open_clips
from .options import AttnImplementation, parse_threshold, sampling_settings


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or Hub id of an RLT-VideoMAE or VideoMAE classifier.")],
    data: Annotated[
        str, typer.Argument(help="Folder with a subfolder per class, annotation file (CSV, JSON), or Hub id.")
    ],
    num_clips: Annotated[int, typer.Option(help="Temporal clips per video.", min=1)] = 1,
    num_crops: Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)] = 1,
    threshold: Annotated[str, typer.Option(help="A number, none (dense), or model: the model's own.")] = "model",
    num_frames: Annotated[
        int | None, typer.Option(help="Frames per clip; positions are interpolated. Default: the model's own.", min=1)
    ] = None,
    frame_stride: Annotated[
        int | None, typer.Option(help="Distance of a clip's frames. Default: the processor's own.", min=1)
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a clip, instead of a stride.")] = None,
    token_keep_ratio: Annotated[
        float | None, typer.Option(help="Share of the computed tokens to keep, drawn at random (a baseline).")
    ] = None,
    video_dir: Annotated[str | None, typer.Option(help="Where an annotation file's videos are.")] = None,
    split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
    batch_size: Annotated[int, typer.Option(help="Videos per batch and process, at most.", min=1)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per batch and process, at most.", min=1)] = None,
    workers: Annotated[int, typer.Option(help="Loading processes per process.", min=0)] = 2,
    on_bad_video: Annotated[str, typer.Option(help="raise, or skip and count.")] = "raise",
    bf16: Annotated[bool, typer.Option(help="bfloat16 mixed precision.")] = False,
    attn_implementation: AttnImplementation = None,
    output_dir: Annotated[str | None, typer.Option(help="Write evaluation.json and per_class.csv here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Top-1, top-5 and mean-class accuracy of MODEL on DATA, with several views per video.

    Several processes: accelerate launch --config_file FILE -m hf_rlt evaluate MODEL DATA
    """
    evaluation = _evaluation()
    network, processor = load(
        model,
        threshold=parse_threshold(threshold),
        num_frames=num_frames,
        sampling=sampling_settings(frame_stride, fps),
        attn_implementation=attn_implementation,
    )
    names = [network.config.id2label[index] for index in range(network.config.num_labels)]
    clips = open_clips(data, names, video_dir, split)
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(
            output_dir=scratch,
            per_device_eval_batch_size=batch_size,
            dataloader_num_workers=workers,
            bf16_full_eval=bf16,
            use_cpu=not torch.accelerator.is_available(),
            report_to=[],
            disable_tqdm=as_json,
        )
        result = evaluation.evaluate_model(
            network, processor, clips, num_clips, num_crops, on_bad_video, token_keep_ratio, args, max_tokens
        )
        first = args.process_index == 0
    if first and output_dir is not None:
        evaluation.write_report(result, output_dir)
    if first:
        print(json.dumps(result, indent=2)) if as_json else _show(result, output_dir)


def _evaluation() -> Any:
    try:
        from ..inference import evaluate as evaluation
    except ImportError as error:
        raise ImportError(f"Evaluation needs {error.name}: `pip install hf_rlt[train]`.") from error
    return evaluation


def _show(result: dict[str, Any], output_dir: str | None) -> None:
    table = Table(show_header=False, box=None)
    views = f"{result['num_clips']} clips x {result['num_crops']} crops"
    table.add_row("Top-1 accuracy", f"{result['accuracy']:.2%}")
    if "top_5_accuracy" in result:
        table.add_row("Top-5 accuracy", f"{result['top_5_accuracy']:.2%}")
    table.add_row("Mean-class accuracy", f"{result['mean_class_accuracy']:.2%}")
    table.add_row("Tokens computed", f"{result['tokens_computed']:.1%}")
    table.add_row("Videos", f"{result['clips']}, {views} each")
    if result["unreadable"]:
        table.add_row("Skipped, unreadable", str(result["unreadable"]))
    table.add_row("Videos per second", f"{result['clips_per_second']:.2f}, from file to score")
    console = Console()
    console.print(table)
    weakest = sorted(result["per_class"], key=lambda row: row["accuracy"])[:5]
    lines = ["Weakest classes: " + ", ".join(f"{row['class']} {row['accuracy']:.0%}" for row in weakest)]
    if output_dir is not None:
        lines.append(f"Written: {Path(output_dir) / 'evaluation.json'} and per_class.csv")
    for line in lines:
        console.print(printable(line), markup=False)
