# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From the pixels of a batch to scores and features, the device kept busy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import HfRltError
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from .decoder import ViewConfig

FEATURES = ("pooled", "tokens")


@dataclass(frozen=True)
class Prediction:
    """What a model says of a video.

    Attributes:
        scores: (label, probability) pairs, the likeliest first; None of a model without a classifier. Of a regression the
            numbers themselves.
        tokens_computed, tokens: of all views together.
        features: `(D,)`, or of its tokens `(N, D)`, with several views `(V, N, D)`; None if they were not asked for.
    """

    scores: list[tuple[str, float]] | None
    tokens_computed: int
    tokens: int
    features: Tensor | None = None


@dataclass(frozen=True)
class PendingBatch:
    """A batch that the device may be working on still."""

    tensors: dict[str, Tensor]
    tokens: int
    event: Any = None


class Runner:
    """A model, ready for batches.

    Args:
        network: a classifier, or the encoder alone.
        views: what its inputs are made of.
        top_k: how many classes, if there are as many.
        features: "pooled", "tokens" or None.

    Attributes:
        delay: how many batches are to be launched before the results of one are fetched: on a device that computes by
            itself one more, so that it has something to do meanwhile.

    Raises:
        ValueError: if neither scores nor features would come out.
    """

    def __init__(self, network: Any, views: ViewConfig, top_k: int = 5, features: str | None = None) -> None:
        if features not in (None, *FEATURES):
            raise HfRltError(f"Expected features to be one of {', '.join(FEATURES)} or None, received {features!r}.")
        self.network, self.views, self.top_k, self.features = network.eval(), views, top_k, features
        self.classifies = isinstance(network, RLTVideoMAEForVideoClassification)
        if not self.classifies and features is None:
            raise HfRltError("Expected a classifier, received a model without a trained head: ask for features.")
        self.device, self.dtype = network.device, network.dtype
        self.asynchronous = self.device.type == "cuda"
        self.delay = int(self.asynchronous)

    @torch.inference_mode()
    def launch(self, clips: Sequence[tuple[Tensor, Tensor]]) -> PendingBatch:
        """Returns a batch under way; the memory of the clips may be used again."""
        pixels, runs = (self._batch(parts) for parts in zip(*clips, strict=True))
        tensors = self._compute(self.views.normalised(pixels).to(self.dtype), runs)
        if not self.asynchronous:
            return PendingBatch({name: tensor.cpu() for name, tensor in tensors.items()}, runs[0].numel())
        on_host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}  # pinned
        event = torch.cuda.Event()
        event.record()
        return PendingBatch(on_host, runs[0].numel(), event)

    def fetch(self, launched: PendingBatch) -> list[Prediction]:
        """Returns an answer for each clip of a batch; waits for it."""
        if launched.event is not None:
            launched.event.synchronize()
        found = launched.tensors
        computed = found["computed"].tolist()
        scores: list[Any] = [None] * len(computed)
        if self.classifies:
            names = self.network.config.id2label
            rows = zip(found["classes"].tolist(), found["probabilities"].tolist(), strict=True)
            scores = [[(names[i], score) for i, score in zip(*row, strict=True)] for row in rows]
        features = found["features"].unbind() if self.features else [None] * len(computed)
        answers = zip(scores, computed, features, strict=True)
        return [Prediction(score, tokens, launched.tokens, feature) for score, tokens, feature in answers]

    def _batch(self, parts: Sequence[Tensor]) -> Tensor:
        """Returns a batch on the device."""
        stacked = torch.empty((len(parts), *parts[0].shape), dtype=parts[0].dtype, pin_memory=self.asynchronous)
        torch.stack(list(parts), out=stacked)
        return stacked.to(self.device, non_blocking=self.asynchronous)

    def _compute(self, pixels: Tensor, runs: Tensor) -> dict[str, Tensor]:
        batch, views = runs.shape[:2]
        encoder = self.network.videomae if self.classifies else self.network
        flat = {"pixel_values": pixels.flatten(0, 1), "run_lengths": runs.flatten(0, 1)}
        outputs = encoder(**flat, return_last_hidden_state=self.features == "tokens")
        tensors = {"computed": (outputs.run_lengths > 0).view(batch, -1).sum(1)}
        if self.classifies:
            best = self._probabilities(outputs.pooler_output, views).topk(min(self.top_k, self.network.num_labels))
            tensors.update(probabilities=best.values, classes=best.indices)
        if self.features == "pooled":
            tensors["features"] = outputs.pooler_output.unflatten(0, (batch, views)).mean(1)
        elif self.features == "tokens":
            tokens = outputs.last_hidden_state.unflatten(0, (batch, views))
            tensors["features"] = tokens[:, 0] if views == 1 else tokens
        return tensors

    def _probabilities(self, pooled: Tensor, views: int) -> Tensor:
        logits = self.network.classify_pooled(pooled, views if views > 1 else None).float()
        problem = self.network.config.problem_type
        if problem == "multi_label_classification":
            return logits.sigmoid()
        return logits if problem == "regression" or self.network.num_labels == 1 else logits.softmax(-1)
