# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Multi-view evaluation: softmax per view, mean over views, each clip counted once, on any number of processes."""

import csv
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm
from transformers import EvalPrediction, PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from ..data import ClipCollator, EvalDataset, UnreadableClipError, VideoList
from ..data.token_budget import batches_within
from .metrics import VideoAccuracy

# What the model returns and an evaluation does not keep; the run lengths stay, to count tokens.
AHEAD = 8  # videos that may wait for a batch with room for them
IGNORED_OUTPUTS = ["hidden_states", "attentions"]
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
    num_clips: int = 1,
    num_crops: int = 1,
    on_bad_video: str = "raise",
    token_keep_ratio: float | None = None,
    args: TrainingArguments | None = None,
    max_tokens: int | None = None,
) -> dict[str, Any]:
    """Return the results of a multi-view evaluation, the same on every process.

    Args:
        model: a video classifier.
        processor: its `RLTVideoProcessor`; frames and threshold are its own.
        clips: what to evaluate on, with the model's classes.
        num_clips: temporal clips per video (Kinetics: 5, Something-Something: 2).
        num_crops: crops per temporal clip (3).
        on_bad_video: "raise", or "skip" and report.
        token_keep_ratio: share of the computed tokens that is kept, drawn at random: random masking as a baseline.
        args: batch size, loading processes, precision; under `accelerate launch` the clips are shared out.
        max_tokens: computed together at most, on each process, besides the batch size as the most videos: memory is
            then the same however many tokens videos have. A video whose views have more is computed alone.

    Keys: accuracy, top_5_accuracy (with more than five classes), mean_class_accuracy, tokens_computed, clips, unreadable,
    clips_per_second (from file to score), num_clips, num_crops, token_keep_ratio, threshold, num_frames, per_class.

    Raises:
        UnreadableClipError: for a bad video, unless it is to be skipped.
        ValueError: if no clip can be read, or `max_tokens` is not positive.

    Source: VideoMAE's test protocol (5 x 3 views for Kinetics-400, 2 x 3 for Something-Something V2).
    """
    args = args or TrainingArguments(report_to=[])
    args.dataloader_drop_last = False  # or the last clips would not be evaluated
    metrics = ClipMetrics(clips.names)
    data = EvalDataset(clips, processor, num_clips, num_crops, on_bad_video, token_keep_ratio=token_keep_ratio)
    trainer = Trainer(
        model=model,
        args=args,
        data_collator=ClipCollator(processor),
        compute_metrics=metrics,
        preprocess_logits_for_metrics=logits_and_tokens,
    )
    trainer.remove_callback(PrinterCallback)  # the caller prints, in its own way
    with torch.inference_mode():
        if max_tokens is None:
            flat = trainer.evaluate(data, ignore_keys=IGNORED_OUTPUTS)
        else:
            flat = _evaluate_within(trainer, data, max_tokens)
    kept = ("accuracy", "top_5_accuracy", "mean_class_accuracy", "tokens_computed", "clips", "unreadable")
    result: dict[str, Any] = {name: flat[f"eval_{name}"] for name in kept if f"eval_{name}" in flat}
    result["clips_per_second"] = flat["eval_samples_per_second"]
    result.update(num_clips=num_clips, num_crops=num_crops, token_keep_ratio=token_keep_ratio)
    result.update(threshold=processor.threshold, num_frames=processor.num_frames)
    result["per_class"] = [{"class": name, "clips": n, "accuracy": hit} for name, n, hit in metrics.per_class]
    return result


def _evaluate_within(trainer: Trainer, data: EvalDataset, max_tokens: int) -> dict[str, float]:
    """Return what `Trainer.evaluate` does, from batches within a budget of tokens.

    Trainer's own loop gathers batch by batch and wants as many, of the same size, from each process.
    """
    args, start = trainer.args, time.perf_counter()
    model = trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True).eval()
    if args.bf16_full_eval or args.fp16_full_eval:
        model = model.to(dtype=torch.bfloat16 if args.bf16_full_eval else torch.float16, device=args.device)
    own = Subset(data, range(args.process_index, len(data), args.world_size))
    loader = DataLoader(own, batch_size=None, num_workers=args.dataloader_num_workers)
    parts = []
    progress = tqdm(loader, disable=args.disable_tqdm or args.process_index > 0, desc="videos")
    for items in batches_within(progress, max_tokens, max_items=args.per_device_eval_batch_size, ahead=AHEAD):
        batch = trainer.data_collator(items)
        _, outputs, labels = trainer.prediction_step(model, batch, False, ignore_keys=IGNORED_OUTPUTS)
        parts.append([each.float().cpu().numpy() for each in (*logits_and_tokens(outputs, labels), labels)])
    logits, shares, all_labels = map(np.concatenate, zip(*gather_object(parts), strict=True))
    result = trainer.compute_metrics(EvalPrediction((logits, shares), all_labels.astype(np.int64)))
    result["samples_per_second"] = len(data) / (time.perf_counter() - start)
    return {f"eval_{name}": value for name, value in result.items()}


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
