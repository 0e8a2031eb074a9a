# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read a model folder's configuration, processor and training results: only JSON, no weights and no pickles."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.models.auto.modeling_auto import MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES

from .. import baselines  # noqa: F401  registers their model families
from ..data.text_files import read_json
from ..errors import HfRltError, truncate
from ..families import FAMILIES
from ..models.rlt_config import RLTConfigMixin
from .card_text import cell, code
from .repo_config import check_config

RUN_FILE = "training.json"  # settings, hardware and versions of a fine-tuning, without names of folders


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model.

    Attributes:
        config: configuration of any family, see `hf_rlt.families`.
        processor: fields of video_preprocessor_config.json.
        results: of Trainer's last evaluation, `eval_accuracy` and so on, from all_results.json.
        training: label -> Markdown of what trainer_state.json, all_results.json and training.json say of a fine-tuning.
        epochs: Trainer's log of each evaluation during training, with the last `loss` before it.
        carries_code: whether the folder opens with `trust_remote_code=True`.
    """

    name: str
    config: Any
    processor: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    carries_code: bool = False
    has_handler: bool = False

    @property
    def uses_rlt(self) -> bool:
        """Whether the model computes only what RLT leaves, by itself or before another method."""
        return self.config.run_rule.drops or self.config.method == RLTConfigMixin.method

    @property
    def dense_type(self) -> str | None:
        """The model type of transformers that opens the same weights as a dense model, if there is one."""
        parents: Any = type(self.config).__mro__
        return next((each.model_type for each in parents if each.__module__.startswith("transformers.models.")), None)

    @property
    def dense_class(self) -> str | None:
        """The name of that model's class."""
        return MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES.get(self.dense_type)


def read_facts(folder: str | Path) -> ModelFacts:
    """Return the facts in a model folder; raise HfRltError unless it holds a classifier that hf_rlt saved."""
    folder = Path(folder)
    if not folder.is_dir():
        raise HfRltError(f"{folder}: expected a model folder, found no such folder.")
    raw = _read(folder / "config.json")
    found = str(raw.get("model_type") or "no config.json")
    if found not in FAMILIES:
        raise HfRltError(
            f"{folder}: expected a model saved by hf_rlt, found {found[:60]}: convert it with hf-rlt convert."
        )
    check_config(folder, raw)
    try:
        config = FAMILIES[found].config.from_dict(raw)
    except StrictDataclassError as error:
        raise HfRltError(f"{folder}/config.json: {error}") from error
    architectures = list(map(str, config.architectures or []))
    if architectures and not any(name.endswith("ForVideoClassification") for name in architectures):
        raise HfRltError(f"{folder}: expected a classifier, found {', '.join(architectures)}: fine-tune it first.")
    results, state = _read(folder / "all_results.json"), _read(folder / "trainer_state.json")
    history = state.get("log_history")
    logs = [log for log in history if isinstance(log, dict)] if isinstance(history, list) else []
    return ModelFacts(
        name=folder.resolve().name,
        config=config,
        processor=_read_processor(folder / "video_preprocessor_config.json"),
        results=results if "eval_accuracy" in results else {},
        training={
            **_training(state, logs, results),
            **_run(read_json(run) if (run := folder / RUN_FILE).is_file() else {}),
        },
        epochs=tuple(_epochs(logs)),
        carries_code=_carries_code(folder, raw.get("auto_map") or {}),
        has_handler=(folder / "handler.py").is_file(),
    )


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise HfRltError(f"{path}: expected a JSON object, found a {type(content).__name__}.")
    return content


def _read_processor(path: Path) -> dict[str, Any]:
    processor = _read(path)
    for name, what, check in (
        ("fps", "a number", _is_number),
        ("frame_stride", "a whole number", lambda value: type(value) is int),
        ("sampling", '"clip" or "uniform"', ("clip", "uniform").__contains__),
    ):
        value = processor.get(name)
        if value is not None and not check(value):
            raise HfRltError(f"{path}: expected {name} to be {what}, found {truncate(value, 60)}: correct it.")
    return processor


def _carries_code(folder: Path, maps: Any) -> bool:
    if not isinstance(maps, dict):
        raise HfRltError(f"{folder}/config.json: expected auto_map to be an object, found {truncate(maps, 60)}.")
    modules = {str(value).split(".")[0] for value in maps.values()}
    return "AutoModelForVideoClassification" in maps and all((folder / f"{name}.py").is_file() for name in modules)


def _training(state: Mapping[str, Any], logs: Sequence[Any], results: Mapping[str, Any]) -> dict[str, str]:
    """Return steps, epochs, batch, learning rate, loss, tokens and speed of a fine-tuning, as far as its files say."""
    rates = [log["learning_rate"] for log in logs if _is_number(log.get("learning_rate"))]
    tokens = [log["tokens_computed"] for log in logs if _is_number(log.get("tokens_computed"))]
    found: dict[str, tuple[Any, str]] = {
        "Steps": (state.get("global_step"), "{:,.0f}"),
        "Epochs": (state.get("epoch"), "{:.4g}"),
        "Clips per forward pass and device": (state.get("train_batch_size"), "{:,.0f}"),
        "Highest learning rate logged": (max(rates, default=None), "{:.3g}"),
        "Mean training loss": (results.get("train_loss"), "{:.4g}"),
        "Tokens computed in training": (sum(tokens) / len(tokens) if tokens else None, "{:.1%}"),
        "Clips per second in training": (results.get("train_samples_per_second"), "{:,.3g}"),
    }
    return {label: form.format(value).replace("%", " %") for label, (value, form) in found.items() if _is_number(value)}


def _run(run: Any) -> dict[str, str]:
    """Return settings, hardware and versions of a fine-tuning; what is not as we write it is left out."""
    run = run if isinstance(run, dict) else {}
    settings, versions = (
        value if isinstance(value := run.get(name), dict) else {} for name in ("settings", "versions")
    )
    found = {
        "Settings": ", ".join(code(f"{name}={value}") for name, value in settings.items()),
        "Hardware": cell(run.get("hardware") or ""),
        "Versions": ", ".join(cell(f"{name} {version}") for name, version in versions.items()),
    }
    return {label: text for label, text in found.items() if text}


def _epochs(logs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the evaluations during training; Trainer logs `train_runtime` at its end, before the final evaluation."""
    loss = None
    for log in logs:
        if "train_runtime" in log:
            return
        loss = log.get("loss", loss)
        if _is_number(log.get("eval_accuracy")):
            yield {"loss": loss, **log}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
