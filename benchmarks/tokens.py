# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tokens before and after RLT for each data set and frame rate: the paper's table.

A clip in which a frame appears twice (the video's own rate is below the one asked for, it is too short, or its times are
uneven) loses tokens that no camera ever filmed. Such clips are counted apart and left out of the figures of the others.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hf_rlt.data import VideoList, read_annotations
from hf_rlt.data.video_list import find_videos, none_found
from hf_rlt.errors import HfRltError
from hf_rlt.models.runs import grid_size
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor
from hf_rlt.models.video_reader import VideoIndex, index_video
from hf_rlt.tokens import count_tokens

from .common.options import OUTPUT, NumWorkers, OnBadVideo, Output, Threshold, VideoDir, short_names
from .common.paper import PAPER, TOKENS
from .common.record import Row, column, percent, report, save, say, table
from .common.speed import repeats_frames

FPS = [7.5, 15.0, 30.0]
RATE_TOLERANCE = 0.99  # 29.97 frames per second are 30


def tokens(
    data: Annotated[list[Path], typer.Argument(help="Folders of videos, nested or flat, or annotation files.")],
    fps: Annotated[list[float], typer.Option(help="Frames per second of a clip. May be repeated.")] = FPS,
    num_frames: Annotated[int, typer.Option(help="Frames per clip.", min=2)] = 16,
    threshold: Threshold = 0.1,
    video_dir: VideoDir = None,
    on_bad_video: OnBadVideo = "raise",
    limit: Annotated[int | None, typer.Option(help="Videos per data set, evenly spread over it.", min=1)] = None,
    num_workers: NumWorkers = 2,
    output: Output = OUTPUT,
) -> None:
    """Tokens before and after RLT, for each data set and frame rate. Counts are kept: rerun to resume."""
    if not fps or min(fps) <= 0:
        raise HfRltError(f"Expected frame rates above 0, received {list(fps)}: pass --fps 30.")
    rows = []
    for name, source in zip(short_names(data), data, strict=True):
        clips, indexed = list_videos(source, video_dir, limit), None
        for rate in fps:
            processor = RLTVideoProcessor(num_frames=num_frames, fps=rate, threshold=threshold)
            say(f"{name}: {len(clips)} videos at {rate:g} frames per second")
            counts = count_tokens(clips, processor, num_workers, on_bad_video, output / "counts")
            if not counts.any():
                raise HfRltError(f"{source}: none of its {len(clips)} videos can be read.")
            if indexed is None:
                indexed = [index_video(str(video)) if counts[i] else None for i, video in enumerate(clips.sources)]
            rows.append(_row(name, rate, counts, indexed, processor))
    settings = {"data": list(map(str, data)), "fps": fps, "num_frames": num_frames, "threshold": threshold}
    report(save(output, "tokens", rows, {**settings, "limit": limit}))


def list_videos(path: Path, video_dir: Path | None = None, limit: int | None = None) -> VideoList:
    """List the videos of a folder or annotation file; at most `limit`, evenly spread over it. Classes are not needed."""
    videos: list[Path | str]
    if path.is_dir():
        videos = [*find_videos(path)]
        if not videos:
            raise HfRltError(none_found(path))
    elif path.suffix.lower() in (".csv", ".json"):
        videos, _ = read_annotations(path, video_dir)
    else:
        raise HfRltError(f"{path}: expected a folder of videos or an annotation file (.csv, .json), found neither.")
    if limit is not None and limit < len(videos):
        videos = [videos[i * len(videos) // limit] for i in range(limit)]
    return VideoList(videos, [0] * len(videos), ["video"])


def _row(
    name: str, fps: float, counts: np.ndarray, indexed: Sequence[VideoIndex | None], processor: RLTVideoProcessor
) -> dict[str, Any]:
    """Summarise a data set at a frame rate. Means over no clip are None."""
    before = math.prod(grid_size(processor.clip_shape, processor.tubelet_size, processor.patch_size))
    readable = counts > 0
    below = np.array([index is not None and index.fps < RATE_TOLERANCE * fps for index in indexed])
    repeating = np.array([index is not None and repeats_frames(index, processor) for index in indexed])
    clean, repeated = counts[readable & ~repeating], counts[readable & repeating]
    row: dict[str, Any] = {"data": name, "fps": fps, "clips": int(readable.sum()), "unreadable": int((~readable).sum())}
    row |= {"clips_below_fps": int((readable & below).sum()), "clips_repeating": len(repeated), "tokens_before": before}
    row |= {"tokens_after": None, "reduction": None, "reduction_repeating": None}
    if len(clean):
        quartiles = np.quantile(clean, (0.25, 0.5, 0.75)).tolist()
        named = zip(("mean", "quartile_1", "median", "quartile_3"), (float(clean.mean()), *quartiles), strict=True)
        row |= {"tokens_after": dict(named), "reduction": 1 - float(clean.mean()) / before}
    if len(repeated):
        row["reduction_repeating"] = 1 - float(repeated.mean()) / before
    return row


COLUMNS = (
    column("data set", "data"),
    column("FPS", "fps", "{:g}"),
    column("clips", "clips"),
    column("own rate below", "clips_below_fps"),
    column("with repeated frames", "clips_repeating"),
    column("unreadable", "unreadable"),
    column("tokens before", "tokens_before", "{:,}"),
    column("tokens after, mean", "tokens_after", "{0[mean]:,.0f}"),
    column("median (quartiles)", "tokens_after", "{0[median]:,.0f} ({0[quartile_1]:,.0f} to {0[quartile_3]:,.0f})"),
    percent("fewer", "reduction"),
    percent("fewer, clips with repeated frames", "reduction_repeating"),
    column("paper", "paper"),
)


def markdown(record: Row) -> str:
    """Make the table, with what the paper says of such data below ours."""
    claims = [{"data": data, "paper": claim} for data, claim in TOKENS.items()]
    settings = record["settings"]
    return (
        f"{table([*record['rows'], *claims], COLUMNS)}\n"
        f"Clips of {settings['num_frames']} frames from the middle of each video, 224 x 224, threshold "
        f'{settings["threshold"]:g}. Tokens after RLT and "fewer" are of clips without a repeated frame: frames repeat '
        "where a video's own rate is below the FPS, where it is too short, or where its times are uneven, and a repeated "
        f"frame costs RLT next to nothing. Last rows: {PAPER}.\n"
    )
