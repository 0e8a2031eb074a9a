# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read a model folder's configuration, processor and training results: only JSON, no weights and no pickles."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.text_files import read_json
from ..errors import HfRltError
from ..models.runs import to_2tuple
from .repo_config import check_config
from .results import NUMBERS, TITLES, check_numbers

RLT = "rlt_videomae"
BASELINES = {"random_masking_videomae": "random masking", "tome_videomae": "ToMe", "sta_videomae": "STA"}
KINDS = (RLT, *BASELINES)


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model.

    Attributes:
        name: of the model; its folder's.
        config: fields of config.json; those that the file leaves out are left out.
        processor: fields of video_preprocessor_config.json.
        results: of Trainer's last evaluation, `eval_accuracy` and so on, from all_results.json; empty without one.
        training: what trainer_state.json and all_results.json say of a fine-tuning; empty without one.
        carries_code: whether the folder opens with `trust_remote_code=True`.
        has_handler: whether it holds a handler for Inference Endpoints.
    """

    name: str
    config: Mapping[str, Any]
    processor: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, float] = field(default_factory=dict)
    carries_code: bool = False
    has_handler: bool = False

    @property
    def kind(self) -> str:
        """The model type."""
        return str(self.config["model_type"])

    @property
    def threshold(self) -> float | None:
        """RLT's threshold; None computes every token."""
        return self.config.get("threshold", 0.1 if self.kind == RLT else None)

    @property
    def labels(self) -> list[str]:
        """The classes' names, in order."""
        names = self.config.get("id2label") or {}
        return [str(names[key]) for key in sorted(names, key=int)]

    @property
    def clip(self) -> tuple[int, int, int]:
        """Frames, height and width of a clip."""
        side = self.config.get("image_size", 224)
        height, width = to_2tuple(side)
        return self.config.get("num_frames", 16), height, width

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tubelets of a clip in time, height and width."""
        frames, height, width = self.clip
        patch = self.config.get("patch_size", 16)
        rows, columns = to_2tuple(patch)
        return frames // self.config.get("tubelet_size", 2), height // rows, width // columns


def read_facts(folder: str | Path) -> ModelFacts:
    """Return the facts in a model folder.

    Raises:
        ValueError: if there is no such folder, or it holds no RLT-VideoMAE classifier or baseline.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HfRltError(f"{folder}: expected a model folder, found no such folder.")
    config = _read(folder / "config.json")
    kind = config.get("model_type")
    if kind not in KINDS:
        raise HfRltError(
            f"{folder}: expected a model saved by hf_rlt ({', '.join(KINDS)}), found {str(kind or 'no config.json')[:60]}: "
            "convert it with hf-rlt convert, or fine-tune it."
        )
    check_config(folder, config)
    processor = _read(folder / "video_preprocessor_config.json")
    _check_types(f"{folder}/config.json", config, CONFIG_TYPES)
    _check_types(f"{folder}/video_preprocessor_config.json", processor, PROCESSOR_TYPES)
    architectures = config.get("architectures") or []
    if architectures and not any(name.endswith("ForVideoClassification") for name in architectures):
        raise HfRltError(f"{folder}: expected a classifier, found {', '.join(architectures)}: fine-tune it first.")
    results = _read(folder / "all_results.json")
    maps = config.get("auto_map") or {}
    modules = {str(value).split(".")[0] for value in maps.values()}
    code = "AutoModelForVideoClassification" in maps and all((folder / f"{name}.py").is_file() for name in modules)
    return ModelFacts(
        name=folder.resolve().name,
        config=config,
        processor=processor,
        results=results if "eval_accuracy" in results else {},
        training=_training(_read(folder / "trainer_state.json"), results),
        carries_code=code,
        has_handler=(folder / "handler.py").is_file(),
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(type(each) is kind for each in value)


# Fields that a card takes from a folder's files, beyond those that `check_config` checks: expected type, and its check.
CONFIG_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "architectures": ("a list of names", _is_list_of(str)),
    "auto_map": ("an object from class to file", lambda value: isinstance(value, dict)),
    "inflection": ("a number", _is_number),
    "r": ("a whole number or a list of these", lambda value: _is_count(value) or _is_list_of(int)(value)),
    "token_keep_ratio": ("a number", _is_number),
    **{
        name: ("true or false", lambda value: isinstance(value, bool))
        for name in ("length_embedding", "proportional_attention")
    },
}
PROCESSOR_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "fps": ("a number", _is_number),
    "frame_stride": ("a whole number", _is_count),
    "sampling": ('"clip" or "uniform"', lambda value: value in ("clip", "uniform")),
}


def _check_types(path: str, found: Mapping[str, Any], types: Mapping[str, tuple[str, Callable[[Any], bool]]]) -> None:
    for name, (what, fits) in types.items():
        value = found.get(name)
        if value is not None and not fits(value):
            raise HfRltError(f"{path}: expected {name} to be {what}, found {repr(value)[:60]}: correct it.")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise HfRltError(f"{path}: expected a JSON object, found a {type(content).__name__}.")
    return content


def read_evaluation(path: str | Path) -> dict[str, Any]:
    """Return the results in an `evaluation.json`, as `hf-rlt evaluate --output-dir` writes it.

    Raises:
        ValueError: if there is no such file, or it holds something else.
    """
    if not Path(path).is_file():
        raise HfRltError(f"{path}: expected the evaluation.json of hf-rlt evaluate --output-dir, found no such file.")
    result = _read(Path(path))
    if not _is_number(result.get("accuracy")):
        raise HfRltError(f"{path}: expected the evaluation.json of hf-rlt evaluate, found no accuracy in it.")
    check_numbers(path, {name: result.get(name) for name in (*TITLES, *NUMBERS)})
    return result


def _training(state: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, float]:
    """Return steps, epochs, batch, learning rate, loss and tokens of a fine-tuning, as far as its files say."""
    history = state.get("log_history")
    logs = [log for log in history if isinstance(log, dict)] if isinstance(history, list) else []
    found: dict[str, Any] = {
        "steps": state.get("global_step"),
        "epochs": state.get("epoch"),
        "batch": state.get("train_batch_size"),
        "learning_rate": max(_numbers(logs, "learning_rate"), default=None),
        "loss": results.get("train_loss"),
        "tokens": _mean(_numbers(logs, "tokens_computed")),
    }
    return {name: value for name, value in found.items() if _is_number(value)}


def _numbers(logs: list[dict[str, Any]], name: str) -> list[float]:
    return [log[name] for log in logs if _is_number(log.get(name))]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
