# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Analyse one clip for the Space: what RLT drops, then what the model predicts, and the time with and without RLT."""

import math
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_rlt import RLTVideoProcessor
from hf_rlt.drawing import draw_frames, plain_rows, read_clip, write_animation
from hf_rlt.hub.handler import EndpointHandler, check_limits, decoder_pixels
from hf_rlt.inference.measure import analytic_flops, interleaved_times, timed
from hf_rlt.models.run_rule import RunRule
from hf_rlt.models.runs import to_2tuple
from hf_rlt.models.video_stream import Limits, open_stream

SHOWN_SIDE = 320  # pixels that one clip should be high on the page, at least
GAP = 8  # pixels between the clip and its twin
MOST_FLOPS = 4e12  # of a dense forward pass: about a minute on two cores
QUICK = 0.3  # seconds up to which a forward pass is measured three times


@dataclass(frozen=True)
class Analysis:
    """What is known of a clip under one rule. The picture comes first, the rest once the model has been timed.

    Attributes:
        picture: a video, the clip on the left and what RLT computes of it on the right.
        rule: what is dropped, in words.
        token: the frames and pixels of one token, `(frames, height, width)`.
        tokens: how many of them each computes, "dense" and "rlt".
        flops: the operations of their forward passes.
        seconds: of one forward pass each, that of RLT with finding the runs; empty until then.
        scores: label -> probability, with RLT.
        dense_label: top prediction without RLT.
    """

    picture: Path
    rule: str
    token: tuple[int, int, int]
    tokens: dict[str, int]
    flops: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    dense_label: str = ""


class Analyser:
    """Analyses clips with one model.

    Args:
        model: a classifier.
        processor: the model's.

    Raises:
        ValueError: if one clip would keep a CPU too long.
    """

    def __init__(self, model: Any, processor: RLTVideoProcessor) -> None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        self.limits = EndpointHandler.read_limits()
        self.model, self.processor = model.eval().to(device), processor
        self.scale = max(1, -(-SHOWN_SIDE // model.config.clip_shape[2]))
        flops = analytic_flops(model.config, math.prod(model.config.grid))
        if flops > MOST_FLOPS and self.model.device.type == "cpu":  # others are waiting
            raise ValueError(
                f"expected at most {MOST_FLOPS / 1e12:g} TFLOP per clip, found {flops / 1e12:.1f}: run the page yourself."
            )

    def __call__(
        self, video: str | Path, settings: Mapping[str, Any], folder: str | Path, heat: bool = False
    ) -> Iterator[Analysis]:
        """Analyse the clip in the middle of a video; write its picture into `folder`.

        Args:
            video: a file.
            settings: of the rule, in place of the processor's; too few tokens are raised to the least possible.
            folder: where the picture goes.
            heat: whether runs are coloured by their length, rather than what is dropped turned to grey.

        Yields:
            what the picture shows, at once; then everything, when the model has been timed.

        Raises:
            ValueError: with one sentence, if the video cannot be read, or is over the limits of the handler of
                Inference Endpoints.
            OSError: if the file cannot be opened.
        """
        frames, fps = read_once(str(video), os.stat(video).st_mtime_ns, self.processor, tuple(self.limits.items()))
        processor, config = copy(self.processor), self.model.config
        for name, value in settings.items():
            budget = name in ("max_tokens", "num_tokens") and value is not None
            setattr(processor, name, max(value, 1 / config.grid[0]) if budget else value)  # the first tubelets
        rule = processor.run_rule
        drawn = draw_frames(frames, processor, (rule.threshold,), self.scale, heat, fps=fps)
        lengths = drawn.run_lengths[0]
        tokens = {"dense": lengths.numel(), "rlt": int((lengths > 0).sum())}
        found = Analysis(
            picture=write_animation(plain_rows(drawn, heat, GAP), Path(folder) / "clip.mp4", fps),
            rule=rule.describe(),
            token=(rule.tubelet_size, *to_2tuple(rule.patch_size)),
            tokens=tokens,
            flops={kind: analytic_flops(config, count) for kind, count in tokens.items()},
        )
        yield found
        pixels = self.processor.pixels([frames]).to(self.model.device, self.model.dtype)
        logits: dict[str, Tensor] = {}

        @torch.inference_mode()
        def forward(kind: str, by: RunRule) -> None:
            logits[kind] = self.model(pixels, run_lengths=by.find(pixels.float())).logits[0].float().softmax(-1)

        dense = rule.changed(threshold=None, rule="threshold")
        seconds = measure({"dense": lambda: forward("dense", dense), "rlt": lambda: forward("rlt", rule)})
        best = logits["rlt"].topk(min(5, config.num_labels))
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
