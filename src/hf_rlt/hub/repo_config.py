# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Validate the name of a model, which is a folder or a Hub id, and its config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import PreTrainedConfig

from ..data.text_files import is_text
from ..errors import HfRltError, truncate
from ..families import FAMILIES
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.run_rule import RULE_SETTINGS, RunRule

CONNECT_SECONDS = 2.5
DTYPES = ("float32", "float16", "bfloat16", "float64")


def is_hub_id(name: str) -> bool:
    """Return whether a name is valid on the Hub and has the form user/name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def check_found(name: str) -> None:
    """Raise an error unless there is a config.json: in the folder `name`, in the cache, or on the Hub.

    Asks the Hub only once. Without a network, transformers would retry six times, for 23 seconds, and not say what for.
    """
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise OSError(f"{name}: expected a model folder, found no config.json in it.")
    elif not is_hub_id(name):
        raise HfRltError(f"{name}: expected a model folder or a Hub id such as user/name, found no such folder.")
    elif not isinstance(try_to_load_from_cache(name, "config.json"), str):
        found = "the network is off (HF_HUB_OFFLINE)" if constants.is_offline_mode() else _not_on_hub(name)
        if found:
            raise OSError(
                f"{name}: expected a model folder or the id of a model on the Hub, found no such folder, no config.json "
                f"of that id in the cache, and {found}."
            )


def _not_on_hub(name: str) -> str:
    """Ask the Hub once for a model's config.json; return why it is not available, or "" if it is."""
    seconds = constants.HF_HUB_ETAG_TIMEOUT
    timeout: Any = (min(CONNECT_SECONDS, seconds), seconds, seconds, seconds)  # connect, read, write, wait for a socket
    place = constants.ENDPOINT
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=timeout)
    except EntryNotFoundError:
        return f"none in the model of that id on {place}"
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):  # the Hub also answers 401 if there is no such model
            return f"no such model on {place} ({status}): check the name; a private or gated one needs `hf auth login`"
        return f"{place} answered {status}: try again later"
    except Exception as error:  # from httpx or httpx2, depending on huggingface_hub's version
        return f"no answer from {place} ({error or type(error).__name__}): check the name and the network"
    return ""


def read_config(name: str) -> dict[str, Any]:
    """Return a model's config.json; raise HfRltError if none can be built from it, OSError if there is no such model."""
    check_found(name)
    try:
        raw, _ = PreTrainedConfig.get_config_dict(name)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:  # the first two if it holds a list
        raise HfRltError(
            f"{name}: expected a JSON object in its config.json, found something else ({error})."
        ) from error
    check_config(name, raw)
    return raw


def check_config(name: object, raw: Mapping[str, Any]) -> None:
    """Raise HfRltError, naming the model, unless sizes, rule, labels and dtype in a config.json make sense."""
    kind = str(raw.get("model_type"))
    known = [family.config for family in FAMILIES.values() if kind in (family.config.model_type, family.stock)]
    for config in known[:1] or [RLTVideoMAEConfig]:
        config.check_sizes({**raw, "num_labels": raw.get("num_labels")}, f"{name}: ", " in its config.json")
    try:
        RunRule(**{setting: raw[setting] for setting in RULE_SETTINGS if setting in raw})
    except HfRltError as error:
        raise HfRltError(f"{name}: its config.json says of the rule: {error}") from error
    dtype = raw.get("dtype", raw.get("torch_dtype"))
    if dtype not in (None, *DTYPES):
        raise HfRltError(f"{name}: expected dtype in its config.json to be among {', '.join(DTYPES)}, found {dtype!r}.")
    labels = raw.get("id2label")
    if labels is None:
        return
    if not isinstance(labels, dict) or not labels or {str(key) for key in labels} != set(map(str, range(len(labels)))):
        found = truncate(labels, 60)
        raise HfRltError(f"{name}: expected id2label in its config.json to map 0, 1, 2, ... to names, found {found}.")
    for label in labels.values():
        if not isinstance(label, str) or not is_text(label):
            raise HfRltError(
                f"{name}: expected text for names in its config.json's id2label, found {truncate(label, 60)}."
            )
