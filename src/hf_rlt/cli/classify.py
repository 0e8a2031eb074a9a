# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt classify`: names the action in videos, and says how many tokens that took."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from ..data.text_files import json_name
from ..errors import one_line, printable
from ..inference.classification import DEFAULT_MODEL, Classified, check_exists, classify_video, open_classifier
from ..jobs.worker_pool import Failure
from ..tokens.count_many import problem_of
from .console import print_line, spinner
from .options import FrameStride, parse_threshold, sampling_settings


def classify(
    clips: Annotated[list[str], typer.Argument(help="Videos: files or URLs.")],
    model: Annotated[
        str, typer.Option(help="Folder or Hub id of a classifier: RLT-VideoMAE, VideoMAE or a baseline.")
    ] = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="How many classes to print.", min=1)] = 3,
    threshold: Annotated[str, typer.Option(help="A number, none (dense), or model: the model's own.")] = "model",
    num_frames: Annotated[
        int | None, typer.Option(help="Frames per clip; positions are interpolated. Default: the model's own.", min=1)
    ] = None,
    frame_stride: FrameStride = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a clip, instead of a stride.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each video.")] = False,
) -> None:
    """Name the action in CLIPS, and say how many tokens that took.

    A video that cannot be read is one line; the others are classified, and the exit code is 1.
    """
    console, bad = Console(stderr=True), 0
    for clip in clips:
        check_exists(clip)
    network, processor = open_classifier(
        model, parse_threshold(threshold), num_frames, sampling_settings(frame_stride, fps)
    )
    with spinner(console) as progress:
        task = progress.add_task("")
        for number, clip in enumerate(clips, start=1):
            progress.update(task, description=f"{number} of {len(clips)}: {printable(clip)}")
            try:
                found = classify_video(clip, network, processor, top_k)
            except (ValueError, OSError) as error:
                bad += 1
                problem = problem_of(Failure(one_line(error)), clip)
                print_line(progress.console, f"{clip}: {problem}")
                if as_json:
                    print(json.dumps({"video": json_name(clip), "error": problem}), flush=True)
                continue
            _show(found, len(clips) > 1, as_json)
    if bad:
        raise typer.Exit(1)


def _show(found: Classified, several: bool, as_json: bool) -> None:
    if as_json:
        scores = [{"label": label, "score": score} for label, score in found.scores]
        print(json.dumps({**asdict(found), "video": json_name(found.video), "scores": scores}), flush=True)
        return
    if several:
        print(printable(found.video))
    for label, score in found.scores:
        print(f"{score:6.1%}  {printable(label)}")
    share = found.tokens_computed / found.tokens
    left = f", {found.tokens_left} left at the end" if found.tokens_left < found.tokens_computed else ""
    print(f"{found.tokens_computed} of {found.tokens} tokens computed ({share:.1%}){left}")
