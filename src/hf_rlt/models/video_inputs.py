# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accept videos in any form: files stay as they are, everything else becomes an array of frames or an error."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Number
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_utils import load_image
from transformers.video_utils import VideoMetadata

from .downloads import download, is_web
from .errors import HfRltError

LAYOUTS = "(F, H, W, C) or (F, C, H, W)"
TO_PASS = f"pass its path, its bytes or its frames, {LAYOUTS}"
_DEEP_MODES = ("I", "F")  # PIL's modes of more than 8 bits, which its conversion to RGB clips
_NESTING = 8  # how deep lists may be nested


def is_array(video: Any) -> bool:
    """Return whether this is an array or a tensor."""
    return isinstance(video, np.ndarray) or (isinstance(video, Tensor) and not video.is_nested)


def source_of(video: Any) -> Any:
    """Return the path, address, bytes, binary file or open decoder that a video is given as, or raise; see `open_video`."""
    source = _file(video)
    if source is None:
        raise _refusal("a video file", video, TO_PASS)
    return bytes(source) if isinstance(source, (bytearray, memoryview)) else source


def _file(video: Any) -> Any:
    """Return the path, address, bytes, binary file or open decoder that a video is given as; None for anything else."""
    video = getattr(video, "_hf_encoded", video)  # a decoded row of `datasets`, which keeps what it was made of
    if isinstance(video, dict):  # an undecoded row of `datasets`
        video = next((video[key] for key in ("bytes", "path") if video.get(key) is not None), None)
    if isinstance(video, (str, os.PathLike, bytes, bytearray, memoryview)):
        return video if video != "" else None
    opened = hasattr(video, "get_frames_at") or hasattr(video, "get_batch")  # by torchcodec, decord
    binary = hasattr(video, "read") and hasattr(video, "seek") and not isinstance(video, io.TextIOBase)
    return video if opened or binary else None


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
        raise _refusal("at least one video", given, TO_PASS)
    files = sum(_file(video) is not None for video in videos)
    if files == len(videos):
        return videos
    for place, video in enumerate(videos):
        if _file(video) is None:
            with numbered(place, len(videos)):
                videos[place] = _frames_of(video, layout, rgb, alone=video is given)
    if files:
        raise HfRltError(f"Received {files} files and {len(videos) - files} arrays in one list: pass them separately.")
    return videos


