# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt benchmark`: what RLT gains with your model on your clips."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import check_dtype
from .console import VideoProgress
from .options import (
    AsJson,
    AttnImplementation,
    Dtype,
    Fps,
    FrameStride,
    Model,
    NumFrames,
    RuleOptions,
    Threshold,
    sampling_settings,
)

BATCH_SIZES = [1, 8]
METHODS = ("dense", "RLT")


def benchmark(
    clips: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")],
    model: Model,
    batch_size: Annotated[list[int], typer.Option(help="Clips per batch. May be repeated.", min=1)] = BATCH_SIZES,
    threshold: Threshold = "model",
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    fps: Fps = None,
    repeats: Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)] = 5,
    dtype: Dtype = "float32",
    attn_implementation: AttnImplementation = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the result as JSON.")] = None,
    as_json: AsJson = False,
    *,
    rule: RuleOptions,
) -> None:
    """Time dense and RLT on your clips at several batch sizes: forward pass, file to logits, memory.

    Dense and RLT take turns on the same weights and clips. Run it on an idle machine.
    """
    check_dtype(dtype)
    import torch

    from ..inference.loading import load
    from ..inference.pipeline import launched_rank
    from ..inference.predict import video_paths
    from ..jobs.atomic import write_text_atomic
    from ..models.run_rule import rule_settings

    videos = video_paths(clips)
    device = launched_rank()[1]
    network, processor = load(
        model,
        num_frames=num_frames,
        sampling=sampling_settings(frame_stride, fps),
        attn_implementation=attn_implementation,
        head=False,
        **rule.changes(threshold),
    )
    network.to(device, getattr(torch, dtype)).eval()
    progress = VideoProgress(Console(stderr=True), 2 * len(batch_size), "measurements")
    with progress:
        measure = partial(_measure, network, processor, videos, repeats=repeats, on_series=progress.add)
        rows = [row for size in batch_size for row in measure(size)]
    result = {"model": model, "device": str(device), "dtype": dtype, "rows": rows, **rule_settings(processor)}
    text = json.dumps(result, indent=2)
    if output is not None:
        write_text_atomic(output, text + "\n")
    typer.echo(text) if as_json else _show(rows, processor.run_rule.describe(), repeats)


def _measure(
    network: Any, processor: Any, videos: list[str], size: int, *, repeats: int, on_series: Callable[[], None]
) -> list[dict[str, Any]]:
    """Measure dense and RLT on one batch of `size` clips, one of each video in turn: two series of measurements."""
    import torch

    from ..inference.measure import analytic_flops, interleaved_seconds, peak_bytes

    chosen = [videos[i % len(videos)] for i in range(size)]
    inputs = processor(chosen, return_tensors="pt").to(network.device, network.dtype)
    lengths = {"dense": torch.ones_like(inputs["run_lengths"]), "RLT": inputs["run_lengths"]}

    @torch.inference_mode()
    def forward(method: str) -> None:
        network(inputs["pixel_values"], run_lengths=lengths[method])

    @torch.inference_mode()
    def from_file(method: str) -> None:
        dense = {"threshold": None} if method == "dense" else {}
        network(**processor(chosen, **dense, return_tensors="pt").to(network.device, network.dtype))

    flops = partial(analytic_flops, network.config, head=network.base_model is not network)
    seconds = interleaved_seconds({method: partial(forward, method) for method in METHODS}, repeats)
    on_series()
    whole = interleaved_seconds({method: partial(from_file, method) for method in METHODS}, repeats)
    on_series()
    return [
        {
            "batch_size": size,
            "method": method,
            "tokens": int((lengths[method] > 0).sum()),
            "gflops": sum(flops(n) for n in (lengths[method] > 0).sum(1).tolist()) / 1e9,
            "forward_seconds": seconds[method],
            "file_to_logits_seconds": whole[method],
            "peak_bytes": peak_bytes(partial(forward, method), network.device),
        }
        for method in METHODS
    ]


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def _show(rows: list[dict[str, Any]], rule: str, repeats: int) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("clips", "method", "tokens", "GFLOPs", "forward", "", "from file", "", "memory"):
        table.add_column(title, justify="left" if title == "method" else "right", no_wrap=True)
    for dense, row in zip([rows[i - i % 2] for i in range(len(rows))], rows, strict=True):
        forward, whole = row["forward_seconds"], row["file_to_logits_seconds"]
        table.add_row(
            str(row["batch_size"]),
            row["method"],
            f"{row['tokens']:,} {row['tokens'] / dense['tokens']:.0%}",
            f"{row['gflops']:,.1f}" if row["gflops"] < 100 else f"{row['gflops']:,.0f}",
            _seconds(forward),
            f"{dense['forward_seconds'] / forward:.2f}x",
            _seconds(whole),
            f"{dense['file_to_logits_seconds'] / whole:.2f}x",
            f"{row['peak_bytes'] / 1e6:,.0f} MB" if row["peak_bytes"] < 1e9 else f"{row['peak_bytes'] / 1e9:,.1f} GB",
        )
    console = Console()
    console.print(table)
    console.print(f"RLT: {rule}. Medians of {repeats}, in turn. From file: with decoding.", highlight=False)
