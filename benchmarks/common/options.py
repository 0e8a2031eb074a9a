# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Options that several benchmarks share, and the model, processor and files they stand for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from hf_rlt.cli.options import Dtype as Dtype
from hf_rlt.data.video_list import find_videos
from hf_rlt.errors import HfRltError, check_dtype
from hf_rlt.inference.loading import load
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor

from .methods import make_base

OUTPUT = Path("outputs/benchmark")
Clips = Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for NAME.json, NAME.md and pictures.")]
VideoDir = Annotated[Path | None, typer.Option(help="Folder with the videos of an annotation file.")]
OnBadVideo = Annotated[str, typer.Option(help='"raise", or "skip" and count.')]
NumWorkers = Annotated[int, typer.Option(help="Loading processes.", min=0)]
Repeats = Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)]
Threshold = Annotated[float, typer.Option(help="RLT threshold.", min=0)]
FrameStride = Annotated[int, typer.Option(help="Take every Nth frame.", min=1)]
BatchSizes = Annotated[list[int], typer.Option("--batch-size", help="Clips per batch. May be repeated.", min=1)]
Shape = Annotated[str, typer.Option(help="base, large or huge: random weights of this shape.")]
Checkpoint = Annotated[str | None, typer.Option("--model", "-m", help="Real weights instead of a shape.")]
Attention = Annotated[str, typer.Option("--attn-implementation", help="Attention backend: sdpa, eager, ...")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]


def place(model: Any, dtype: str, device: str) -> Any:
    """Move a model to a device and dtype, in evaluation mode."""
    check_dtype(dtype)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return model.to(where, getattr(torch, dtype)).eval()
    except (RuntimeError, AssertionError) as error:
        raise HfRltError(f"--device {device}: {error}") from error


def model_and_processor(
    shape: str, checkpoint: str | None, attention: str, dtype: str, device: str, sampling: Any = None, **config: Any
) -> tuple[Any, Any]:
    """Make the model whose weights all methods share, a checkpoint's or random ones, and a processor that fits it."""
    if checkpoint is not None:
        network, processor = load(checkpoint, attn_implementation=attention, sampling=sampling, **config)
        if (kind := network.config.model_type) != "rlt_videomae":
            raise HfRltError(f"{checkpoint}: expected a VideoMAE classifier, found {kind}.")
        return place(network, dtype, device), processor
    base = place(make_base(shape, attention, **config), dtype, device)
    fields = {name: getattr(base.config, name) for name in ("num_frames", "tubelet_size", "patch_size", "threshold")}
    return base, RLTVideoProcessor(**fields, **(sampling or {}))


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name paths by their last part, or by the whole path where two share it."""
    short = [path.resolve().name for path in paths]
    return [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def video_files(clips: list[Path]) -> list[Path]:
    """List the videos among files and folders."""
    found = [file for clip in clips for file in (find_videos(clip) if clip.is_dir() else [clip])]
    if not found:
        raise HfRltError(f"Expected videos in {', '.join(map(str, clips))}, found none.")
    return found
