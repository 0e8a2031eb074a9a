# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Draw what RLT computes of the clips of a video.

Runs are found on the pixels the model sees; they are drawn on the same frames, `scale` times larger.
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
from ..models.opened_video import open_video
from ..models.runs import grid_size, to_2tuple
from ..models.video_index import VideoIndex
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES, RLTVideoProcessor
from ..tokens.count import clip_rate, sample_clip
from .overlays import colour_runs, grey_dropped, reconstruct


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """A clip and what RLT computes of it at several thresholds.

    Attributes:
        frames: `(F, H, W, 3)` uint8, as the model sees them but `scale` times larger.
        rules: what each threshold drops, in words.
        greyed: for each threshold the frames with what is not computed greyed out.
        heat: for each threshold the frames coloured by the length of their runs; empty unless asked for.
        reconstructed: for each threshold the frames with every dropped tubelet as the token that stands for it; empty unless
            asked for.
        run_lengths: `(thresholds, N)` int64.
        grid: `(T, H', W')` of the tubelets, T * H' * W' = N.
        fps: frames per second at which the frames follow each other in the video.
    """

    frames: np.ndarray
    rules: tuple[str, ...]
    greyed: list[np.ndarray]
    heat: list[np.ndarray]
    reconstructed: list[np.ndarray]
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
    reconstructed: bool = False,
    fps: float = 25.0,
) -> DrawnClip:
    """Draw a clip that has been read.

    Args:
        frames: `(F, H, W, 3)` uint8 in the video's own size, as `read_clip` returns them.
        processor: resizes, crops and normalises them; its rule counts, but for the threshold.
        thresholds: RLT thresholds; None for dense. A processor's `num_tokens` ignores them.
        scale: enlarge the drawing by this factor.
        heat: also colour runs by their length; needs matplotlib.
        reconstructed: also show every dropped tubelet as the token that stands for it.
        fps: frames per second, passed on.
    """
    if not thresholds or scale < 1:
        raise HfRltError(f"Expected a threshold and a scale >= 1, received {list(thresholds)} and scale {scale}.")
    rule, pixels = processor.run_rule, processor.pixels(frames[None])
    rules, differences = [replace(rule, threshold=threshold) for threshold in thresholds], rule.differences(pixels)
    runs = torch.cat([each.run_lengths(differences) for each in rules])
    shown = _enlarged(frames, processor, scale, pixels.shape[-2:])
    tubelet, patch = rule.tubelet_size, [scale * side for side in to_2tuple(rule.patch_size)]
    greyed = [grey_dropped(shown, lengths, tubelet, patch) for lengths in runs]
    coloured = [colour_runs(shown, lengths, tubelet, patch) for lengths in runs] if heat else []
    filled = [reconstruct(shown, lengths, tubelet, patch) for lengths in runs] if reconstructed else []
    grid = grid_size(pixels.shape, tubelet, rule.patch_size)
    return DrawnClip(shown, tuple(each.describe() for each in rules), greyed, coloured, filled, runs, grid, fps)


def draw_clip(
    video: Any,
    processor: RLTVideoProcessor,
    thresholds: Sequence[float | None] = (0.1,),
    start: float | None = None,
    **options: Any,
) -> DrawnClip:
    """Draw one clip of a video, read as by `read_clip`; `options` are those of `draw_frames` from `scale` on."""
    frames, fps = read_clip(video, processor, start)
    return draw_frames(frames, processor, thresholds, fps=fps, **options)


def draw_video(
    video: Any,
    processor: RLTVideoProcessor,
    thresholds: Sequence[float | None] = (0.1,),
    start: float = 0.0,
    seconds: float = math.inf,
    **options: Any,
) -> Iterator[DrawnClip]:
    """Yield the drawings of a video's consecutive clips: of at most `seconds` of it, from the second `start` on.

    Each clip is drawn as the model would see it by itself. If the video ends in the middle of the last clip, only its
    frames of the video are drawn. `options` are those of `draw_frames` from `scale` on.
    """
    size = processor.num_frames or DEFAULT_NUM_FRAMES
    with open_video(video) as reader:
        index = reader.index
        first = _first_frame(index, start)
        times = index.timestamps[first:] - index.timestamps[first]
        seconds = min(seconds, float(times[-1]) + 1 / index.fps)
        position: float | None = 0.0
        if processor.sampling == "uniform":  # one clip is spread over all of the video
            wanted, position = size, None
        elif processor.fps is not None:
            wanted = max(math.ceil(seconds * processor.fps - 1e-6), 1)
        else:
            wanted = max(math.ceil(np.count_nonzero(times < seconds - 1e-6) / processor.frame_stride), 1)
        count = -(-wanted // size) * size  # of whole clips
        indices = sample_clip(index, processor, first, num_frames=count, position=position)
        fps = clip_rate(index, indices[:wanted], processor)
        for done in range(0, count, size):
            frames = processor.decode(reader, indices=indices[None, done : done + size])[0]
            clip, shown = draw_frames(frames, processor, thresholds, fps=fps, **options), slice(wanted - done)
            rows = (clip.greyed, clip.heat, clip.reconstructed)
            greyed, heat, filled = ([row[shown] for row in pictures] for pictures in rows)
            yield replace(clip, frames=clip.frames[shown], greyed=greyed, heat=heat, reconstructed=filled)


def read_clip(video: Any, processor: RLTVideoProcessor, start: float | None = None) -> tuple[np.ndarray, float]:
    """Read one clip in the video's own size, `(F, H, W, 3)` uint8, and its frames per second.

    Args:
        video: a path, http(s) address, the bytes of a file, or a binary file.
        processor: samples the clip.
        start: second of the video at which the clip begins; by default it lies at the processor's `position`.
    """
    with open_video(video) as reader:
        first, position = (0, None) if start is None else (_first_frame(reader.index, start), 0.0)
        indices = sample_clip(reader.index, processor, first, position=position)
        return processor.decode(reader, indices=indices[None])[0], clip_rate(reader.index, indices, processor)


def _enlarged(frames: np.ndarray, processor: RLTVideoProcessor, scale: int, size: Sequence[int]) -> np.ndarray:
    """Resize and crop frames as the processor does, `scale` times as large as the `size` of the model's."""
    changes: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
    for name in ("size", "crop_size") if processor.do_resize else ():
        sides = {key: scale * value for key, value in dict(getattr(processor, name) or {}).items() if value}
        changes |= {name: sides} if sides else {}
    larger = processor.pixels(frames[None], **changes)[0]
    wanted = (scale * size[0], scale * size[1])
    if tuple(larger.shape[-2:]) != wanted:  # a processor that does not resize, or does not crop and rounds a side
        larger = F.interpolate(larger.float(), wanted, mode="bilinear", antialias=True).round().clamp(0, 255)
    return larger.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _first_frame(index: VideoIndex, start: float) -> int:
    """Return the frame on display at a second of the video."""
    if not 0 <= start <= index.timestamps[-1] + 1 / index.fps:
        raise HfRltError(f"Expected a start within the video's {index.duration:.2f} seconds, received {start:g}.")
    return max(int(np.searchsorted(index.timestamps, start + 5e-7, side="right")) - 1, 0)
