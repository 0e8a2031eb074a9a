# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a person gives as a model: a folder or a Hub id, and whether its config.json says something that can be built."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

SIZES = ("num_frames", "tubelet_size", "num_channels", "hidden_size", "num_hidden_layers", "num_attention_heads")
PAIRS = ("image_size", "patch_size")


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
    except AttributeError as error:  # what transformers stumbles over in a list
        raise ValueError(f"{name}: expected a JSON object in its config.json, found something else.") from error
    check_config(name, raw)
    return raw


def check_config(name: object, raw: Mapping[str, Any]) -> None:
    """Returns nothing; raises a ValueError unless sizes, threshold and labels in a config.json make sense.

    Args:
        name: of the model, for the message.
        raw: what the file holds; fields that it leaves out are not missed.
    """
    for field in (*SIZES, *PAIRS):
        value = raw.get(field, 1)
        parts = value if field in PAIRS and isinstance(value, (list, tuple)) and len(value) == 2 else [value]
        if not all(isinstance(part, int) and part >= 1 for part in parts):
            raise ValueError(f"{name}: expected {field} in its config.json to be a number >= 1, found {value!r}.")
    if not isinstance(raw.get("threshold"), (int, float, type(None))):
        raise ValueError(
            f"{name}: expected threshold in its config.json to be a number or null, found {raw['threshold']!r}."
        )
    names, count = raw.get("id2label"), raw.get("num_labels")
    if names is None:
        if count is not None and not (isinstance(count, int) and count >= 1):
            raise ValueError(f"{name}: expected num_labels in its config.json to be a number >= 1, found {count!r}.")
    elif not isinstance(names, dict) or not names or {str(key) for key in names} != set(map(str, range(len(names)))):
        found = ", ".join(map(str, names))[:60] if isinstance(names, dict) else f"a {type(names).__name__}"
        raise ValueError(
            f"{name}: expected id2label in its config.json to be an object from 0, 1, 2, ... to names, found "
            f"{found or 'nothing in it'}."
        )
