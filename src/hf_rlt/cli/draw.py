# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt draw`: a clip, and what RLT computes of it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..data.text_files import json_name
from ..drawing import draw_clip, draw_video, write_drawing
from ..drawing.animation import SUFFIXES
from ..drawing.sheets import check_suffix
from ..errors import HfRltError, printable
from ..models.video_reader import index_video
from .console import spinner
from .options import FrameStride, ImageSize, NumFrames, OptionalModel, PatchSize, TubeletSize, finite, make_processor

THRESHOLDS = [0.1]


def draw(
    video: Annotated[Path, typer.Argument(help="A video.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .gif or .mp4, or a sheet: .png or .jpg.")],
    threshold: Annotated[
        list[float], typer.Option(help="RLT's; given several times, each gets its row.", min=0)
    ] = THRESHOLDS,
    heat: Annotated[bool, typer.Option("--heat", help="Colour runs by their length. Needs matplotlib.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="All of the video, clip after clip. GIF and MP4 only.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="With --whole: at most so much of the video.")] = 10.0,
    start: Annotated[
        float | None,
        typer.Option(help="Second of the video at which to begin. Default: a clip from its middle.", min=0),
    ] = None,
    columns: Annotated[int, typer.Option(help="Frames on a sheet, evenly spread over the clip.", min=1)] = 4,
    scale: Annotated[
        int,
        typer.Option(
            help="Draw on frames so many times larger than the model's; decisions stay its own.", min=1, max=64
        ),
    ] = 1,
    model: OptionalModel = None,
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a clip, instead of a stride.")] = None,
    image_size: ImageSize = None,
    patch_size: PatchSize = None,
    tubelet_size: TubeletSize = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was drawn as JSON.")] = False,
) -> None:
    """Draw a clip of VIDEO, and below it what RLT computes at each threshold: the rest is grey."""
    suffix, threshold = check_suffix(output), list(map(finite, threshold))
    if video.exists() and not video.is_file():
        raise HfRltError(f"{video}: expected a video file, found something else.")  # reading a pipe might never end
    if output.exists() and video.exists() and output.samefile(video):
        raise HfRltError(f"{output}: is the video itself, which would be lost: write to another name.")
    if whole and suffix not in SUFFIXES:
        raise HfRltError(f"{output}: expected a {' or '.join(SUFFIXES)} for --whole, received {suffix}.")
    if not seconds > 0:
        raise HfRltError(f"--seconds: expected more than 0, received {seconds:g}.")
    processor = make_processor(model, num_frames, frame_stride, fps, image_size, patch_size, tubelet_size)
    settings: dict[str, Any] = {"thresholds": threshold, "scale": scale, "heat": heat}
    if whole:
        clips = draw_video(video, processor, start=start or 0.0, seconds=seconds, **settings)
    else:
        clips = (draw_clip(video, processor, start=start, **settings) for _ in range(1))
    tally = Totals(threshold)
    write_drawing(tally.watched(clips), output, columns, heat)
    result = {"output": str(output), **tally.result()}
    if whole:
        result["seconds_of_video"] = index_video(video).duration - (start or 0.0)
    print(json.dumps({**result, "output": json_name(str(output))})) if as_json else _show(result)


class Totals:
    """What has been drawn so far."""

    def __init__(self, thresholds: list[float]) -> None:
        self.thresholds = thresholds
        self.clips = self.frames = self.tokens = 0
        self.fps = 0.0
        self.computed = [0] * len(thresholds)

    def watched(self, clips: Iterator[Any]) -> Iterator[Any]:
        """Return the clips, counted as they come, with a line on the terminal that says how far it is."""
        with spinner(Console(stderr=True)) as progress:
            task = progress.add_task("reading", total=None)
            for clip in clips:
                self.clips += 1
                self.frames += len(clip.frames)
                self.tokens += clip.run_lengths.shape[1]
                self.fps = self.fps or clip.fps
                counts = (clip.run_lengths > 0).sum(1).tolist()
                self.computed = [a + b for a, b in zip(self.computed, counts, strict=True)]
                progress.update(task, description=f"{self.frames / self.fps:.1f} s drawn")
                yield clip
            progress.update(task, description="writing")

    def result(self) -> dict[str, Any]:
        """Return what is to be said about all of it."""
        rows = [
            {"threshold": threshold, "tokens_before": self.tokens, "tokens_after": after, "share": after / self.tokens}
            for threshold, after in zip(self.thresholds, self.computed, strict=True)
        ]
        counted = {"clips": self.clips, "frames": self.frames, "fps": self.fps}
        return {**counted, "seconds": self.frames / self.fps, "thresholds": rows}


def _show(result: dict[str, Any]) -> None:
    for row in result["thresholds"]:
        print(
            f"threshold {row['threshold']:g}: {row['tokens_after']:,} of {row['tokens_before']:,} tokens computed "
            f"({row['share']:.1%})"
        )
    print(f"Written: {printable(result['output'])} ({result['frames']} frames, {result['fps']:.4g} per second)")
    whole = result.get("seconds_of_video", 0.0)
    if whole > result["seconds"] + 0.1:
        print(f"Drawn: {result['seconds']:.1f} of {whole:.1f} seconds; --seconds {math.ceil(whole)} for all of it.")
