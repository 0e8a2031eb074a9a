# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt tokens`: how many tokens RLT computes of videos, of one or of thousands."""

import json
import os
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .console import INTERRUPTED, print_line, spinner
from .options import (
    AsJson,
    FrameStride,
    ImageSize,
    NumClips,
    NumFrames,
    NumWorkers,
    OptionalModel,
    PatchSize,
    Thresholds,
    TubeletSize,
    finite,
    make_processor,
    sampling_settings,
)
from .token_tables import MAX_ROWS, print_tables

if TYPE_CHECKING:
    from ..tokens import CountConfig, VideoCounts
    from ..tokens.summary import Totals

THRESHOLDS = [0.1]


def tokens(
    videos: Annotated[list[str], typer.Argument(help="Videos, and folders, searched with all their subfolders.")],
    threshold: Thresholds = THRESHOLDS,
    fps: Annotated[
        list[float] | None,
        typer.Option(help="Frames per second of a clip, instead of --frame-stride. May be repeated."),
    ] = None,
    num_clips: NumClips = 1,
    model: OptionalModel = None,
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    image_size: ImageSize = None,
    patch_size: PatchSize = None,
    tubelet_size: TubeletSize = None,
    num_workers: NumWorkers = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write results as JSON Lines; rerun to resume.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the tokens of VIDEOS before and after RLT. No model is run."""
    from ..data.video_list import none_found
    from ..errors import HfRltError
    from ..tokens import CountConfig, CountFile, count_videos, find
    from ..tokens.summary import Totals

    rates = tuple(dict.fromkeys(fps or [None]))
    for rate in rates:
        sampling_settings(frame_stride, rate)  # raises if they contradict each other
    thresholds = tuple(dict.fromkeys(map(finite, threshold)))
    processor = make_processor(model, num_frames, frame_stride, None, image_size, patch_size, tubelet_size)
    config, totals = CountConfig(processor, rates, thresholds, num_clips), Totals(MAX_ROWS + 1)
    problems: list[VideoCounts] = []
    found = find(videos, problems)
    console, interrupted = Console(stderr=True), False
    workers = (os.cpu_count() or 1) if num_workers is None else num_workers
    with CountFile(output, config) if output is not None else nullcontext() as store:
        try:
            with closing(count_videos(found, config, workers, store)) as counted:
                _watch(counted, config, totals, console, as_json)
        except KeyboardInterrupt:
            interrupted = True
    for problem in problems:
        _add(problem, config, totals, console, as_json)
    if not totals.read and not totals.bad and not interrupted:
        raise HfRltError(none_found(", ".join(videos)))
    if not as_json:
        print_tables(totals, config)
    for line in _ending(totals, output, interrupted):
        print_line(console, line)
    if interrupted or totals.bad:
        raise typer.Exit(INTERRUPTED if interrupted else 1)


def _watch(
    counted: "Iterable[VideoCounts]", config: "CountConfig", totals: "Totals", console: Console, as_json: bool
) -> None:
    """Add the counts as they come, and show on a terminal how many there are."""
    with spinner(console) as progress:
        task = progress.add_task("starting")
        for video in counted:
            _add(video, config, totals, progress.console, as_json)
            known = f" ({totals.reused:,} known)" if totals.reused else ""
            progress.update(task, description=f"{totals.read:,} videos{known}, {totals.bad:,} cannot be read")


def _add(video: "VideoCounts", config: "CountConfig", totals: "Totals", console: Console, as_json: bool) -> None:
    from ..tokens.count_many import written_name

    totals.add(video)
    records = video.records(config)
    if video.problem is not None:
        print_line(console, f"{video.video}: {video.problem}")
        records = [{"video": written_name(video.video), "error": video.problem}]
    for record in records if as_json else ():
        typer.echo(json.dumps(record))


def _ending(totals: "Totals", output: Path | None, interrupted: bool) -> list[str]:
    """Say how the count ended."""
    videos, lines = totals.read + totals.bad, []
    if interrupted:
        kept = f"; counts so far are in {output}, rerun the command to resume" if output is not None else ""
        lines.append(f"Interrupted after {videos:,} videos{kept}.")
    if totals.reused:
        lines.append(f"{totals.reused:,} of {totals.read:,} videos were known from {output} and have not changed.")
    if totals.bad:
        lines.append(f"{totals.bad:,} of {videos:,} videos could not be read (see above).")
    return lines
