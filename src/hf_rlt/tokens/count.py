# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Count the tokens of one video, at several frame rates and thresholds."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.video_utils import VideoMetadata

from ..models.opened_video import open_video
from ..models.run_rule import RunRule
from ..models.sampling import view_positions
from ..models.video_index import VideoIndex
from ..models.video_processing_rlt import RLTVideoProcessor


@dataclass(frozen=True)
class CountConfig:
    """What to count.

    Attributes:
        processor: samples, resizes and cuts up clips; its rule counts, but for the threshold.
        fps: rates of clips, frames per second; None is the processor's own sampling.
        thresholds: RLT thresholds; None is dense. A processor's `num_tokens` ignores them.
        clips: number per video, evenly spread over it; one lies where the processor says.
    """

    processor: RLTVideoProcessor
    fps: tuple[float | None, ...] = (None,)
    thresholds: tuple[float | None, ...] = (0.1,)
    clips: int = 1

    @property
    def parts(self) -> list[tuple[float | None, float | None]]:
        """The (rate, threshold) pairs, in the order of the counts."""
        return [(rate, threshold) for rate in self.fps for threshold in self.thresholds]

    def rule(self, threshold: float | None) -> RunRule:
        """Return the processor's rule at a threshold."""
        return replace(self.processor.run_rule, threshold=threshold)

    @cached_property
    def digest(self) -> str:
        """Identifies all that counts depend on, except rate and threshold."""
        settings = {**processor_settings(self.processor), "clips": self.clips}
        settings.pop("threshold")
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def processor_settings(processor: RLTVideoProcessor) -> dict[str, Any]:
    """Return the settings that results depend on: not where a processor was loaded from, or who saved it."""
    others = ("auto_map", "processor_class", "transformers_version")
    return {name: value for name, value in processor.to_dict().items() if name not in others}


@dataclass(frozen=True)
class TokenCount:
    """Tokens of one video at one rate and threshold (see `CountConfig`).

    Attributes:
        clips, frames: number of clips, and of frames in each.
        tokens_before: of a clip.
        tokens_after: computed with RLT, the mean over the clips.
        longest_run, longest_run_seconds: of all clips, in tubelets and seconds of the video.
        repeated_frames: frames, in all clips together, that repeat another because the video is shorter or slower than a
            clip. They cost RLT next to nothing, so the share says little about the video.
    """

    fps: float | None
    threshold: float | None
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


def count_video(video: Any, config: CountConfig) -> list[TokenCount]:
    """Count the tokens of a video for each of `config.parts`; index it once and decode each frame once.

    Args:
        video: a path, http(s) address, the bytes of a file or a binary file.
        config: what to count.
    """
    processor = config.processor
    with open_video(video) as reader:
        index = reader.index
        indices = np.stack([_sample(index, config, rate) for rate in config.fps])
        frames = processor.decode(reader, indices=indices.reshape(-1, indices.shape[-1]), resized=True)
    # Clip by clip, so that only one is held as floats.
    differences = [processor.run_rule.differences(processor.pixels(clip[None], do_resize=False)) for clip in frames]
    by_rate = dict(
        zip(config.fps, zip(indices, torch.cat(differences).chunk(len(config.fps)), strict=True), strict=True)
    )
    return [_count(index, config, rate, threshold, *by_rate[rate]) for rate, threshold in config.parts]


def sample_clip(index: VideoIndex, processor: RLTVideoProcessor, first: int = 0, **changes: Any) -> np.ndarray:
    """Return the frames `(F,)` int64 that the processor, or one with `changes`, takes of a video from `first` on."""
    metadata = VideoMetadata(total_num_frames=index.num_frames - first, fps=index.fps)
    return processor.sample_frames(metadata, timestamps=index.timestamps[first:], **changes) + first


def clip_rate(index: VideoIndex, indices: np.ndarray, processor: RLTVideoProcessor, fps: float | None = None) -> float:
    """Return the frames per second of a clip sampled by the processor, or at `fps`.

    Measured by time stamps, as rates may be uneven; in a video so short that frames repeat, the rate asked for.
    """
    fps = processor.fps if fps is None and processor.sampling == "clip" else fps
    if fps is not None:
        return float(fps)
    span = float(index.timestamps[indices[-1]] - index.timestamps[indices[0]])
    if span > 0 and len(np.unique(indices)) == len(indices):
        return (len(indices) - 1) / span
    if processor.sampling == "clip":
        return index.fps / processor.frame_stride
    return len(indices) / index.duration


def _sample(index: VideoIndex, config: CountConfig, rate: float | None) -> np.ndarray:
    """Return the frames `(clips, F)` of a video's clips at a rate."""
    processor = config.processor
    changes: dict[str, Any] = {"sampling": processor.sampling} if rate is None else {"sampling": "clip", "fps": rate}
    several = config.clips > 1
    positions = view_positions(config.clips, changes["sampling"]) if several else [processor.position]
    return np.stack([sample_clip(index, processor, position=position, **changes) for position in positions])


def _count(
    index: VideoIndex,
    config: CountConfig,
    rate: float | None,
    threshold: float | None,
    indices: np.ndarray,
    differences: Tensor,
) -> TokenCount:
    processor, run_lengths = config.processor, config.rule(threshold).run_lengths(differences)
    longest, tubelet = run_lengths.amax(1).tolist(), processor.tubelet_size
    rates = [clip_rate(index, clip, processor, rate) for clip in indices]
    seconds = max(run * tubelet / rate for run, rate in zip(longest, rates, strict=True))
    clips, frames = indices.shape
    return TokenCount(
        fps=rate,
        threshold=threshold,
        clips=clips,
        frames=frames,
        tokens_before=run_lengths.shape[1],
        tokens_after=int((run_lengths > 0).sum()) / clips,
        longest_run=max(longest),
        longest_run_seconds=min(seconds, index.duration),
        repeated_frames=sum(frames - len(np.unique(clip)) for clip in indices),
    )
