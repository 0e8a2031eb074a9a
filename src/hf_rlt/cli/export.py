# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt export`: models for ONNX Runtime, OpenVINO and AOTInductor."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from .console import print_line, spinner
from .options import AsJson, FrameStride, NumFrames, RuleOptions, Threshold, sampling_settings


def export(
    model: Annotated[str, typer.Argument(help="Folder or Hub id of a classifier.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to write. Must be new or empty.")],
    format: Annotated[
        list[str] | None, typer.Option(help="onnx (default), openvino, torch or aotinductor. May be repeated.")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, or int8 for onnx and openvino.")] = "float32",
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            help="Videos or folders of videos on which openvino in int8 measures the ranges of activations, which are "
            "float32 otherwise. Some dozens of your own. May be repeated."
        ),
    ] = None,
    threshold: Threshold = "model",
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    as_json: AsJson = False,
    *,
    rule: RuleOptions,
) -> None:
    """Write a classifier for other runtimes, and compare it with PyTorch.

    The exported model takes the computed tubelets of each clip. rlt.json says how to make them from a video.
    """
    from ..export import export_model

    changes = {**rule.changes(threshold), "num_frames": num_frames, "sampling": sampling_settings(frame_stride, None)}
    with spinner(Console(stderr=True)) as line:
        line.add_task("Exporting", total=None)
        done = export_model(model, output, format or ["onnx"], precision, calibrate or (), **changes)
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
        return
    for name, file in done.files.items():
        print_line(Console(), f"{name}: {done.folder}/{file}, logits within {done.differences[name]:.1e} of PyTorch's")
    print_line(Console(), f"How to make its inputs: {done.folder}/rlt.json")
