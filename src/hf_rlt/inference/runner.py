# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Compute the scores and features of batches, and keep the device busy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data.eval_dataset import crop_pixels
from ..errors import HfRltError
from .decoder import ViewConfig

FEATURES = ("pooled", "tokens")


@dataclass(frozen=True)
class Prediction:
    """What a model says about a video.

    Attributes:
        scores: (label, probability) pairs, the likeliest first; of a regression the numbers themselves. None without a
            classifier.
        logits: `(K,)` float32, of several views the logarithm of their mean probabilities; None without a classifier.
        tokens_computed, tokens_left, tokens: of all views together: those that the first block gets, those that the last one
            returns (fewer if blocks merge tokens), and all of them.
        features: `(D,)`, or the tokens' `(N, D)`, with several views `(V, N, D)`; None if they were not asked for.
    """

    scores: list[tuple[str, float]] | None
    logits: Tensor | None
    tokens_computed: int
    tokens_left: int
    tokens: int
    features: Tensor | None = None


@dataclass(frozen=True)
class PendingBatch:
    """A batch whose kernels may still be running."""

    tensors: dict[str, Tensor]
    tokens_left: list[int]
    tokens: int
    event: Any = None


class Runner:
    """A model, ready for batches.

    Args:
        network: a classifier, or the encoder alone.
        views: what its inputs are made of.
        top_k: number of scores in a prediction.
        features: "pooled", "tokens" or None.

    Attributes:
        delay: batches to launch before the results of one are fetched: 1 on a GPU, so that it never waits.

    Raises:
        HfRltError: if neither scores nor features would come out.
    """

    def __init__(self, network: Any, views: ViewConfig, top_k: int = 5, features: str | None = None) -> None:
        if features not in (None, *FEATURES):
            raise HfRltError(f"Expected features to be one of {', '.join(FEATURES)} or None, received {features!r}.")
        self.network, self.views, self.top_k, self.features = network.eval(), views, top_k, features
        self.classifies = network.base_model is not network
        if not self.classifies and features is None:
            raise HfRltError("Expected a classifier, received a model without a trained head: ask for features.")
        self.device, self.dtype = network.device, network.dtype
        self.asynchronous = self.device.type == "cuda"
        self.delay = int(self.asynchronous)

    @torch.inference_mode()
    def launch(self, videos: Sequence[tuple[Tensor, Tensor]]) -> PendingBatch:
        """Start to compute a batch of (frames, run lengths); their memory may be reused afterwards."""
        counts = [(runs > 0).sum(-1).tolist() for _, runs in videos]
        left = [sum(self.network.config.token_counts(count)[-1] for count in views) for views in counts]
        frames, runs = (self._batch(parts) for parts in zip(*videos, strict=True))
        tensors = self._compute(frames, runs)
        if not self.asynchronous:
            return PendingBatch({name: tensor.cpu() for name, tensor in tensors.items()}, left, runs[0].numel())
        on_host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}  # pinned
        event = torch.cuda.Event()
        event.record()
        return PendingBatch(on_host, left, runs[0].numel(), event)

    def fetch(self, pending: PendingBatch) -> list[Prediction]:
        """Wait for a batch, and return a prediction for each of its videos."""
        if pending.event is not None:
            pending.event.synchronize()
        found = pending.tensors
        computed = found["computed"].tolist()
        nothing: list[Any] = [None] * len(computed)
        logits = found["logits"].unbind() if self.classifies else nothing
        scores = self._scores(found["logits"]) if self.classifies else nothing
        features = found["features"].unbind() if self.features else nothing
        rows = zip(scores, logits, computed, pending.tokens_left, features, strict=True)
        return [Prediction(*row[:4], pending.tokens, row[4]) for row in rows]

    def _batch(self, parts: Sequence[Tensor]) -> Tensor:
        """Stack tensors on the device."""
        stacked = torch.empty((len(parts), *parts[0].shape), dtype=parts[0].dtype, pin_memory=self.asynchronous)
        torch.stack(list(parts), out=stacked)
        return stacked.to(self.device, non_blocking=self.asynchronous)

    def _compute(self, frames: Tensor, runs: Tensor) -> dict[str, Tensor]:
        batch, views = runs.shape[:2]
        pixels = crop_pixels(self.views.processor, frames.flatten(0, 1)).to(self.dtype)
        outputs = self.network.base_model(
            pixels, run_lengths=runs.flatten(0, 1), return_last_hidden_state=self.features == "tokens"
        )
        tensors = {"computed": (outputs.run_lengths > 0).view(batch, -1).sum(1)}
        if self.classifies:
            pooled = outputs.pooler_output
            tensors["logits"] = self.network.classify_pooled(pooled, views if views > 1 else None).float()
        if self.features == "pooled":
            tensors["features"] = outputs.pooler_output.unflatten(0, (batch, views)).mean(1)
        elif self.features == "tokens":
            tokens = outputs.last_hidden_state.unflatten(0, (batch, views))
            tensors["features"] = tokens[:, 0] if views == 1 else tokens
        return tensors

    def _scores(self, logits: Tensor) -> list[list[tuple[str, float]]]:
        """Turn logits `(B, K)` into the best (label, score) pairs of each video."""
        config = self.network.config
        if config.problem_type == "multi_label_classification":
            logits = logits.sigmoid()
        elif config.problem_type != "regression" and config.num_labels > 1:
            logits = logits.softmax(-1)
        best = logits.topk(min(self.top_k, logits.shape[-1]))
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [[(config.id2label[i], score) for i, score in zip(*row, strict=True)] for row in rows]
