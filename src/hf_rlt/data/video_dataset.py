# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decode the videos of a data set; report or skip those that cannot be read."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from av.error import FFmpegError
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import HfRltError, one_line
from .video_list import VideoList

IGNORED = -100  # label of an unreadable clip, which losses and metrics leave out
ON_BAD_VIDEO = ("raise", "skip")
VIDEO_ERRORS = (ValueError, OSError, FFmpegError)  # a video's fault; any other error is a bug or the machine's

logger = logging.getLogger(__name__)


class UnreadableClipError(HfRltError):
    """A video of a data set cannot be read; the message names it."""


def clip_seed(seed: int, epoch: int, index: int, repeat: int = 0) -> int:
    """Return the seed of a clip's random choices, which depends on its place, not on the process that reads it."""
    return int(np.random.SeedSequence([seed, epoch, index, repeat]).generate_state(1)[0])


def check_on_bad_video(on_bad_video: str) -> None:
    """Raise HfRltError unless `on_bad_video` is "raise" or "skip"."""
    if on_bad_video not in ON_BAD_VIDEO:
        raise HfRltError(f"Expected on_bad_video to be one of {ON_BAD_VIDEO}, received {on_bad_video!r}.")


def report_unreadable(error: Exception, on_bad_video: str, label: str, name: str, known: bool) -> None:
    """Raise UnreadableClipError with this label; or, if bad videos are skipped, warn by name unless it is known."""
    if on_bad_video == "raise":
        raise UnreadableClipError(
            f"{label} of the data set cannot be read: {one_line(error)} To go on without it: --on-bad-video skip."
        ) from error
    if not known:
        logger.warning(f"Skipped, it cannot be read: {name} ({one_line(error)})")


def source_name(source: Any, default: str) -> str:
    """Return a video's path, or `default` if it has none."""
    path = source.get("path") if isinstance(source, dict) else source
    return str(path) if path and isinstance(path, (str, os.PathLike)) else default


def blank_clip(processor: Any) -> Tensor:
    """Return `(F, C, H, W)` zeros in place of an unreadable video: one token for each patch position."""
    return torch.zeros(processor.clip_shape)


class VideoDataset(Dataset):
    """Base of `TrainDataset` and `EvalDataset`: decodes videos and records, across processes, which are unreadable.

    Attributes:
        cache: decoded frames of videos by index, which are used instead of reading them again.
    """

    def __init__(self, clips: VideoList, processor: Any, on_bad_video: str, cache_bytes: int) -> None:
        check_on_bad_video(on_bad_video)
        self.clips, self.processor, self.on_bad_video = clips, processor, on_bad_video
        self._cache_left = cache_bytes
        self.cache: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        """Return a readable name for a video: its path, or its place in the list."""
        return source_name(self.clips.sources[index], f"clip {index} of the data set")

    def unreadable(self) -> list[str]:
        """Name the videos that any loading process has failed to read so far."""
        return [self.name(int(index)) for index in self.clips.unreadable_mask.nonzero()]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        try:
            return self._load(index)
        except VIDEO_ERRORS as error:
            known = bool(self.clips.unreadable_mask[index])
            report_unreadable(error, self.on_bad_video, f"Clip {index}", self.name(index), known)
        self.clips.unreadable_mask[index] = True
        return self._placeholder(index)

    def _load(self, index: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def _placeholder(self, index: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def _decode(self, index: int, positions: Sequence[Any], *, resized: bool, use_cache: bool) -> np.ndarray:
        """Decode `(len(positions), F, H, W, 3)` frames, or take them from the cache."""
        if index in self.cache:
            return self.cache[index]
        frames = self.processor.decode(self.clips.sources[index], positions, resized)
        if use_cache and frames.nbytes <= self._cache_left:
            self._cache_left -= frames.nbytes
            self.cache[index] = frames
        return frames
