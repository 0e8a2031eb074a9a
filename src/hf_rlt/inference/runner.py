# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Compute the scores and features of batches, and keep the device busy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data.eval_dataset import crop_pixels
from ..errors import HfRltError
from ..models.packing import packed_layout
from ..models.tubelets import join_tubelets
from .decoder import Options, view_grid, view_size
from .exported import ExportedClassifier


def score_kind(config: Any) -> str:
    """Say how scores are made of logits: by "softmax", "sigmoid", or "none" where they are the logits."""
    if config.problem_type == "multi_label_classification":
        return "sigmoid"
    return "softmax" if config.problem_type != "regression" and config.num_labels > 1 else "none"


def best_scores(logits: Tensor, config: Any, top_k: int) -> list[list[tuple[str, float]]]:
    """Turn logits `(B, K)` into the best (label, score) pairs of each clip."""
    kind = score_kind(config)
    scores = logits.softmax(-1) if kind == "softmax" else logits.sigmoid() if kind == "sigmoid" else logits
    best = scores.topk(min(top_k, scores.shape[-1]))
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [[(config.id2label[i], score) for i, score in zip(*row, strict=True)] for row in rows]


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
        processor: its `RLTVideoProcessor`.
        options: see `Options`.

    Attributes:
        delay: batches to launch before the results of one are fetched: 1 on a GPU, so that it never waits.

    Raises:
        HfRltError: if neither scores nor features would come out.
    """

    def __init__(self, network: Any, processor: Any, options: Options) -> None:
        self.network, self.processor, self.options = network.eval(), processor, options
        self.classifies = network.base_model is not network
        if not self.classifies and options.features is None:
            raise HfRltError("Expected a classifier, received a model without a trained head: ask for features.")
        if options.features is not None and isinstance(network, ExportedClassifier):
            raise HfRltError(
                "Expected a model with its weights for features, received an exported one: it has scores alone."
            )
        self.device, self.dtype = network.device, network.dtype
        self.asynchronous = self.device.type == "cuda"
        self.delay = int(self.asynchronous)

    @torch.inference_mode()
    def launch(self, videos: Sequence[tuple[Tensor, Tensor]]) -> PendingBatch:
        """Start to compute a batch of (tubelets, run lengths); their memory may be reused afterwards."""
        counts = [(runs > 0).sum(-1).tolist() for _, runs in videos]
        left = [sum(self.network.config.token_counts(count)[-1] for count in views) for views in counts]
        tubelets, runs = zip(*videos, strict=True)
        tensors = self._compute(self._joined(tubelets), self._joined(runs).view(len(runs), *runs[0].shape))
        on_host = {name: tensor.to("cpu", non_blocking=self.asynchronous) for name, tensor in tensors.items()}  # pinned
        event = torch.cuda.Event() if self.asynchronous else None
        if event is not None:
            event.record()
        return PendingBatch(on_host, left, runs[0].numel(), event)

    def fetch(self, pending: PendingBatch) -> list[Prediction]:
        """Wait for a batch, and return a prediction for each of its videos."""
        if pending.event is not None:
            pending.event.synchronize()
        found = pending.tensors
        computed = found["computed"].tolist()
        logits, features = (found.get(name, [None] * len(computed)) for name in ("logits", "features"))
        scores = best_scores(found["logits"], self.network.config, self.options.top_k) if self.classifies else logits
        tokens = [pending.tokens] * len(computed)
        return list(map(Prediction, scores, logits, computed, pending.tokens_left, tokens, features))

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Join tensors on the device."""
        shape = (sum(map(len, parts)), *parts[0].shape[1:])
        joined = torch.empty(shape, dtype=parts[0].dtype, pin_memory=self.asynchronous)
        torch.cat(list(parts), out=joined)
        return joined.to(self.device, non_blocking=self.asynchronous)

    def _compute(self, tubelets: Tensor, runs: Tensor) -> dict[str, Tensor]:
        (batch, views), features = runs.shape[:2], self.options.features
        runs, whole = runs.flatten(0, 1), features == "tokens"
        frames = tubelets.flatten(0, 1).movedim(1, -1)[None]  # as of one long clip of small frames
        normalised = crop_pixels(self.processor, frames).view(tubelets.shape).to(self.dtype)
        _, height, width = view_size(self.processor, self.options)
        grid = view_grid(self.processor, self.options)
        pixels = join_tubelets(normalised, packed_layout(runs), grid, height, width)
        encode = self.network.encode if self.classifies else self.network
        outputs = encode(pixels, run_lengths=runs, return_last_hidden_state=whole)
        tensors = {"computed": (outputs.run_lengths > 0).view(batch, -1).sum(1)}
        if self.classifies:
            pooled = outputs.pooler_output
            tensors["logits"] = self.network.classify_pooled(pooled, views if views > 1 else None).float()
        if features == "pooled":
            tensors["features"] = outputs.pooler_output.unflatten(0, (batch, views)).mean(1)
        elif whole:
            tokens = outputs.last_hidden_state.unflatten(0, (batch, views))
            tensors["features"] = tokens[:, 0] if views == 1 else tokens
        return tensors
