# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From a video to drawings of what RLT computes of its clips.

Decisions are made on the pixels the model sees; they are drawn on the same frames, read `scale` times larger.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import HfRltError
from ..models.runs import grid_size
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES, RLTVideoProcessor
from ..models.video_reader import VideoIndex, index_video, read_frames
from ..tokens.count import clip_indices, clip_rate
from .overlays import colour_runs, grey_dropped


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """A clip and what RLT computes of it at several thresholds.

    Attributes:
        frames: `(F, H, W, 3)` uint8, as the model sees them but `scale` times larger.
        thresholds: RLT's; None is dense.
        greyed: for each threshold `(F, H, W, 3)` uint8, the frames with what is not computed greyed out.
        heat: for each threshold the frames coloured by the length of their runs; empty unless asked for.
        run_lengths: `(thresholds, N)` int64.
        grid: `(T, H', W')` of the tubelets, T * H' * W' = N.
        fps: frames per second at which the frames follow each other in the video.
    """

    frames: np.ndarray
    thresholds: tuple[float | None, ...]
    greyed: list[np.ndarray]
    heat: list[np.ndarray]
    run_lengths: Tensor
    grid: tuple[int, int, int]
    fps: float

    @property
    def computed(self) -> list[float]:
        """Share of the tokens that each threshold computes."""
        return (self.run_lengths > 0).float().mean(1).tolist()


def draw_frames(
    frames: np.ndarray,
    processor: RLTVideoProcessor,
    thresholds: Sequence[float | None] = (0.1,),
    scale: int = 1,
    heat: bool = False,
    fps: float = 25.0,
) -> DrawnClip:
    """Returns the drawing of a clip that has been read.

    Args:
        frames: `(F, H, W, 3)` uint8 in the video's own size, as `read_clip` returns them.
        processor: says how the model sees them. Its own threshold is not used.
        thresholds: mean absolute differences of normalised pixels above which a tubelet is new; None for dense.
        scale: how many times larger than the model's frames those are that are drawn on.
        heat: whether to colour runs by their length; needs matplotlib.
        fps: frames per second, to be carried along.

    Raises:
        ValueError: without a threshold, for a scale below 1, or frames that hold no whole tubelet.
        ImportError: for `heat` without matplotlib, naming the remedy.
    """
    if not thresholds or scale < 1:
        raise HfRltError(f"Expected a threshold and a scale >= 1, received {list(thresholds)} and scale {scale}.")
    tubelet, patch = processor.tubelet_size, processor.patch_size
    pixels = _processed(processor, frames)
    grid = grid_size(pixels.shape, tubelet, patch)
    run_lengths = torch.cat([replace(processor.rule, threshold=threshold).find(pixels) for threshold in thresholds])
    shown = _shown(processor, frames, scale, pixels.shape[-2:])
    sides = [scale * side for side in ([patch, patch] if isinstance(patch, int) else patch)]
    greyed = [grey_dropped(shown, lengths, tubelet, sides) for lengths in run_lengths]
    coloured = [colour_runs(shown, lengths, tubelet, sides) for lengths in run_lengths] if heat else []
    return DrawnClip(shown, tuple(thresholds), greyed, coloured, run_lengths, grid, fps)


def draw_clip(
    video: Any,
    processor: RLTVideoProcessor,
    thresholds: Sequence[float | None] = (0.1,),
    scale: int = 1,
    start: float | None = None,
    heat: bool = False,
) -> DrawnClip:
    """Returns the drawing of one clip of a video.

    Args:
        video: a path, the bytes of a file, or a binary file.
        processor, thresholds, scale, heat: see `draw_frames`; the processor also says which frames make a clip.
        start: seconds into the video at which the clip begins; unless given it lies at the processor's `position`.

    Raises:
        ValueError, OSError, ImportError: if the video cannot be read or is shorter than `start`; as `draw_frames`.
    """
    frames, fps = read_clip(video, processor, start)
    return draw_frames(frames, processor, thresholds, scale, heat, fps)


