# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The tokens of one video, at several frame rates and thresholds."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.sampling import view_positions
from ..models.video_processing_rlt import RLTVideoProcessor
from ..models.video_reader import VideoIndex, index_video, read_frames
from .timing import clip_indices, clip_rate

PIXEL_BYTES = 128 << 20  # of decoded frames held at once; each is resized before the next ones are read


@dataclass(frozen=True)
class CountConfig:
    """What is to be counted.

    Attributes:
        processor: says how clips are made and cut up; its own threshold is not used.
        fps: rates of clips, frames per second; None is the processor's own sampling.
        thresholds: mean absolute differences of normalised pixels above which a tubelet is new.
        clips: of each video, evenly spread over it; one is its middle.
    """

    processor: RLTVideoProcessor
    fps: tuple[float | None, ...] = (None,)
    thresholds: tuple[float, ...] = (0.1,)
    clips: int = 1

    @property
    def parts(self) -> list[tuple[float | None, float]]:
        """The (rate, threshold) pairs, in the order in which they are answered."""
        return [(rate, threshold) for rate in self.fps for threshold in self.thresholds]

    @cached_property
    def digest(self) -> str:
        """Stands for all that the answer depends on, but for rate and threshold."""
        settings = {**self.processor.to_dict(), "clips": self.clips}
        for name in ("threshold", "transformers_version", "processor_class"):
            settings.pop(name, None)
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TokenCount:
    """Tokens of one video at one rate and threshold.

    Attributes:
        fps: of the clips, frames per second; None for the processor's own sampling.
        threshold: RLT's.
        clips, frames: how many clips were looked at, and how many frames each has.
        tokens_before: of a clip.
        tokens_after: that RLT computes, the mean over the clips.
        longest_run: in tubelets, of all clips.
        longest_run_seconds: how much of the video that is.
        repeated_frames: frames, of all clips together, that stand for no moment of their own, because the video is shorter
            or slower than a clip. They cost RLT next to nothing, so the share says little about the video.
    """

    fps: float | None
    threshold: float
    clips: int
    frames: int
    tokens_before: int
    tokens_after: float
    longest_run: int
    longest_run_seconds: float
    repeated_frames: int

    @property
    def share(self) -> float:
        """Computed tokens, of all."""
        return self.tokens_after / self.tokens_before


def count_video(video: str | Path, question: CountConfig) -> list[TokenCount]:
    """Returns a count for each of `question.parts`; the video is indexed once and each frame decoded once.

    Args:
        video: a path; also the bytes of a file or a binary file.
        question: what to count.

    Raises:
        ValueError, OSError: if the video cannot be read.
    """
    index = index_video(video)
    views = [_views(index, question, rate) for rate in question.fps]
    wanted, places = np.unique(np.concatenate([clip for clips in views for clip in clips]), return_inverse=True)
    pixels = torch.cat(list(_processed(video, index, question.processor, wanted)))
    rows = iter(places.reshape(-1, len(views[0][0])))
    counts = []
    for rate, clips in zip(question.fps, views, strict=True):
        differences = [_differences(pixels[torch.from_numpy(next(rows))], question.processor) for _ in clips]
        counts += [
            _count(
                index,
                question,
                rate,
                threshold,
                clips,
                [replace(question.processor.rule, threshold=threshold).run_lengths(each) for each in differences],
            )
            for threshold in question.thresholds
        ]
    return counts


def _views(index: VideoIndex, question: CountConfig, rate: float | None) -> list[np.ndarray]:
    """Returns the frames of each clip of a video at a rate."""
    processor = question.processor
    changes: dict[str, Any] = {} if rate is None else {"fps": rate, "sampling": "clip"}
    sampling = changes.get("sampling", processor.sampling)
    positions = [processor.position] if question.clips == 1 else view_positions(question.clips, sampling)
    return [clip_indices(index, processor, position=position, **changes) for position in positions]


def _processed(video: Any, index: VideoIndex, processor: Any, wanted: np.ndarray) -> Iterator[Tensor]:
    """Returns `(frames, C, H, W)` of the wanted frames, ascending, a part at a time."""
    size = max(PIXEL_BYTES // (3 * index.height * index.width), 1)
    for begin in range(0, len(wanted), size):
        frames = read_frames(video, wanted[begin : begin + size], index=index)
        # A part need not hold a whole tubelet of the clip.
        options: dict[str, Any] = {"do_sample_frames": False, "input_data_format": "channels_last", "tubelet_size": 1}
        yield processor([frames], return_tensors="pt", **options)["pixel_values"][0]


def _differences(clip: Tensor, processor: Any) -> Tensor:
    return processor.rule.differences(clip[None])


def _count(
    index: VideoIndex,
    question: CountConfig,
    rate: float | None,
    threshold: float,
    clips: list[np.ndarray],
    run_lengths: list[Tensor],
) -> TokenCount:
    tubelet = question.processor.tubelet_size
    seconds = [
        int(lengths.max()) * tubelet / clip_rate(index, clip, question.processor, rate)
        for clip, lengths in zip(clips, run_lengths, strict=True)
    ]
    return TokenCount(
        fps=rate,
        threshold=threshold,
        clips=len(clips),
        frames=len(clips[0]),
        tokens_before=run_lengths[0].numel(),
        tokens_after=sum(int((lengths > 0).sum()) for lengths in run_lengths) / len(clips),
        longest_run=max(int(lengths.max()) for lengths in run_lengths),
        longest_run_seconds=min(max(seconds), index.duration),
        repeated_frames=sum(len(clip) - len(np.unique(clip)) for clip in clips),
    )
