# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Results of evaluations as the Hub's `model-index` has them, and as a table."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index

from ..errors import HfRltError

TASK = "video-classification"
TITLES = {
    "accuracy": "Top-1 accuracy",
    "top_5_accuracy": "Top-5 accuracy",
    "mean_class_accuracy": "Mean-class accuracy",
    "tokens_computed": "Tokens computed",
}
NUMBERS = ("clips", "unreadable", "num_clips", "num_crops", "num_frames", "threshold", "token_keep_ratio")
LINK = re.compile(r"https?://[\w.~:/?#@!$&+,;=%-]+")
# Text that Markdown, the Hub or GitHub turn into a link or a mention even if it is escaped.
LINKED = re.compile(r"@|://|www\.|mailto:", re.IGNORECASE)
CHANGE = "accuracy_change"  # of top-1 against computing every token, as a fraction


class RLTCardData(ModelCardData):
    """Metadata of a model card in which results of different sources stay apart.

    huggingface_hub joins all results on one data set under the source of the first: ours would pass for the paper's.
    """

    def _to_dict(self, data_dict: dict[str, Any]) -> None:
        super()._to_dict(data_dict)
        for key, value in data_dict.items():
            data_dict[key] = _without_nulls(value)
        results = self.eval_results or []
        if not results:
            data_dict.pop("model-index", None)
            return
        sources = dict.fromkeys((result.source_name, result.source_url) for result in results)
        groups = [[r for r in results if (r.source_name, r.source_url) == source] for source in sources]
        name = str(self.model_name)
        entries = [entry for group in groups for entry in eval_results_to_model_index(name, group)[0]["results"]]
        data_dict["model-index"] = [{"name": name, "results": entries}]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value if each is not None] if isinstance(value, list) else value


class RLTModelCard(ModelCard):
    """A model card with `RLTCardData`."""

    data: RLTCardData
    card_data_class = RLTCardData


def read_card(path: str | Path, check: bool = True) -> RLTModelCard:
    """Return a card.

    Args:
        path: of the file.
        check: whether a part of the metadata that cannot be understood is an error, or left out.

    Raises:
        ValueError: if its metadata cannot be read.
    """
    try:
        return RLTModelCard.load(Path(path), ignore_metadata_errors=not check)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise HfRltError(f"{path}: its metadata cannot be read ({error}): mend or remove the file.") from error


def dataset_names(dataset: str) -> tuple[str, str]:
    """Return a data set's type and its name for people: a Hub id stands for both."""
    dataset = " ".join(dataset.split())
    return (dataset, dataset) if "/" in dataset else (dataset.lower().replace(" ", "-"), dataset)


def own_results(evaluation: Mapping[str, Any], dataset: str, num_frames: int) -> list[EvalResult]:
    """Return accuracies and share of tokens of one evaluation, each named with its protocol as far as that is known.

    Args:
        evaluation: what `hf_rlt.inference.evaluate.evaluate_model` returns, or Trainer's metrics (`eval_accuracy`, ...) with
            `num_clips`, `num_crops`, `threshold` and `split` added.
        dataset: what it was evaluated on.
        num_frames: of the model's own clips; other numbers are named.
    """
    found = {name.removeprefix("eval_"): value for name, value in evaluation.items()}
    check_numbers("Results of an evaluation", {name: found.get(name) for name in (*TITLES, *NUMBERS)})
    kind, title = dataset_names(dataset)
    protocol = _protocol(found, num_frames)
    return [
        EvalResult(
            task_type=TASK,
            task_name="Video classification",
            dataset_type=kind,
            dataset_name=title,
            dataset_split=found.get("split"),
            metric_type=metric,
            metric_name=f"{TITLES[metric]} ({protocol})" if protocol else TITLES[metric],
            metric_value=round(float(found[metric]), 6),
        )
        for metric in TITLES
        if isinstance(found.get(metric), (int, float)) and math.isfinite(found[metric])
    ]


def check_numbers(where: object, values: Mapping[str, Any]) -> None:
    """Raise ValueError unless all values are numbers or None."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise HfRltError(f"{where}: expected {name} to be a number, found {repr(value)[:60]}.")


def _protocol(found: Mapping[str, Any], num_frames: int) -> str:
    clips, crops, videos = found.get("num_clips"), found.get("num_crops"), found.get("clips")
    parts = [f"{int(videos):,} videos"] if videos else []
    parts += [f"{int(found['unreadable']):,} more unreadable"] if found.get("unreadable") else []
    if clips and crops:
        parts.append("1 view" if clips * crops == 1 else f"{clips} x {crops} views")
    if found.get("num_frames") not in (None, num_frames):
        parts.append(f"{found['num_frames']} frames")
    if "threshold" in found:
        parts.append("dense" if found["threshold"] is None else f"threshold {found['threshold']:g}")
    elif found.get("tokens_computed") == 1:
        parts.append("dense")
    if found.get("token_keep_ratio") is not None:
        parts.append(f"{100 * found['token_keep_ratio']:g} % of the tokens drawn at random")
    return ", ".join(parts)


def merged(existing: Sequence[EvalResult], own: Sequence[EvalResult]) -> list[EvalResult]:
    """Return our results, and of those on a card already the ones of other sources and other data sets."""
    datasets = {result.dataset_type for result in own}
    return [*own, *(r for r in existing if r.source_url or r.dataset_type not in datasets)]


def table(results: Sequence[EvalResult]) -> str:
    """Return the results as a Markdown table: each with its data set and who measured it."""
    lines = ["| Metric | Value | Data set | Measured |", "|---|---|---|---|"]
    for result in results:
        source = "this model"
        if result.source_url:
            name, url = _column(result.source_name or result.source_url), str(result.source_url)
            source = f"{f'[{name}]({url})' if LINK.fullmatch(url) else name}, not here"
        name = _column(result.metric_name or result.metric_type)
        dataset = _column(
            f"{result.dataset_name}, {result.dataset_split}" if result.dataset_split else result.dataset_name
        )
        lines.append(f"| {name} | {_value(result)} | {dataset} | {source} |")
    return "\n".join(lines)


def _value(result: EvalResult) -> str:
    value = result.metric_value
    if isinstance(value, (int, float)) and result.metric_type in TITLES:
        return f"{100 * value:.1f} %"
    if isinstance(value, (int, float)) and result.metric_type == CHANGE:
        return f"{100 * value:+.1f} points"
    return _column(value)


def _column(text: Any) -> str:
    """Format text as `cell` does, and escape bars, even in code, that would end its column."""
    return re.sub(r"(?<!\\)\|", r"\\|", cell(text))


def cell(text: Any) -> str:
    """Escape text for one cell or line of Markdown; format it as code if it could become a link or mention."""
    flat = " ".join(str(text).split())
    if LINKED.search(flat):
        return code(flat)
    flat = flat.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{mark}" if mark in "\\`|[]*_~$" else mark for mark in flat)


def code(text: Any) -> str:
    """Format text as inline code, which Markdown leaves as it is, on one line or in one cell."""
    flat = " ".join(str(text).split()).replace("<!--", "<! --")  # so as not to end the part of the card that is ours
    longest = max(map(len, re.findall("`+", flat)), default=0)
    fence, space = "`" * (longest + 1), " " if flat[:1] == "`" or flat[-1:] == "`" else ""
    return f"{fence}{space}{flat}{space}{fence}"
