# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Analyse one clip for the Space: what RLT drops, then what the model predicts, and the time with and without RLT."""

import math
import os
import statistics
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hf_rlt import RLTVideoProcessor
from hf_rlt.drawing import draw_frames, plain_rows, read_clip, write_animation
from hf_rlt.hub.handler import EndpointHandler, check_limits, decoder_pixels
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import interleaved_times, timed
from hf_rlt.models.run_rule import RunRule
from hf_rlt.models.video_stream import Limits, open_stream

SHOWN_SIDE = 320  # pixels that one clip should be high on the page, at least
GAP = 8  # pixels between the clip and its twin
QUICK = 0.3  # seconds up to which a forward pass is measured three times


@dataclass(frozen=True)
class Analysis:
    """What is known of one clip at one threshold, or share of tokens: its picture at once, the rest when it was timed.

    Attributes:
        picture: an animation, the clip on the left and what RLT computes of it on the right.
        tokens: how many RLT computes.
        total: how many there are.
        longest_run: in tubelets.
        tubelets: how long a run can be.
        seconds: of one forward pass, "dense" and "RLT", the latter with finding the runs; empty until then.
        scores: label -> probability, with RLT.
        dense_label: top prediction without RLT.
    """

    picture: Path
    tokens: int
    total: int
    longest_run: int
    tubelets: int
    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    dense_label: str = ""


class Analyser:
    """Analyses clips with one model.

    Args:
        name: folder or Hub id of a classifier, see `hf_rlt.inference.loading.load`.

    Attributes:
        setting: of the rule that the slider changes: "threshold", or "num_tokens", as a share, if the model has it.
        least, start: lowest and first value of the slider.
    """

    def __init__(self, name: str | Path) -> None:
        model, self.processor = load(str(name))
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        self.limits = EndpointHandler.read_limits()
        self.model = model.eval().to(device)
        config, rule = model.config, model.config.run_rule
        if rule.num_tokens is None:
            self.setting, self.least, self.start = "threshold", 0.0, 0.1 if rule.threshold is None else rule.threshold
        else:
            self.setting, self.least = "num_tokens", math.ceil(100 / config.grid[0]) / 100  # the first tubelets
            self.start = max(self.least, round(config.budget_tokens / math.prod(config.grid), 2))
        self.scale = max(1, -(-SHOWN_SIDE // self.processor.crop_size["height"]))

    def __call__(self, video: str | Path, value: float, folder: str | Path) -> Iterator[Analysis]:
        """Analyse the clip in the middle of a video at a value of the slider; write its picture into `folder`.

        Yields:
            what the picture shows, at once; then everything, when the model has been timed.

        Raises:
            ValueError: with one sentence, if the video cannot be read, or is over the limits of the handler of
                Inference Endpoints.
            OSError: if the file cannot be opened.
        """
        frames, fps = read_once(str(video), os.stat(video).st_mtime_ns, self.processor, tuple(self.limits.items()))
        processor = copy(self.processor)
        setattr(processor, self.setting, float(value))
        rule = processor.run_rule
        drawn = draw_frames(frames, processor, (rule.threshold,), self.scale, fps=fps)
        lengths = drawn.run_lengths[0]
        found = Analysis(
            picture=write_animation(plain_rows(drawn, GAP), Path(folder) / f"{value:.3f}.gif", fps),
            tokens=int((lengths > 0).sum()),
            total=lengths.numel(),
            longest_run=int(lengths.max()),
            tubelets=drawn.grid[0],
        )
        yield found
        pixels = self.processor.pixels([frames]).to(self.model.device, self.model.dtype)
        config = self.model.config
        logits: dict[str, Tensor] = {}

        @torch.inference_mode()
        def forward(kind: str, by: RunRule) -> None:
            logits[kind] = self.model(pixels, run_lengths=by.find(pixels.float())).logits[0].float().softmax(-1)

        dense = rule.changed(threshold=None)
        seconds = measure({"dense": lambda: forward("dense", dense), "RLT": lambda: forward("RLT", rule)})
        best = logits["RLT"].topk(min(5, config.num_labels))
        yield replace(
            found,
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


def measure(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return the median seconds of each call: of three measurements in turn if they are quick, else of one."""
    slowest = max(timed(call)[0] for call in calls.values())  # also warms up
    times = interleaved_times(calls, repeats=3 if slowest < QUICK else 1, warmup=0)
    return {name: statistics.median(values) for name, values in times.items()}
