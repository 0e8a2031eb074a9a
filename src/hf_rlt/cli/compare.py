# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt compare`: dense and RLT on somebody's own clips, without labels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import printable
from .console import VideoProgress, print_line
from .options import AsJson, Model, ModelOptions

if TYPE_CHECKING:
    from ..inference.compare import ClipComparison, Comparison

SHOWN = 10  # changed answers that are listed


def compare(
    videos: Annotated[list[str], typer.Argument(help="Videos, folders, lists of videos, or addresses.")],
    model: Model,
    settings: ModelOptions,
    batch_size: Annotated[int, typer.Option(help="Clips per batch.", min=1)] = 4,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for comparison.json and a picture of each change.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare dense and RLT on VIDEOS: tokens, speed, memory, and which answers change. No labels needed."""
    from ..inference.compare import compare as compare_videos
    from ..inference.predict import video_paths

    found = video_paths(videos)
    network, processor, _ = settings.load(model)
    with VideoProgress(Console(stderr=True)) as progress:
        progress.expect(len(found))
        result = compare_videos(found, network, processor, batch_size, lambda bad: progress.add(bad=bad))
    for video, error in result.errors.items():
        print_line(progress.console, f"{video}: {error}")
    if output is not None:
        _write(result, processor, output)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _show(result)
        if output is not None:
            typer.echo(f"Written: {output / 'comparison.json'} and {len(result.changed):,} pictures")
    if result.errors:
        raise typer.Exit(1)


def _write(result: "Comparison", processor: Any, folder: Path) -> None:
    """Write everything as JSON, and for each clip whose answer changes a picture of what is computed of it."""
    from ..data.text_files import path_of
    from ..drawing import draw_clip, write_drawing
    from ..jobs.atomic import write_text_atomic

    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomic(folder / "comparison.json", json.dumps(result.to_dict(), indent=2) + "\n")
    for number, clip in enumerate(result.changed, 1):
        name = f"{number:03}_{Path(path_of(clip.video)).stem}.png"
        drawn = draw_clip(path_of(clip.video), processor, (processor.run_rule.threshold,))
        write_drawing([drawn], folder / name)


def _show(result: "Comparison") -> None:
    figures, number = result.to_dict(), len(result.clips)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "dense", "RLT", ""):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    dense, rlt = (sum(getattr(clip, name) for clip in result.clips) / number for name in ("tokens", "tokens_computed"))
    table.add_row("tokens per clip", f"{dense:,.0f}", f"{rlt:,.0f}", f"{result.share:.0%}")
    flops = (f"{result.flops[method] / number / 1e9:,.1f} G" for method in ("dense", "rlt"))
    table.add_row("operations per clip", *flops, f"{figures['expected_speed_up']:.2f}x fewer")
    times = (f"{1000 * result.seconds[method] / number:,.0f} ms" for method in ("dense", "rlt"))
    table.add_row("forward pass per clip", *times, f"{figures['speed_up']:.2f}x faster")
    table.add_row("peak memory", *(f"{result.peak_bytes[method] / 1e6:,.0f} MB" for method in ("dense", "rlt")))
    console, agreed = Console(), number - len(result.changed)
    console.print(f"{number:,} clips; RLT: {result.rule}", markup=False, highlight=False)
    console.print(table)
    largest = max(result.clips, key=lambda clip: clip.change)
    lines = [f"Same answer: {agreed:,} of {number:,} clips ({result.agreement:.1%})"]
    lines.append(
        f"Largest change of a probability: {largest.change:.3f} ({largest.changed_class}, {Path(largest.video).name})"
    )
    lines += [f"  {_change(clip)}" for clip in result.changed[:SHOWN]]
    if len(result.changed) > SHOWN:
        lines.append(f"  and {len(result.changed) - SHOWN:,} more: see --output or --json")
    for line in lines:
        console.print(printable(line), markup=False, highlight=False)


def _change(clip: "ClipComparison") -> str:
    answers = f"{clip.dense} {clip.dense_score:.0%} -> {clip.rlt} {clip.rlt_score:.0%}"
    return f"{Path(clip.video).name}: {answers}, {clip.tokens_computed / clip.tokens:.0%} of the tokens"
