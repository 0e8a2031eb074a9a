# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Multi-view evaluation: prediction plus a metric, each video counted once, on any number of processes."""

import csv
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import EvalPrediction, PreTrainedModel

from ..data import UnreadableClipError, VideoList
from ..data.eval_dataset import warn_of_equal_crops
from ..data.video_dataset import IGNORED, check_on_bad_video, report_unreadable, source_name
from ..errors import HfRltError
from ..jobs.worker_pool import Failure, Task
from ..models.run_rule import rule_settings
from .decoder import Options, VideoJob
from .metrics import VideoAccuracy
from .pipeline import ALONE, Rank, run
from .runner import Prediction, Runner

IGNORED_OUTPUTS = ["hidden_states", "attentions"]  # of the model; the run lengths stay, to count tokens
FORMULA = re.compile(r"(?![+-]?\d+(\.\d+)?$)(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")  # but not numbers


def logits_and_tokens(outputs: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and, for each clip, the share of its tokens that were computed: small enough to be gathered.

    For `Trainer(preprocess_logits_for_metrics=...)` with `ignore_keys=IGNORED_OUTPUTS`.
    """
    logits, run_lengths = outputs[0], outputs[1]
    return logits, (run_lengths > 0).flatten(1).float().mean(1)


class ClipMetrics:
    """`compute_metrics` of a `Trainer`: accuracies, share of tokens, clips, unreadable clips.

    Attributes:
        per_class: (name, clips, top-1 accuracy) of the last evaluation, classes without clips left out.

    Args:
        names: class names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.per_class: list[tuple[str, int, float]] = []
        self._metric = VideoAccuracy()

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Compute the metrics of (logits, shares of tokens) and labels."""
        scores, tokens = prediction.predictions
        labels = prediction.label_ids
        if (labels < 0).all():
            raise UnreadableClipError(f"None of the {len(labels)} videos to evaluate on can be read.")
        result = self._metric.compute(predictions=scores, references=labels)
        per_class = result.pop("per_class")
        self.per_class = [(self.names[k], clips, hits / clips) for k, (clips, hits) in per_class.items()]
        readable = labels >= 0
        tokens_computed = float(tokens[readable].mean())
        return {**result, "tokens_computed": tokens_computed, "unreadable": int((~readable).sum())}


def evaluate_model(
    model: PreTrainedModel,
    processor: Any,
    clips: VideoList,
    options: Options | None = None,
    on_bad_video: str = "raise",
    rank: Rank = ALONE,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Return the results of a multi-view evaluation, the same on every process.

    Args:
        model: a video classifier, on the device.
        processor: its `RLTVideoProcessor`; its frames and threshold are used.
        clips: what to evaluate on, with the model's classes.
        options: see `Options`. Views: 5 x 3 for Kinetics, 2 x 3 for Something-Something.
        on_bad_video: "raise", or "skip" and report.
        rank: which of several processes this is; the clips are dealt out to them.
        on_progress: called with (videos done, all of them) of this process.

    Keys: accuracy, top_5_accuracy (with more than five classes), mean_class_accuracy, tokens_computed, clips, unreadable,
    clips_per_second (from file to score), num_clips, num_crops, token_keep_ratio, num_frames, per_class, the rule's.

    Raises:
        UnreadableClipError: for a bad video, unless it is to be skipped.
        HfRltError: if no clip can be read.

    Source: VideoMAE's test protocol (5 x 3 views for Kinetics-400, 2 x 3 for Something-Something V2).
    """
    check_on_bad_video(on_bad_video)
    options, start, metrics = options or Options(), time.perf_counter(), ClipMetrics(clips.names)
    warn_of_equal_crops(processor, options.num_crops)
    paths = isinstance(clips.sources, list)  # rows of a data set are read, lazily, where they are decoded

    def report(job: VideoJob, failure: Failure) -> None:
        name = source_name(clips.sources[job.index], f"clip {job.index} of the data set")
        report_unreadable(HfRltError(failure.reason), on_bad_video, f"Clip {job.index}", name, known=False)

    own = range(rank.rank, len(clips), rank.ranks)
    tasks = (Task(VideoJob(str(clips.sources[index]) if paths else None, index)) for index in own)
    rows, done = [], 0
    runner, sources = Runner(model, processor, options), None if paths else clips.sources
    for batch in run(tasks, runner, rank.ranks, sources, report):
        for task in batch.tasks:
            found = task.result
            if isinstance(found, Prediction) and found.logits is not None:
                rows.append((task.item.index, found.logits.numpy(), found.tokens_computed / found.tokens))
        done += len(batch.tasks)
        on_progress(done, len(own))
    scores = np.zeros((len(clips), model.config.num_labels), np.float32)
    shares, labels = np.zeros(len(clips)), np.full(len(clips), IGNORED)
    for index, logits, share in rank.gather(rows):
        scores[index], shares[index], labels[index] = logits, share, clips.labels[index]
    result: dict[str, Any] = metrics(EvalPrediction((scores, shares), labels))
    result["clips_per_second"] = len(clips) / (time.perf_counter() - start)
    result |= {name: getattr(options, name) for name in ("num_clips", "num_crops", "token_keep_ratio")}
    # A configuration may say more: a processor's rule does not know of tokens that the model itself chooses.
    owner = model.config if model.config.run_rule == processor.run_rule else processor
    result |= rule_settings(owner) | {"num_frames": processor.num_frames}
    result["per_class"] = [{"class": name, "clips": n, "accuracy": hit} for name, n, hit in metrics.per_class]
    return result


def write_report(result: dict[str, Any], folder: str | Path) -> tuple[Path, Path]:
    """Write `evaluation.json` (everything) and `per_class.csv` into a folder; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "evaluation.json"
    report.write_text(json.dumps(result, indent=2) + "\n")
    rows = [(row["class"], row["clips"], row["accuracy"]) for row in result["per_class"]]
    return report, write_per_class(rows, folder)


def write_per_class(rows: Sequence[tuple[str, int, float]], folder: str | Path) -> Path:
    """Write `per_class.csv` into a folder, with (class, clips, accuracy) rows; return its path.

    Spreadsheets take cells that begin with =, + and the like for formulas, so such classes get a leading apostrophe.
    `evaluation.json` has the classes as they are.
    """
    path = Path(folder) / "per_class.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        lines = [(f"'{name}" if FORMULA.match(name) else name, *numbers) for name, *numbers in rows]
        csv.writer(stream).writerows([("class", "clips", "accuracy"), *lines])
    return path
