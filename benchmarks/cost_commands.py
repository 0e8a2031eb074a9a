# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The commands of `hf-rlt benchmark` that measure what RLT itself costs: processing and packed batches."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.cli.console import user_errors

from .commands import OUTPUT_DIR, OutputDir, say, show
from .model_commands import (
    Attention,
    Checkpoint,
    Clips,
    Device,
    Dtype,
    Shape,
    base_model,
    fitting_processor,
    integers,
    video_files,
)
from .record import save

app = typer.Typer()
SHARES = [1.0, 0.6, 0.3, 0.15]


@app.command()
@user_errors()
def processing(
    files: Annotated[list[Path], typer.Argument(help="Videos.")],
    clips: Annotated[int, typer.Option(help="Clips of each, in one batch.", min=1)] = 8,
    num_frames: Annotated[int, typer.Option(help="Frames in a clip.", min=2)] = 16,
    rounds: Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)] = 15,
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """Time from decoded frames to pixels and runs, beside torchvision alone and transformers' processor."""
    from .processing import measure

    settings, rows = measure(files, clips, num_frames, rounds, say)
    show(save(output_dir, "processing", rows, settings))


@app.command()
@user_errors()
def ratios(
    clips: Clips,
    shape: Shape = "base",
    checkpoint: Checkpoint = None,
    batch_sizes: Annotated[str, typer.Option(help="With commas between.")] = "1,2,8",
    share: Annotated[list[float], typer.Option(help="Of the tokens, kept; may be given several times.")] = SHARES,
    repeats: Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)] = 5,
    training: Annotated[bool, typer.Option("--training", help="Forward, loss and backward instead.")] = False,
    attn: Attention = "sdpa",
    dtype: Dtype = "float32",
    device: Device = "auto",
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """How much of the operations RLT saves it saves in time, beside VideoMAE's dense batch. Nothing else may run."""
    from .ratios import measure

    batches, files = integers("--batch-sizes", batch_sizes), video_files(clips)
    base = base_model(shape, checkpoint, None, attn, dtype, device)
    asked = {"shape": checkpoint or f"ViT-{shape}", "dtype": dtype, "device": base.device.type, "attention": attn}
    settings = {**asked, "repeats": repeats, "training": training, "files": [file.name for file in files]}
    keep = partial(save, output_dir, "ratios", settings=settings)
    processor = fitting_processor(base, checkpoint)
    keep(measure(base, processor, files, batches, share, repeats, training, say, keep))
    show(output_dir / "ratios.json")
