# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt predict`: scores and features of folders of videos."""

import json
import os
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from .. import inference
from ..inference import Options, Predicted, Rank
from ..inference.loading import load
from ..inference.results import LINES
from ..jobs.worker_pool import start_server
from .console import INTERRUPTED, print_line, spinner
from .options import AttnImplementation, FrameStride, parse_threshold, sampling_settings


def predict(
    videos: Annotated[
        list[str],
        typer.Argument(help="Videos, folders with videos anywhere below them, lists of videos (CSV, JSON, TXT)."),
    ],
    model: Annotated[
        str, typer.Option(help="Folder or Hub id: RLT-VideoMAE, VideoMAE or a baseline; for features also an encoder.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for predictions.jsonl. Run again, the same command goes on.")],
    features: Annotated[
        str | None, typer.Option(help="pooled: a vector for each video; tokens: one for each token of the grid.")
    ] = None,
    num_clips: Annotated[int, typer.Option(help="Temporal clips per video.", min=1)] = 1,
    num_crops: Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)] = 1,
    top_k: Annotated[int, typer.Option(help="Classes of each video.", min=1)] = 5,
    batch_size: Annotated[int, typer.Option(help="Clips computed together, at most.", min=1)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens computed together, at most.", min=1)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Decoding processes per process. Default: all cores, shared out.", min=1)
    ] = None,
    threshold: Annotated[str, typer.Option(help="A number, none (dense), or model: the model's own.")] = "model",
    num_frames: Annotated[
        int | None, typer.Option(help="Frames per clip; positions are interpolated. Default: the model's own.", min=1)
    ] = None,
    frame_stride: FrameStride = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a clip, instead of a stride.")] = None,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = False,
    attn_implementation: AttnImplementation = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines of predictions.jsonl at the end.")] = False,
) -> None:
    """Scores and features of VIDEOS: decoded and computed at the same time, in batches, into a folder.

    Several processes: accelerate launch --config_file FILE -m hf_rlt predict VIDEOS --model MODEL --output FOLDER
    """
    options = Options(num_clips, num_crops, batch_size, max_tokens, workers, top_k, features)
    console, count, interrupted = Console(stderr=True), Count(), False
    start_server()  # it gets ready while the model is opened
    share, device = _share()
    network, processor = load(
        model,
        threshold=parse_threshold(threshold),
        num_frames=num_frames,
        sampling=sampling_settings(frame_stride, fps),
        attn_implementation=attn_implementation,
        head=features is None,
    )
    network.to(device, torch.bfloat16 if bf16 else None)  # type: ignore[arg-type]
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
    if share.rank == 0 and _report(output / LINES, count, console, as_json) and share.ranks == 1:
        raise typer.Exit(1)


@dataclass
class Count:
    """How far this process is, and which folders it could not list."""

    videos: int = 0
    known: int = 0
    bad: int = 0
    folders: list[dict[str, Any]] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)


def _share() -> tuple[Rank, torch.device]:
    """Returns which of the launched processes this is, and its device."""
    gpu = torch.accelerator.is_available()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        accelerator = torch.accelerator.current_accelerator() if gpu else None
        return Rank(), accelerator or torch.device("cpu")
    from accelerate import PartialState

    # One that is done early waits for the others, however long they take.
    state = PartialState(cpu=not gpu, timeout=timedelta(days=30))
    return Rank(state.process_index, state.num_processes, state.wait_for_everyone), state.device


def _watch(found: Iterable[Predicted], count: Count, console: Console) -> None:
    with spinner(console) as progress:
        task = progress.add_task("starting")
        for video in found:
            count.videos += 1
            count.known += video.known
            count.bad += "error" in video.record
            if "size" not in video.record:
                count.folders.append(video.record)
            known = f" ({count.known:,} known)" if count.known else ""
            speed = (count.videos - count.known) / max(time.monotonic() - count.start, 1e-9)
            said = f"{count.videos:,} videos{known}, {count.bad:,} cannot be read, {speed:.1f} a second"
            progress.update(task, description=said)


def _report(lines: Path, count: Count, console: Console, as_json: bool) -> int:
    """Returns how many videos and folders could not be read; names them, and says what is in the file."""
    videos, bad, done, tokens = 0, len(count.folders), 0, 0
    with open(lines, encoding="utf-8") as file:
        for line in file:
            if as_json:
                print(line, end="")
            record = json.loads(line)
            videos += 1
            if "error" in record:
                bad += 1
                print_line(console, f"{record['video']}: {record['error']}")
            else:
                done, tokens = done + record["tokens_computed"], tokens + record["tokens"]
    for record in count.folders:
        print_line(console, f"{record['video']}: {record['error']}")
    if bad:
        print_line(console, f"{bad:,} of {videos + len(count.folders):,} videos cannot be read, see above.")
    if not as_json:
        seconds, known = time.monotonic() - count.start, f", {count.known:,} known before" if count.known else ""
        share = f", {done / tokens:.1%} of the tokens computed" if tokens else ""
        print(f"{videos:,} videos in {seconds:.1f} s{known}{share}: {lines}")
    return bad
