# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt predict`: scores and features of folders of videos."""

import json
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .console import INTERRUPTED, print_line, spinner
from .options import AsJson, BatchOptions, Model, ModelOptions, TopK

if TYPE_CHECKING:
    from ..inference import Predicted


def predict(
    videos: Annotated[
        list[str],
        typer.Argument(help="Videos, folders with videos anywhere below them, lists of videos (CSV, JSON, TXT)."),
    ],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for predictions.jsonl; rerun to resume.")],
    settings: ModelOptions,
    batches: BatchOptions,
    features: Annotated[
        str | None, typer.Option(help='"pooled": a vector for each video; "tokens": one for each token of the grid.')
    ] = None,
    top_k: TopK = 5,
    as_json: AsJson = False,
) -> None:
    """Predict scores or features of VIDEOS, in batches, and write them to a folder.

    Several processes: accelerate launch --config_file FILE -m hf_rlt predict VIDEOS --model MODEL --output FOLDER
    """
    from .. import inference
    from ..inference.results import LINES
    from ..jobs.worker_pool import start_server

    options = inference.Options(**vars(batches), top_k=top_k, features=features)
    console, count, interrupted = Console(stderr=True), Count(), False
    start_server()  # it imports while the model is loaded
    network, processor, share = settings.load(model, head=features is None)
    try:
        with closing(inference.predict(videos, network, processor, output, options, share)) as found:
            _watch(found, count, console)
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        kept = f"what was found is in {output}, and the same command goes on"
        print_line(console, f"Interrupted after {count.videos:,} videos; {kept}.")
        raise typer.Exit(INTERRUPTED)
    # A launcher takes any other exit code of a process for a crash, of which it prints a traceback.
    rule = processor.run_rule.describe() if processor.run_rule.drops else ""
    if share.rank == 0 and _report(output / LINES, count, console, rule, as_json) and share.ranks == 1:
        raise typer.Exit(1)


@dataclass
class Count:
    """How far this process is, and which folders it could not list."""

    videos: int = 0
    cached: int = 0
    bad: int = 0
    folders: list[dict[str, Any]] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)


def _watch(found: Iterable["Predicted"], count: Count, console: Console) -> None:
    with spinner(console) as progress:
        task = progress.add_task("starting")
        for video in found:
            count.videos += 1
            count.cached += video.cached
            count.bad += "error" in video.record
            if "size" not in video.record:
                count.folders.append(video.record)
            known = f" ({count.cached:,} known)" if count.cached else ""
            speed = (count.videos - count.cached) / max(time.monotonic() - count.start, 1e-9)
            said = f"{count.videos:,} videos{known}, {count.bad:,} cannot be read, {speed:.1f} a second"
            progress.update(task, description=said)


def _report(lines: Path, count: Count, console: Console, rule: str, as_json: bool) -> int:
    """Name the videos and folders that could not be read, summarise the file, and return how many there are."""
    videos, bad, done, tokens = 0, len(count.folders), 0, 0
    with open(lines, encoding="utf-8") as file:
        for line in file:
            if as_json:
                typer.echo(line, nl=False)
            record = json.loads(line)
            videos += 1
            if "error" in record:
                print_line(console, f"{record['video']}: {record['error']}")
                bad += 1
            else:
                done, tokens = done + record["tokens_computed"], tokens + record["tokens"]
    for record in count.folders:
        print_line(console, f"{record['video']}: {record['error']}")
    if bad:
        print_line(console, f"{bad:,} of {videos + len(count.folders):,} videos could not be read (see above).")
    if not as_json:
        seconds, known = time.monotonic() - count.start, f", {count.cached:,} known before" if count.cached else ""
        share = f", {done / tokens:.1%} of the tokens computed{rule and f' ({rule})'}" if tokens else ""
        typer.echo(f"{videos:,} videos in {seconds:.1f} s{known}{share}: {lines}")
    return bad
