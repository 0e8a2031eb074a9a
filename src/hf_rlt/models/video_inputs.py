# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accept videos in any form: files stay as they are, everything else becomes an array of frames or an error."""

import io
import os
import warnings
from collections.abc import Iterator
from numbers import Number
from types import FrameType
from typing import Any

from transformers.video_utils import VideoMetadata

from .errors import HfRltError
from .video_frames import TO_PASS, described, frames_of, is_array, is_frame, numbered

_NESTING = 8  # how deep lists may be nested


def source_of(video: Any) -> Any:
    """Return the source for `VideoReader` of a video given as a path, http(s) address, bytes or binary file, or raise."""
    source = _file(video)
    if source is None:
        raise HfRltError(f"Expected a video file, received {described(video)}: {TO_PASS}.")
    return bytes(source) if isinstance(source, (bytearray, memoryview)) else source


def is_file(video: Any) -> bool:
    """Return whether a video is given as a file, see `source_of`."""
    return _file(video) is not None


def _file(video: Any) -> Any:
    """Return the path, address, bytes or binary file that a video is given as; None if it is something else."""
    if isinstance(video, dict):  # an undecoded row of `datasets`
        video = next((video[key] for key in ("bytes", "path") if video.get(key) is not None), None)
    if isinstance(video, (str, os.PathLike, bytes, bytearray, memoryview)):
        return video if video != "" else None
    binary = hasattr(video, "read") and hasattr(video, "seek") and not isinstance(video, io.TextIOBase)
    return video if binary else None


def as_videos(given: Any, layout: str | None = None, rgb: bool | None = True) -> list[Any]:
    """Return a flat list of videos, either all files or all four-dimensional arrays or tensors.

    Args:
        given: a video, a five-dimensional batch, or nested lists of these, read as transformers does: a list of frames
            is a video, and so is a list of paths inside two more lists, which are image files.
        layout: "channels_first" or "channels_last"; if None, inferred for each array.
        rgb: whether pictures are converted to RGB.

    Raises:
        HfRltError: saying which input is not a video, what was expected and received, and what to do.
    """
    videos = list(_flattened(given))
    if not videos:
        raise HfRltError(f"Expected at least one video, received {described(given)}: {TO_PASS}.")
    files = [is_file(video) for video in videos]
    if all(files):
        return videos
    for place, video in enumerate(videos):
        if not files[place]:
            try:
                videos[place] = frames_of(video, layout, rgb, alone=video is given)
            except ValueError as error:
                raise HfRltError(f"{numbered(place, len(videos))}{error}") from error
    if count := sum(files):
        raise HfRltError(f"Received {count} files and {len(files) - count} arrays in one list: pass them separately.")
    return videos


def _flattened(given: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the videos in nested lists. Lists of frames or numbers, and empty lists, are not taken apart."""
    if isinstance(given, (list, tuple)) and (given or not depth):
        frames = given and (all(map(is_frame, given)) or isinstance(given[0], Number))
        if frames or (depth > 1 and all(isinstance(item, str) for item in given)):
            yield given
        elif depth == _NESTING:
            raise HfRltError(
                f"Expected a list of videos, received lists in lists, more than {_NESTING} deep: flatten it."
            )
        else:
            for item in given:
                yield from _flattened(item, depth + 1)
    elif is_array(given) and given.ndim == 5:
        yield from given
    else:
        yield given


def as_metadata(given: Any, lengths: list[int], sampled: bool) -> list[VideoMetadata]:
    """Return the metadata of each video as a `VideoMetadata`, or raise HfRltError if it does not fit the videos.

    Args:
        given: a mapping or `VideoMetadata`, or a list with one for each video.
        lengths: number of frames of each video.
        sampled: whether frames are sampled by it, in which case it must not count more frames than there are.
    """
    entries = given if isinstance(given, list) else [given]
    entries = [entry for part in entries for entry in (part if isinstance(part, list) else [part])]
    if len(entries) != len(lengths):
        raise HfRltError(f"Expected video_metadata of each of {len(lengths)} videos, received {len(entries)}.")
    found = []
    for place, (entry, length) in enumerate(zip(entries, lengths, strict=True)):
        name = numbered(place, len(lengths))
        try:
            metadata = entry if isinstance(entry, VideoMetadata) else VideoMetadata(**entry)
        except TypeError as error:
            raise HfRltError(f"{name}Expected video_metadata, received {described(entry)} ({error}).") from error
        total = metadata.total_num_frames
        if sampled and not (isinstance(total, int) and 0 < total <= length):
            raise HfRltError(
                f"{name}Expected video_metadata with a total_num_frames of {length}, as many as were given, received "
                f"{described(total)}."
            )
        found.append(metadata)
    return found


def warn_of_ignored_rate(caller: FrameType, frame_stride: int) -> None:
    """Warn if the caller is transformers' pipeline and was given `frame_sampling_rate`, which it does not pass on.

    Only the caller's stack frame shows this without changing the pipeline for other models.
    """
    if caller.f_globals.get("__name__") != "transformers.pipelines.video_classification":
        return
    given = caller.f_locals.get("frame_sampling_rate", 1)  # the default is 1, too
    settings = getattr(caller.f_locals.get("self"), "_preprocess_params", {})
    if given != frame_stride and (given != 1 or "frame_sampling_rate" in settings):
        warnings.warn(
            f"The pipeline ignores frame_sampling_rate={given}: its video processor chooses the frames (frame_stride="
            f"{frame_stride}). Set it there: `classify.video_processor.frame_stride = {given}`.",
            stacklevel=3,
        )
