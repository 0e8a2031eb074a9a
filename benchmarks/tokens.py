# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tokens before and after RLT for each data set and frame rate: the paper's table.

A clip in which a frame stands twice (the video's own rate is below the one asked for, or it is too short, or its times
are uneven) loses tokens that no camera ever filmed. Such clips are counted apart and left out of the figures of the others.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_rlt.data import VideoList, read_annotations
from hf_rlt.data.video_list import find_videos, none_found
from hf_rlt.models.runs import grid_size
from hf_rlt.models.sampling import fps_indices
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor
from hf_rlt.models.video_reader import VideoIndex, index_video
from hf_rlt.tokens import count_tokens

from .paper import TOKENS
from .record import Column, Row, column, percent, table

RATE_TOLERANCE = 0.99  # 29.97 frames a second are 30


def list_videos(data: str | Path, video_dir: str | Path | None = None, limit: int | None = None) -> VideoList:
    """Return the videos of a folder, nested or flat, or of an annotation file; all of one class, as none is needed.

    Args:
        data: the folder, or a file as `hf_rlt.data.from_file` reads it.
        video_dir: where an annotation file's videos are.
        limit: at most so many, evenly spread over the list.

    Raises:
        ValueError: if there is no video.
    """
    path = Path(data)
    if path.is_dir():
        videos = find_videos(path)
        if not videos:
            raise ValueError(none_found(path))
    elif path.suffix.lower() in (".csv", ".json"):
        videos, _ = read_annotations(path, video_dir)
    else:
        raise ValueError(f"{path}: expected a folder of videos or an annotation file (.csv, .json), found neither.")
    if limit is not None and limit < len(videos):
        videos = [videos[i * len(videos) // limit] for i in range(limit)]
    return VideoList(videos, [0] * len(videos), ["video"])


def measure(
    data: Sequence[str | Path],
    fps: Sequence[float] = (7.5, 15.0, 30.0),
    num_frames: int = 16,
    threshold: float = 0.1,
    on_bad_video: str = "raise",
    video_dir: str | Path | None = None,
    limit: int | None = None,
    num_workers: int = 0,
    cache_dir: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each data set and frame rate, see `row`.

    Args:
        data, video_dir, limit: see `list_videos`, for each folder or annotation file.
        fps: frames a second of a clip, by the video's own time stamps.
        num_frames: frames in a clip, the centre of the video.
        threshold: RLT's.
        on_bad_video, num_workers, cache_dir: as for `count_tokens`; an interrupted measurement goes on.
        progress: called with a line before each data set and frame rate.

    Raises:
        ValueError: for a wrong setting, or data without a readable video.
    """
    if not fps or min(fps) <= 0:
        raise ValueError(f"Expected frame rates above 0, received {list(fps)}: pass --fps 30.")
    rows = []
    for name, source in zip(_names(data), data, strict=True):
        clips, indexed = list_videos(source, video_dir, limit), None
        for rate in fps:
            processor = RLTVideoProcessor(num_frames=num_frames, fps=rate, threshold=threshold)
            if progress is not None:
                progress(f"{name}: {len(clips)} videos at {rate:g} frames a second")
            counts = count_tokens(clips, processor, num_workers, on_bad_video, cache_dir)
            if not counts.any():
                raise ValueError(f"{source}: none of its {len(clips)} videos can be read.")
            if indexed is None:
                indexed = [index_video(str(video)) if counts[i] else None for i, video in enumerate(clips.sources)]
            rows.append(row(name, rate, counts, indexed, processor))
    return rows


def row(
    name: str, fps: float, counts: np.ndarray, indexed: Sequence[VideoIndex | None], processor: Any
) -> dict[str, Any]:
    """Return the row of one data set at one frame rate.

    `clips`, `unreadable`; `clips_below_fps`: of the clips those whose own rate is below; `clips_repeating`: those in which
    a frame stands twice, for whatever reason. `tokens_before`; of clips in which none does `tokens_after` (mean, quartiles)
    and `reduction`, the share saved; of the others `reduction_repeating`. Means of no clip are None.

    Args:
        name: of the data set.
        fps: frames a second.
        counts: `(clips,)` tokens that RLT computes, 0 for a video that cannot be read.
        indexed: each video's index, None if it cannot be read.
        processor: that made the clips.
    """
    frames, crop = processor.num_frames, processor.crop_size
    shape = (frames, 3, crop["height"], crop["width"])
    before = int(np.prod(grid_size(shape, processor.tubelet_size, processor.patch_size)))
    readable = counts > 0
    below = np.array([index is not None and index.fps < RATE_TOLERANCE * fps for index in indexed])
    repeating = np.array([index is not None and _repeats(index, frames, fps) for index in indexed])
    clean, repeated = counts[readable & ~repeating], counts[readable & repeating]
    after = None
    if len(clean):
        low, median, high = np.quantile(clean, (0.25, 0.5, 0.75)).tolist()
        after = {"mean": float(clean.mean()), "quartile_1": low, "median": median, "quartile_3": high}
    return {
        "data": name,
        "fps": fps,
        "clips": int(readable.sum()),
        "unreadable": int((~readable).sum()),
        "clips_below_fps": int((readable & below).sum()),
        "clips_repeating": len(repeated),
        "tokens_before": before,
        "tokens_after": after,
        "reduction": 1 - float(clean.mean()) / before if len(clean) else None,
        "reduction_repeating": 1 - float(repeated.mean()) / before if len(repeated) else None,
    }


def _repeats(index: VideoIndex, num_frames: int, fps: float) -> bool:
    return len(set(fps_indices(index.timestamps, num_frames, fps).tolist())) < num_frames


def _names(data: Sequence[str | Path]) -> list[str]:
    """Return what each data set is called: its last name, or the whole path where two share it."""
    short = [Path(source).stem if Path(source).is_file() else Path(source).resolve().name for source in data]
    return [name if short.count(name) == 1 else str(source) for name, source in zip(short, data, strict=True)]


def _after(key: str) -> Column:
    title = {"mean": "tokens after, mean", "median": "median (quartiles)"}[key]

    def cell(row: Row) -> str:
        after = row.get("tokens_after")
        if after is None:
            return ""
        if key == "mean":
            return f"{after['mean']:,.0f}"
        return f"{after['median']:,.0f} ({after['quartile_1']:,.0f} to {after['quartile_3']:,.0f})"

    return Column(title, cell)


COLUMNS = (
    column("data set", "data"),
    column("FPS", "fps", "{:g}"),
    column("clips", "clips"),
    column("own rate below", "clips_below_fps"),
    column("with repeated frames", "clips_repeating"),
    column("unreadable", "unreadable"),
    column("tokens before", "tokens_before", "{:,}"),
    _after("mean"),
    _after("median"),
    percent("fewer", "reduction"),
    percent("fewer, clips with repeated frames", "reduction_repeating"),
    column("paper", "paper"),
)


def markdown(record: Row) -> str:
    """Return the table of a record, with what the paper says of such data below ours."""
    claims = [{"data": claim.subject, "paper": claim.value} for claim in TOKENS]
    settings = record["settings"]
    return (
        f"{table([*record['rows'], *claims], COLUMNS)}\n"
        f"Clips of {settings['num_frames']} frames from the middle of each video, 224 x 224, threshold "
        f'{settings["threshold"]:g}. Tokens after RLT and "fewer" are of clips without a repeated frame: frames repeat '
        "where a video's own rate is below the FPS, where it is too short, or where its times are uneven, and a repeated "
        f"frame costs RLT next to nothing. Last rows: {TOKENS[0].source}.\n"
    )
