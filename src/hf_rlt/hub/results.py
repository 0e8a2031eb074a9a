# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Results of evaluations as the Hub's `model-index` has them, and as a table."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..data.text_files import read_json
from ..errors import HfRltError
from ..models.run_rule import RULE_SETTINGS, RunRule
from .card_text import cell, link, markdown_table

TASK = "video-classification"
TITLES = {
    "accuracy": "Top-1 accuracy",
    "top_5_accuracy": "Top-5 accuracy",
    "mean_class_accuracy": "Mean-class accuracy",
    "tokens_computed": "Tokens computed",
}
NUMBERS = (
    *("clips", "unreadable", "num_clips", "num_crops", "num_frames", "token_keep_ratio"),
    *("threshold", "max_tokens", "num_tokens", "budget_groups"),
)
MOST_EPOCHS = 20  # rows of the table
EPOCH_COLUMNS = {
    "epoch": ("Epoch", "{:.4g}"),
    "step": ("Step", "{:,.0f}"),
    "loss": ("Training loss", "{:.4g}"),
    "eval_loss": ("Validation loss", "{:.4g}"),
    "eval_accuracy": ("Top-1 accuracy", "{:.1%}"),
    "eval_tokens_computed": ("Tokens computed", "{:.1%}"),
}


def read_evaluation(path: str | Path) -> dict[str, Any]:
    """Return the results in an `evaluation.json`, as `hf-rlt evaluate --output` writes it."""
    if not Path(path).is_file():
        raise HfRltError(f"{path}: expected the evaluation.json of hf-rlt evaluate, found no such file.")
    result = read_json(path)
    if not isinstance(result, dict) or not isinstance(result.get("accuracy"), (int, float)):
        raise HfRltError(f"{path}: expected the evaluation.json of hf-rlt evaluate, found no accuracy in it.")
    check_numbers(path, result)
    return result


def check_numbers(where: object, result: Mapping[str, Any]) -> None:
    """Raise HfRltError unless those fields of an evaluation that a card shows are numbers or None."""
    for name in (*TITLES, *NUMBERS):
        value = result.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise HfRltError(f"{where}: expected {name} to be a number, found {repr(value)[:60]}.")


def make_result(dataset: str, metric: str, title: str, value: float, **fields: Any) -> EvalResult:
    """Return one number as the Hub has it; `fields` are further ones of `EvalResult`."""
    dataset = " ".join(dataset.split())
    return EvalResult(
        task_type=TASK,
        task_name="Video classification",
        dataset_type=dataset if "/" in dataset else dataset.lower().replace(" ", "-"),
        dataset_name=dataset,
        metric_type=metric,
        metric_name=title,
        metric_value=round(float(value), 6),
        **fields,
    )


def own_results(evaluation: Mapping[str, Any], dataset: str, num_frames: int) -> list[EvalResult]:
    """Return accuracies and share of tokens of one evaluation, each named with its protocol as far as that is known.

    Args:
        evaluation: what `evaluate_model` returns, or Trainer's metrics (`eval_accuracy`, ...) with `num_clips`, `num_crops`,
            `split` and the settings of the rule added.
        dataset: what it was evaluated on.
        num_frames: of the model's own clips; other numbers are named.
    """
    found = {name.removeprefix("eval_"): value for name, value in evaluation.items()}
    check_numbers("Results of an evaluation", found)
    protocol = _protocol(found, num_frames)
    return [
        make_result(dataset, metric, f"{title}{protocol}", found[metric], dataset_split=found.get("split"))
        for metric, title in TITLES.items()
        if found.get(metric) is not None and math.isfinite(found[metric])
    ]


def _protocol(found: Mapping[str, Any], num_frames: int) -> str:
    clips, crops, videos = found.get("num_clips"), found.get("num_crops"), found.get("clips")
    parts = [f"{int(videos):,} videos"] if videos else []
    parts += [f"{int(found['unreadable']):,} more unreadable"] if found.get("unreadable") else []
    if clips and crops:
        parts.append("1 view" if clips * crops == 1 else f"{clips} x {crops} views")
    if found.get("num_frames") not in (None, num_frames):
        parts.append(f"{found['num_frames']} frames")
    if "threshold" in found:
        parts.append(RunRule(**{name: found[name] for name in RULE_SETTINGS if name in found}).describe())
    elif found.get("tokens_computed") == 1:
        parts.append("dense")
    if found.get("token_keep_ratio") is not None:
        parts.append(f"{100 * found['token_keep_ratio']:g} % of the tokens drawn at random")
    return f" ({', '.join(parts)})" if parts else ""


def merged(existing: Sequence[EvalResult], own: Sequence[EvalResult]) -> list[EvalResult]:
    """Return our results, and of those on a card already the ones of other sources and other data sets."""
    datasets = {result.dataset_type for result in own}
    return [*own, *(r for r in existing if r.source_url or r.dataset_type not in datasets)]


def results_table(results: Sequence[EvalResult]) -> str:
    """Return the results as a Markdown table: each with its data set and who measured it."""
    rows = []
    for result in results:
        source = "this model"
        if result.source_url:
            source = f"{link(result.source_name or result.source_url, str(result.source_url))}, not here"
        dataset = ", ".join(filter(None, [result.dataset_name, result.dataset_split]))
        rows.append((cell(result.metric_name or result.metric_type), _value(result), cell(dataset), source))
    return markdown_table(("Metric", "Value", "Data set", "Measured"), rows)


def _value(result: EvalResult) -> str:
    value = result.metric_value
    return f"{100 * value:.1f} %" if isinstance(value, (int, float)) and result.metric_type in TITLES else cell(value)


def epochs_table(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Return the evaluations during a training as a Markdown table; a cell is empty where the log has no number.

    Of many, it shows some: evenly spread, with the last.
    """
    epochs = epochs[:: -max(1, -(-len(epochs) // MOST_EPOCHS))][::-1]
    known = [{name: x for name in EPOCH_COLUMNS if type(x := each.get(name)) in (int, float)} for each in epochs]
    columns = {name: column for name, column in EPOCH_COLUMNS.items() if any(name in each for each in known)}
    rows = [
        [form.format(each[name]).replace("%", " %") if name in each else "" for name, (_, form) in columns.items()]
        for each in known
    ]
    return markdown_table([title for title, _ in columns.values()], rows, align="r" * len(columns))
