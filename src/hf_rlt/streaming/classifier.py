# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From the frames of a stream to predictions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import HfRltError
from ..inference.runner import best_scores
from .window import SlidingWindow, Window


@dataclass(frozen=True)
class StreamPrediction:
    """What a model says about a window of a stream.

    Attributes:
        scores: (label, probability) pairs, the likeliest first.
        seconds: time stamps of the window's first and last frame, or their numbers if frames came without.
        tokens_computed: of `tokens`.
        tokens: of the window.
        latency: seconds from when the window's last frame was pushed to this prediction.
        skipped: windows before this one that were skipped because the model was busy.
    """

    scores: list[tuple[str, float]]
    seconds: tuple[float, float]
    tokens_computed: int
    tokens: int
    latency: float
    skipped: int


class StreamClassifier:
    """Classifies a sliding window over a stream, every `hop` tubelets.

        classifier = StreamClassifier(*load(name))
        for frame in camera:  # (H, W, 3) uint8
            if (prediction := classifier.push(frame)) is not None:
                print(prediction.scores[0])

    Args:
        network: a classifier, as `hf_rlt.inference.loading.load` returns it, on its device.
        processor: of the model.
        hop: tubelets from one window to the next; half a clip unless given.
        top_k: number of scores of a prediction.

    Raises:
        HfRltError: for an encoder without a head; otherwise see `SlidingWindow`.
    """

    def __init__(self, network: Any, processor: Any, hop: int | None = None, top_k: int = 5) -> None:
        if network.base_model is network:
            raise HfRltError("Expected a classifier, received a model without a trained head: fine-tune it first.")
        self.network, self.top_k = network.eval(), top_k
        self.window = SlidingWindow(processor, hop)

    def push(self, frame: np.ndarray, seconds: float | None = None) -> StreamPrediction | None:
        """Add a frame, see `SlidingWindow.push`; return a prediction when one is due."""
        self.window.push(frame, seconds)
        found = self.window.take()
        return None if found is None else self.classify([found])[0]

    @torch.inference_mode()
    def classify(self, windows: Sequence[Window]) -> list[StreamPrediction]:
        """Classify windows, of one stream or of several, in one batch, which costs what their computed tokens do."""
        pixels = torch.stack([window.pixel_values for window in windows])
        runs = torch.stack([window.run_lengths for window in windows])
        device, dtype = self.network.device, self.network.dtype
        outputs = self.network(pixel_values=pixels.to(device, dtype), run_lengths=runs.to(device))
        scores = best_scores(outputs.logits.float(), self.network.config, self.top_k)
        now, computed = time.monotonic(), (outputs.run_lengths > 0).sum(1).tolist()
        return [
            StreamPrediction(best, window.seconds, count, runs.shape[1], now - window.arrived, window.skipped)
            for window, best, count in zip(windows, scores, computed, strict=True)
        ]
