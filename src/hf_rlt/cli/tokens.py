# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt tokens`: how many tokens RLT computes of videos, of one or of thousands."""

import json
import os
from contextlib import closing, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import HfRltError
from ..jobs.worker_pool import start_server
from . import options
from .console import INTERRUPTED, VideoProgress, print_line
from .token_tables import MAX_ROWS, Totals, print_tables

if TYPE_CHECKING:
    from ..tokens import CountConfig, VideoCounts


def tokens(
    videos: Annotated[list[str], typer.Argument(help="Videos, and folders, searched with all their subfolders.")],
    threshold: options.Thresholds = None,
    fps: Annotated[
        list[float] | None,
        typer.Option(help="Frames per second of a clip, instead of --frame-stride. May be repeated."),
    ] = None,
    num_clips: options.NumClips = 1,
    model: options.OptionalModel = None,
    num_frames: options.NumFrames = None,
    frame_stride: options.FrameStride = None,
    image_size: options.ImageSize = None,
    patch_size: options.PatchSize = None,
    tubelet_size: options.TubeletSize = None,
    *,
    rule: options.RuleOptions,
    num_workers: options.NumWorkers = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write results as JSON Lines; rerun to resume.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Count the tokens of VIDEOS before and after RLT. No model is run."""
    if num_workers != 0:
        start_server()  # it imports while this process does
    from ..data.video_list import none_found
    from ..tokens import CountConfig

    rates: tuple[float | None, ...] = tuple(dict.fromkeys(fps or ())) or (None,)
    for rate in rates:
        options.sampling_settings(frame_stride, rate)  # raises if they contradict each other
    processor = options.make_processor(
        model,
        num_frames,
        frame_stride,
        None,
        image_size,
        patch_size,
        tubelet_size,
        **rule.changes(options.first(threshold)),
    )
    thresholds = options.compared(threshold, processor)
    config, totals = CountConfig(processor, rates, thresholds, num_clips), Totals(MAX_ROWS + 1)
    interrupted = _count(videos, config, num_workers, output, totals, as_json)
    if not totals.read and not totals.bad and not interrupted:
        raise HfRltError(none_found(", ".join(videos)))
    if not as_json:
        print_tables(totals, config)
    _print_ending(totals, output, interrupted)
    if interrupted or totals.bad:
        raise typer.Exit(INTERRUPTED if interrupted else 1)


def _count(
    paths: list[str], config: "CountConfig", workers: int | None, output: Path | None, totals: Totals, as_json: bool
) -> bool:
    """Add counts as they come, and show on a terminal how many there are; return whether Ctrl-C ended it."""
    from ..tokens import CountFile, count_videos, find

    problems: list[VideoCounts] = []
    listed, workers = list(find(paths, problems)), (os.cpu_count() or 1) if workers is None else workers
    with CountFile(output, config) if output is not None else nullcontext() as store:
        try:
            with (
                closing(count_videos(listed, config, workers, store)) as counted,
                VideoProgress(Console(stderr=True), len(listed)) as progress,
            ):
                for video in chain(counted, problems):
                    totals.add(video)
                    _print(video, config, progress.console, as_json)
                    progress.add(known=video.reused, bad=video.problem is not None)
        except KeyboardInterrupt:
            return True
    return False


def _print(video: "VideoCounts", config: "CountConfig", console: Console, as_json: bool) -> None:
    from ..tokens.count_many import written_name

    records = video.records(config)
    if video.problem is not None:
        print_line(console, f"{video.video}: {video.problem}")
        records = [{"video": written_name(video.video), "error": video.problem}]
    for record in records if as_json else ():
        typer.echo(json.dumps(record))


def _print_ending(totals: Totals, output: Path | None, interrupted: bool) -> None:
    console, videos = Console(stderr=True), totals.read + totals.bad
    if interrupted:
        kept = f"; counts so far are in {output}, rerun the command to resume" if output is not None else ""
        print_line(console, f"Interrupted after {videos:,} videos{kept}.")
    if totals.reused:
        print_line(
            console, f"{totals.reused:,} of {totals.read:,} videos were known from {output} and have not changed."
        )
    if totals.bad:
        print_line(console, f"{totals.bad:,} of {videos:,} videos could not be read (see above).")
