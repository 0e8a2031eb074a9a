# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt tokens`: what RLT would compute of videos, of one or of thousands."""

import json
import os
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..data.video_list import none_found
from ..errors import HfRltError
from ..tokens import CountConfig, CountFile, VideoCounts, count_videos, find
from ..tokens.count_many import written_name
from ..tokens.summary import Totals
from .console import INTERRUPTED, print_line, spinner
from .options import FrameStride, ImageSize, NumFrames, OptionalModel, PatchSize, TubeletSize, finite, make_processor
from .token_tables import ROWS, show

THRESHOLDS = [0.1]


def tokens(
    videos: Annotated[list[str], typer.Argument(help="Videos, and folders with videos anywhere below them.")],
    threshold: Annotated[list[float], typer.Option(help="RLT's; may be given several times.", min=0)] = THRESHOLDS,
    fps: Annotated[
        list[float] | None,
        typer.Option(help="Frames per second of a clip, instead of a stride; may be given several times."),
    ] = None,
    clips: Annotated[
        int, typer.Option(help="Clips of each video, evenly spread over it. One is its middle.", min=1)
    ] = 1,
    model: OptionalModel = None,
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    image_size: ImageSize = None,
    patch_size: PatchSize = None,
    tubelet_size: TubeletSize = None,
    workers: Annotated[int | None, typer.Option(help="Processes. Default: one for each core.", min=1)] = None,
    output: Annotated[
        Path | None, typer.Option(help="JSON lines, written as they are found. Run again, the same command goes on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines as they come.")] = False,
) -> None:
    """Tokens of VIDEOS before and after RLT: nothing is trained, no model is run."""
    rates, threshold = _rates(fps, frame_stride), list(map(finite, threshold))
    processor = make_processor(model, num_frames, frame_stride, None, image_size, patch_size, tubelet_size)
    question = CountConfig(processor, rates, tuple(dict.fromkeys(threshold)), clips)
    problems: list[VideoCounts] = []
    found = find(videos, problems)
    console, tally = Console(stderr=True), Totals(ROWS + 1)
    interrupted = False
    with CountFile(output, question) if output is not None else nullcontext() as store:
        try:
            with closing(count_videos(found, question, workers or os.cpu_count() or 1, store)) as counted:
                _watch(counted, question, tally, console, as_json)
        except KeyboardInterrupt:
            interrupted = True
    for problem in problems:
        _report_bad(problem, tally, console, as_json)
    if not tally.read and not tally.bad and not interrupted:
        raise HfRltError(none_found(", ".join(videos)))
    if not as_json:
        show(tally, question)
    _say_how_it_ended(console, tally, output, interrupted)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if tally.bad:
        raise typer.Exit(1)


def _rates(fps: list[float] | None, frame_stride: int | None) -> tuple[float | None, ...]:
    if not fps:
        return (None,)
    if frame_stride is not None:
        raise HfRltError(
            f"Expected --frame-stride or --fps, received both ({frame_stride} and {fps[0]:g}): leave one out."
        )
    if not min(fps) > 0:
        raise HfRltError(f"--fps: expected frames per second above 0, received {min(fps):g}.")
    return tuple(dict.fromkeys(fps))


def _watch(
    counted: Iterable[VideoCounts], question: CountConfig, tally: Totals, console: Console, as_json: bool
) -> None:
    """Takes in the counts as they come, and says on a terminal how many there are."""
    with spinner(console) as progress:
        task = progress.add_task("starting")
        for video in counted:
            if video.problem is not None:
                _report_bad(video, tally, progress.console, as_json)
            else:
                tally.add(video)
                for record in video.records(question) if as_json else ():
                    print(json.dumps(record), flush=True)
            known = f" ({tally.reused:,} known)" if tally.reused else ""
            progress.update(task, description=f"{tally.read:,} videos{known}, {tally.bad:,} cannot be read")


def _report_bad(video: VideoCounts, tally: Totals, console: Console, as_json: bool) -> None:
    tally.add(video)
    print_line(console, f"{video.video}: {video.problem}")
    if as_json:
        print(json.dumps({"video": written_name(video.video), "error": video.problem}), flush=True)


def _say_how_it_ended(console: Console, tally: Totals, output: Path | None, interrupted: bool) -> None:
    lines = []
    if interrupted:
        kept = f"; what was found is in {output}, and the same command goes on" if output is not None else ""
        lines.append(f"Interrupted after {tally.read + tally.bad:,} videos{kept}.")
    if tally.reused:
        lines.append(f"{tally.reused:,} of {tally.read:,} videos were known from {output} and have not changed.")
    if tally.bad:
        lines.append(f"{tally.bad:,} of {tally.read + tally.bad:,} videos cannot be read, see above.")
    for line in lines:
        print_line(console, line)
