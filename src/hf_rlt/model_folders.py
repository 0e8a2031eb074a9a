# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a person gives as a model: a folder or a Hub id, and whether its config.json says something that can be built."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from .configuration_rlt_videomae import check_sizes

DTYPES = ("float32", "float16", "bfloat16", "float64")


def is_hub_id(name: str) -> bool:
    """Returns whether a name can be a Hub id; what stands beside existing folders is meant as a path, and no id."""
    return not Path(name).is_absolute() and not name.startswith(".") and name.count("/") == 1


def check_name(name: str) -> None:
    """Returns nothing; raises a ValueError unless a name is that of a folder, or can be a Hub id."""
    if not Path(name).is_dir() and not is_hub_id(name):
        raise ValueError(f"{name}: expected a model folder or a Hub id such as user/name, found no such folder.")


def read_config(name: str) -> dict[str, Any]:
    """Returns the content of a model's config.json.

    Raises:
        ValueError: if a field of it is none that a model can be built from.
        OSError: if there is no such model.
    """
    try:
        raw, _ = PreTrainedConfig.get_config_dict(name)
    except (AttributeError, TypeError) as error:  # what transformers stumbles over in a list
        raise ValueError(f"{name}: expected a JSON object in its config.json, found something else.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON in its config.json, found something else ({error}).") from error
    check_config(name, raw)
    return raw


def check_config(name: object, raw: Mapping[str, Any]) -> None:
    """Raise ValueError unless sizes, threshold, labels and dtype in a config.json make sense.

    Args:
        name: of the model, for the message.
        raw: what the file holds; fields that it leaves out are not missed.
    """
    check_sizes({**raw, "num_labels": raw.get("num_labels")}, f"{name}: ", " in its config.json")
    threshold, dtype = raw.get("threshold"), raw.get("dtype", raw.get("torch_dtype"))
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, type(None))) or threshold != threshold:
        raise ValueError(f"{name}: expected threshold in its config.json to be a number or null, found {threshold!r}.")
    if dtype not in (None, *DTYPES):
        raise ValueError(
            f"{name}: expected dtype in its config.json to be one of {', '.join(DTYPES)}, found {dtype!r}."
        )
    _check_labels(name, raw.get("id2label"))


def _check_labels(name: object, labels: Any) -> None:
    if labels is None:
        return
    if not isinstance(labels, dict) or not labels or {str(key) for key in labels} != set(map(str, range(len(labels)))):
        found = ", ".join(map(str, labels))[:60] if isinstance(labels, dict) else f"a {type(labels).__name__}"
        raise ValueError(
            f"{name}: expected id2label in its config.json to be an object from 0, 1, 2, ... to names, found "
            f"{found or 'nothing in it'}."
        )
    for label in labels.values():
        if not isinstance(label, str) or any("\ud800" <= character <= "\udfff" for character in label):
            raise ValueError(
                f"{name}: expected names in id2label in its config.json to be text, found {repr(label)[:60]}."
            )
