# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of a video classifier, as a metric of the `evaluate` library. Nothing is fetched."""

import datasets
import evaluate
import numpy as np

from hf_rlt.errors import HfRltError  # not relative: `evaluate.load` copies this file

IGNORED = -100
_DESCRIPTION = "Top-1, top-k and mean-class accuracy of class scores; references of -100 are left out."


class VideoAccuracy(evaluate.Metric):
    """Top-1, top-k and mean-class accuracy. `VideoAccuracy().compute(predictions=scores, references=labels)`.

    `predictions` are `(n, K)` scores of any scale, `references` `(n,)` class indices; those of -100 (videos that could not
    be read) are left out. Ties go to the lower class index. The same file can be loaded with
    `evaluate.load(hf_rlt.inference.metrics.__file__)`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **{"keep_in_memory": True, **kwargs})

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "predictions": datasets.Sequence(datasets.Value("float32")),
            "references": datasets.Value("int64"),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            features=datasets.Features(features),
            inputs_description=str(VideoAccuracy.__doc__),
        )

    def _compute(self, predictions, references, top_k: int = 5) -> dict:
        """Compute `accuracy`, `top_{k}_accuracy` (with more than k classes), `mean_class_accuracy`, `clips`, `per_class`.

        `per_class` maps a class index to (clips, correct clips); classes without clips are left out.

        Raises:
            HfRltError: if no clip is left.
        """
        scores, labels = np.asarray(predictions, dtype=np.float32), np.asarray(references)
        scores, labels = scores[labels != IGNORED], labels[labels != IGNORED]
        if not len(labels):
            raise HfRltError("Expected at least one clip with a label, received none: could any video be read?")
        ranking = np.argsort(-scores, axis=1, kind="stable")
        right = ranking[:, 0] == labels
        per_class = {int(k): (int((labels == k).sum()), int(right[labels == k].sum())) for k in np.unique(labels)}
        result = {
            "accuracy": float(right.mean()),
            "mean_class_accuracy": float(np.mean([hits / clips for clips, hits in per_class.values()])),
            "clips": len(labels),
            "per_class": per_class,
        }
        if scores.shape[1] > top_k:
            result[f"top_{top_k}_accuracy"] = float((ranking[:, :top_k] == labels[:, None]).any(1).mean())
        return result