def _flattened(given: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the videos in nested lists. Lists of frames or numbers, and empty lists, are not taken apart."""
    if isinstance(given, (list, tuple)) and (given or not depth):
        frames = given and (all(map(_is_frame, given)) or isinstance(given[0], Number))
        if frames or (depth > 1 and all(isinstance(item, str) for item in given)):
            yield given
        elif depth == _NESTING:
            raise HfRltError(f"Expected a list of videos, received lists in lists, more than {_NESTING} deep.")
        else:
            for item in given:
                yield from _flattened(item, depth + 1)
    elif is_array(given) and given.ndim == 5:
        yield from given
    else:
        yield given


def _is_frame(video: Any) -> bool:
    return isinstance(video, Image.Image) or (is_array(video) and video.ndim in (2, 3))


def _frames_of(video: Any, layout: str | None, rgb: bool | None, alone: bool) -> Any:
    """Return the frames of a video as a four-dimensional array or tensor that torch accepts, or raise HfRltError.

    `alone` accepts a single frame as a video, because nothing else was given.
    """
    frames, pictures = video, [video] if alone and _is_frame(video) else video
    if isinstance(pictures, (list, tuple)) and pictures and not isinstance(pictures[0], Number):
        frames = _stacked([_picture(frame, place, rgb) for place, frame in enumerate(pictures, start=1)])
    if not is_array(frames):
        raise _refusal("a video", video, _to_do(video))
    if not _is_real(frames):
        raise _refusal("dense frames of real numbers", video, "convert them, such as to uint8")
    if frames.ndim == 4 and 0 in frames.shape:
        raise _refusal("at least one frame with pixels", video, "leave it out")
    axes = (1, 3) if layout is None else (1,) if layout == "channels_first" else (3,)
    # Given the layout, transformers accepts four channels, the last of which is transparency.
    if frames.ndim != 4 or not {1, 3, 4 if layout else 1} & {frames.shape[axis] for axis in axes}:
        coloured = frames.ndim == 4 and min(frames.shape[1], frames.shape[3]) < 6
        to_do = "convert them to RGB" if coloured else "add the axis of time, frame[None], or of channels"
        raise _refusal(f"frames {layout or LAYOUTS} of 1 or 3 channels", video, to_do)
    return _plain(frames)


def _is_real(frames: Any) -> bool:
    """Return whether an array or tensor is dense and of real numbers, so that torch can resize it."""
    if isinstance(frames, np.ndarray):
        return frames.dtype.kind in "buif" and frames.dtype.itemsize <= 8
    return frames.layout == torch.strided and not frames.is_quantized and not frames.dtype.is_complex


def _plain(frames: Any) -> Any:
    """Return an array that torch takes without a warning: native byte order, contiguous, writable."""
    if isinstance(frames, Tensor):
        return frames
    return np.require(np.asarray(frames), frames.dtype.newbyteorder("="), ["C", "W"])


def _picture(frame: Any, place: int, rgb: bool | None) -> Any:
    """Return a frame, or the picture in a file, as an array or tensor. Drops transparency, as is done for videos."""
    where = f" as frame {place}"
    if is_array(frame):
        if not _is_real(frame):
            raise _refusal("dense frames of real numbers", frame, "convert them, such as to uint8", where)
        return _plain(frame)
    if isinstance(frame, Image.Image) and frame.mode.partition(";")[0] in _DEEP_MODES:
        raise _refusal("pictures of 8 bits", frame, "scale it to 0..255 and convert it to RGB", where)
    try:
        if is_web(frame):
            with download(frame) as file:
                return np.array(load_image(Image.open(file)))
        if isinstance(frame, str):
            return np.array(load_image(frame))
        return np.array(frame.convert("RGB") if rgb else frame)
    except Exception as error:  # on damaged pictures PIL raises errors of any type
        where += f" ({' '.join(str(error).split())})"
        raise _refusal("pictures that can be read", frame, "leave it out or convert it to RGB", where) from error


def _stacked(frames: list[Any]) -> Any:
    """Stack frames of one size into an array, or into a tensor if any of them is one."""
    alike = [(tuple(frame.shape), str(getattr(frame, "device", "cpu"))) for frame in frames]
    for place, frame in enumerate(frames):
        if alike[place] != alike[0]:
            where = f" as frame {place + 1} after {described(frames[0])}"
            raise _refusal("frames of one size on one device", frame, "resize or move them", where)
    if any(isinstance(frame, Tensor) for frame in frames):
        return torch.stack([torch.as_tensor(frame) for frame in frames])
    return np.stack(frames)


def _refusal(expected: str, received: Any, to_do: str, where: str = "") -> HfRltError:
    return HfRltError(f"Expected {expected}, received {described(received)}{where}: {to_do}.")


def _to_do(video: Any) -> str:
    if isinstance(video, io.TextIOBase):
        return 'open the file with mode "rb"'
    if isinstance(video, dict):
        return "pass the video in it, or give it a path or bytes"
    if isinstance(video, Image.Image):
        return "pass the frames of each video as a list of their own"
    if isinstance(video, (list, tuple)):
        return "make it an array, np.asarray(video)" if video else "leave it out"
    return "make it a list" if isinstance(video, (set, frozenset)) or hasattr(video, "__next__") else TO_PASS


def described(video: Any) -> str:
    """Describe what was received in a few words on one line."""
    if isinstance(video, Tensor) and video.is_nested:
        return "a nested tensor"
    if is_array(video):
        device = "" if isinstance(video, np.ndarray) or video.device.type == "cpu" else f" on {video.device}"
        kind = "an array" if isinstance(video, np.ndarray) else "a tensor"
        return f"{kind} of shape {tuple(video.shape)} and type {video.dtype}{device}"
    if isinstance(video, Image.Image):
        return f"a PIL image of mode {video.mode}, {video.width} x {video.height}"
    if isinstance(video, dict):
        return f"a dict of {list(video)}"[:80]
    if isinstance(video, (list, tuple)) and video:
        return f"a {type(video).__name__} of {len(video)} that begins with {described(video[0])}"
    if video is None or isinstance(video, (str, Number, list, tuple)):
        return repr(video)[:80]
    return f"an object of type {type(video).__module__}.{type(video).__qualname__}"


@contextmanager
def numbered(place: int, number: int) -> Iterator[None]:
    """Say in the message of an error which of several videos it is about."""
    try:
        yield
    except HfRltError as error:
        raise HfRltError(f"Video {place + 1} of {number}: {error}" if number > 1 else str(error)) from error


def as_metadata(given: Any, lengths: list[int], sampled: bool) -> list[VideoMetadata]:
    """Return the metadata of each video as a `VideoMetadata`, or raise HfRltError if it does not fit the videos.

    `given` is a mapping or `VideoMetadata`, or a list of one for each video; `lengths` are the videos' numbers of frames. If
    frames are `sampled` by it, it must not count more than there are.
    """
    entries = given if isinstance(given, list) else [given]
    entries = [entry for part in entries for entry in (part if isinstance(part, list) else [part])]
    if len(entries) != len(lengths):
        raise HfRltError(f"Expected video_metadata of each of {len(lengths)} videos, received {len(entries)}.")
    for place, (entry, length) in enumerate(zip(entries, lengths, strict=True)):
        with numbered(place, len(lengths)):
            try:
                entries[place] = entry if isinstance(entry, VideoMetadata) else VideoMetadata(**entry)
            except TypeError as error:
                raise HfRltError(f"Expected video_metadata, received {described(entry)} ({error}).") from error
            total = entries[place].total_num_frames
            if sampled and not (isinstance(total, int) and 0 < total <= length):
                raise HfRltError(f"Expected total_num_frames of {length} in video_metadata, received {total!r}.")
    return entries


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