def draw_video(
    video: Any,
    processor: RLTVideoProcessor,
    thresholds: Sequence[float | None] = (0.1,),
    scale: int = 1,
    start: float = 0.0,
    seconds: float = math.inf,
    heat: bool = False,
) -> Iterator[DrawnClip]:
    """Returns the drawings of a video's consecutive clips, from `start` on, one at a time.

    Each clip is drawn as the model would see it by itself; of the last one, filled up with the last frame where the video
    ends, only frames of the video are drawn.

    Args:
        video, processor, thresholds, scale, heat: see `draw_clip`.
        start: seconds into the video.
        seconds: how much of it.

    Raises:
        ValueError, OSError, ImportError: as `draw_clip`.
    """
    index = index_video(video)
    first = _first_frame(index, start)
    size = processor.num_frames or DEFAULT_NUM_FRAMES
    times = index.timestamps[first:]
    seconds = min(seconds, float(times[-1] - times[0]) + 1 / index.fps)
    begin: float | None = 0.0
    if processor.sampling == "uniform":  # one clip lies over all of the video
        wanted, begin = size, None
    elif processor.fps is not None:
        wanted = max(math.ceil(seconds * processor.fps - 1e-6), 1)
    else:
        wanted = -(-int(np.count_nonzero(times - times[0] < seconds - 1e-6)) // processor.frame_stride) or 1
    indices = clip_indices(index, processor, first, num_frames=-(-wanted // size) * size, position=begin)
    fps = clip_rate(index, indices[:wanted], processor)
    for done in range(0, len(indices), size):
        frames = read_frames(video, indices[done : done + size], index=index)
        clip = draw_frames(frames, processor, thresholds, scale, heat, fps)
        yield _cut(clip, wanted - done)


def read_clip(video: Any, processor: RLTVideoProcessor, start: float | None = None) -> tuple[np.ndarray, float]:
    """Returns the frames of one clip in the video's own size, `(F, H, W, 3)` uint8, and their rate per second.

    Args:
        video, processor, start: see `draw_clip`.

    Raises:
        ValueError, OSError: if the video cannot be read or is shorter than `start`.
    """
    index = index_video(video)
    first = 0 if start is None else _first_frame(index, start)
    indices = clip_indices(index, processor, first, position=None if start is None else 0.0)
    return read_frames(video, indices, index=index), clip_rate(index, indices, processor)


def _processed(processor: RLTVideoProcessor, frames: np.ndarray, **changes: Any) -> Tensor:
    """Returns `(1, F, C, H, W)`: what the processor makes of frames that have been sampled."""
    changes["do_sample_frames"] = False
    return processor([frames], input_data_format="channels_last", return_tensors="pt", **changes)["pixel_values"]


def _shown(processor: RLTVideoProcessor, frames: np.ndarray, scale: int, side: Sequence[int]) -> np.ndarray:
    """Returns the frames `(F, H, W, 3)` uint8 that the processor crops, `scale` times as large as `side` says."""
    changes: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
    for name in ("size", "crop_size") if processor.do_resize else ():
        sizes = getattr(processor, name) or {}
        changes[name] = {key: scale * value for key, value in dict(sizes).items() if value}
    larger = _processed(processor, frames, **{key: value for key, value in changes.items() if value != {}})[0]
    wanted = (scale * side[0], scale * side[1])
    if tuple(larger.shape[-2:]) != wanted:  # a processor that does not resize, or does not crop and rounds a side
        larger = F.interpolate(larger.float(), wanted, mode="bilinear", antialias=True).round().clamp(0, 255)
    return larger.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _first_frame(index: VideoIndex, start: float) -> int:
    if not 0 <= start <= index.timestamps[-1] + 1 / index.fps:
        raise HfRltError(f"Expected a start within the video's {index.duration:.2f} seconds, received {start:g}.")
    return max(int(np.searchsorted(index.timestamps, start + 5e-7, side="right")) - 1, 0)


def _cut(clip: DrawnClip, frames: int) -> DrawnClip:
    """Returns the clip with at most so many frames drawn."""
    if frames >= len(clip.frames):
        return clip
    greyed, heat = ([rows[:frames] for rows in pictures] for pictures in (clip.greyed, clip.heat))
    return replace(clip, frames=clip.frames[:frames], greyed=greyed, heat=heat)
