# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Analyse one clip for the Space: what RLT drops, what the model predicts, and the time with and without RLT."""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hf_rlt import RLTVideoProcessor
from hf_rlt.drawing import DrawnClip, draw_frames, read_clip, write_animation
from hf_rlt.hub.handler import EndpointHandler, check_limits, decoder_pixels
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import interleaved_times, timed
from hf_rlt.models.video_stream import Limits, open_stream

SHOWN_SIDE = 320  # pixels that one clip should be high on the page, at least
QUICK = 0.3  # seconds up to which a forward pass is measured three times


@dataclass(frozen=True)
class Analysis:
    """What is known of one clip at one threshold.

    Attributes:
        picture: an animation, the clip on the left and what RLT computes of it on the right.
        tokens: how many RLT computes.
        total: how many there are.
        longest_run: in tubelets.
        tubelets: how long a run can be.
        seconds: of one forward pass, "dense" and "RLT", the latter with finding the runs.
        scores: label -> probability, with RLT.
        dense_label: top prediction without RLT.
    """

    picture: Path
    tokens: int
    total: int
    longest_run: int
    tubelets: int
    seconds: dict[str, float]
    scores: dict[str, float]
    dense_label: str


class Analyser:
    """Analyses clips with one model.

    Args:
        name: folder or Hub id of a classifier, see `hf_rlt.inference.loading.load`.
    """

    def __init__(self, name: str | Path) -> None:
        model, self.processor = load(str(name))
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        self.limits = EndpointHandler.read_limits()
        self.model = model.eval().to(device)
        self.threshold = 0.1 if model.config.threshold is None else model.config.threshold
        self.scale = max(1, -(-SHOWN_SIDE // self.processor.crop_size["height"]))

    def __call__(self, video: str | Path, threshold: float, folder: str | Path) -> Analysis:
        """Analyse the clip in the middle of a video; write its picture into `folder`.

        Raises:
            ValueError: with one sentence, if the video cannot be read, or is over the limits of the handler of
                Inference Endpoints.
            OSError: if the file cannot be opened.
        """
        frames, fps = read_once(str(video), os.stat(video).st_mtime_ns, self.processor, tuple(self.limits.items()))
        drawn = draw_frames(frames, self.processor, (threshold,), self.scale, fps=fps)
        picture = write_animation(side_by_side(drawn), Path(folder) / f"{threshold:.3f}.gif", fps)
        pixels = self.processor.pixels([frames]).to(self.model.device, self.model.dtype)
        config, lengths = self.model.config, drawn.run_lengths[0]
        logits: dict[str, Tensor] = {}

        @torch.inference_mode()
        def forward(kind: str, at: float | None) -> None:
            runs = replace(config.run_rule, threshold=at).find(pixels.float())
            logits[kind] = self.model(pixels, run_lengths=runs).logits[0].float().softmax(-1)

        seconds = measure({"dense": lambda: forward("dense", None), "RLT": lambda: forward("RLT", threshold)})
        best = logits["RLT"].topk(min(5, config.num_labels))
        return Analysis(
            picture=picture,
            tokens=int((lengths > 0).sum()),
            total=lengths.numel(),
            longest_run=int(lengths.max()),
            tubelets=drawn.grid[0],
            seconds=seconds,
            scores={config.id2label[int(i)]: float(p) for p, i in zip(*best, strict=True)},
            dense_label=config.id2label[int(logits["dense"].argmax())],
        )


@lru_cache(maxsize=2)
def read_once(
    video: str, changed: int, processor: RLTVideoProcessor, limits: tuple[tuple[str, float], ...]
) -> tuple[np.ndarray, float]:
    """Return the clip's frames and rate; moving the slider does not decode the video again."""
    most = dict(limits)
    with open_stream(video, Limits(decoder_pixels(most))) as (container, stream):
        check_limits(container, stream, os.path.getsize(video), most)
    return read_clip(video, processor)


def side_by_side(drawn: DrawnClip, gap: int = 8) -> np.ndarray:
    """Return `(F, H, 2 * W + gap, 3)` uint8: the clip, and beside it what is computed at its first threshold."""
    between = np.full((*drawn.frames.shape[:2], gap, 3), 255, np.uint8)
    return np.concatenate([drawn.frames, between, drawn.greyed[0]], axis=2)


def measure(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return the median seconds of each call: of three measurements in turn if they are quick, else of one."""
    slowest = max(timed(call)[0] for call in calls.values())  # also warms up
    times = interleaved_times(calls, repeats=3 if slowest < QUICK else 1, warmup=0)
    return {name: statistics.median(values) for name, values in times.items()}
