# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt draw`: a clip, and what RLT computes of it."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import HfRltError, printable
from . import options
from .console import spinner


def draw(
    video: Annotated[Path, typer.Argument(help="A video.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .gif or .mp4, or a sheet: .png or .jpg.")],
    threshold: options.Thresholds = None,
    heat: Annotated[bool, typer.Option("--heat", help="Colour runs by their length. Needs matplotlib.")] = False,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Also show each dropped tubelet as the token that stands for it.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Without words, and side by side (GIF and MP4).")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Draw the whole video, clip by clip (GIF and MP4).")] = False,
    seconds: Annotated[float, typer.Option(help="With --whole: seconds of the video, at most.", min=0.01)] = 10.0,
    start: Annotated[
        float | None, typer.Option(help="Second of the video to begin at. Default: a clip from its middle.", min=0)
    ] = None,
    columns: Annotated[int, typer.Option(help="Frames on a sheet, evenly spread over the clip.", min=1)] = 4,
    scale: Annotated[
        int,
        typer.Option(help="Enlarge the drawing by this factor; which tokens are kept does not change.", min=1, max=64),
    ] = 1,
    model: options.OptionalModel = None,
    num_frames: options.NumFrames = None,
    frame_stride: options.FrameStride = None,
    fps: options.Fps = None,
    image_size: options.ImageSize = None,
    patch_size: options.PatchSize = None,
    tubelet_size: options.TubeletSize = None,
    *,
    rule: options.RuleOptions,
    as_json: options.AsJson = False,
) -> None:
    """Draw a clip of VIDEO, and below it what RLT computes at each threshold: the rest is grey."""
    from ..data.text_files import json_name
    from ..drawing import draw_clip, draw_video, write_drawing
    from ..models.video_reader import index_video

    if video.exists() and not video.is_file():
        raise HfRltError(f"{video}: expected a video file, found something else.")  # reading a pipe might never end
    if output.exists() and video.exists() and output.samefile(video):
        raise HfRltError(f"{output}: is the video itself, which would be lost: write to another name.")
    processor = options.make_processor(
        model,
        num_frames,
        frame_stride,
        fps,
        image_size,
        patch_size,
        tubelet_size,
        **rule.changes(options.first(threshold)),
    )
    thresholds = options.compared(threshold, processor)
    looks = {"scale": scale, "heat": heat, "reconstructed": reconstruct}
    if whole:
        clips = draw_video(video, processor, thresholds, start or 0.0, seconds, **looks)
    else:
        clips = (draw_clip(video, processor, thresholds, start, **looks) for _ in range(1))
    drawn: list[Any] = []
    write_drawing(_watched(clips, drawn), output, columns, heat, plain)
    result = {"output": str(output), **_result(thresholds, drawn)}
    if whole:
        result["seconds_of_video"] = index_video(video).duration - (start or 0.0)
    if as_json:
        typer.echo(json.dumps({**result, "output": json_name(str(output))}))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    for row in result["thresholds"]:
        after, before = row["tokens_after"], row["tokens_before"]
        typer.echo(f"{row['rule']}: {after:,} of {before:,} tokens computed ({row['share']:.1%})")
    typer.echo(f"Written: {printable(result['output'])} ({result['frames']} frames, {result['fps']:.4g} per second)")
    drawn, whole = result["seconds"], result.get("seconds_of_video", 0.0)
    if whole > drawn + 0.1:
        typer.echo(f"Drawn: {drawn:.1f} of {whole:.1f} seconds; --seconds {math.ceil(whole)} for all of it.")


def _watched(clips: Iterator[Any], drawn: list[Any]) -> Iterator[Any]:
    """Pass the clips on, and show on a terminal how far the drawing is; `drawn` gets what `_result` needs of each."""
    with spinner(Console(stderr=True)) as progress:
        task, frames = progress.add_task("reading", total=None), 0
        for clip in clips:
            drawn.append((len(clip.frames), clip.fps, clip.rules, clip.run_lengths))
            frames += len(clip.frames)
            progress.update(task, description=f"{frames / clip.fps:.1f} s drawn")
            yield clip
        progress.update(task, description="writing")


def _result(thresholds: Sequence[float | None], drawn: list[Any]) -> dict[str, Any]:
    """Return what was drawn, and the tokens that each threshold computes of it."""
    frames, (_, fps, rules, _) = sum(count for count, *_ in drawn), drawn[0]
    before = sum(lengths.shape[1] for *_, lengths in drawn)
    rows = []
    for i, threshold in enumerate(thresholds):
        after = sum(int((lengths[i] > 0).sum()) for *_, lengths in drawn)
        tokens = {"tokens_before": before, "tokens_after": after, "share": after / before}
        rows.append({"rule": rules[i], "threshold": threshold, **tokens})
    return {"clips": len(drawn), "frames": frames, "fps": fps, "seconds": frames / fps, "thresholds": rows}
