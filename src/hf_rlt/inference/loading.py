# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Load a model with a processor that fits it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from .. import baselines  # noqa: F401  registers their model families
from ..errors import DTYPES, HfRltError, join_limited
from ..families import family_of
from ..hub.repo_config import read_config
from ..models.run_rule import RULE_SETTINGS, rule_of, rule_settings
from .exported import ExportedClassifier, is_exported

OF_MODEL = {"num_frames", *RULE_SETTINGS}  # settings of the processor that follow the model's configuration


def load(
    name: str,
    *,
    num_frames: int | None = None,
    sampling: dict[str, Any] | None = None,
    attn_implementation: str | None = None,
    head: bool = True,
    **rule: Any,
) -> tuple[Any, Any]:
    """Load a model, a stock one as its RLT counterpart, and a processor that fits it.

    Args:
        name: folder or Hub id of a classifier or encoder of any family, see `hf_rlt.families`, or a folder that
            `hf-rlt export` wrote.
        num_frames: frames per clip, to which positions are interpolated; the model's own unless given.
        sampling: settings of the processor that choose the frames.
        attn_implementation: attention backend, such as "flash_attention_2"; transformers' default unless given.
        head: whether a trained head is required; otherwise a model without one is returned as its encoder alone.
        **rule: settings of the rule that are not to be the model's own, such as `threshold` (None for dense) or
            `num_tokens`, see `RunRule`. A threshold clears the model's own `num_tokens`, see `complete_changes`.

    Raises:
        HfRltError: if `name` holds something else, or a needed head is missing.
        OSError: if there is no such model.
    """
    if is_exported(name):
        if (num_frames, attn_implementation) != (None, None):
            raise HfRltError(
                f"{name}: an exported model keeps the frames and the attention it was exported with: leave num_frames and "
                "attn_implementation out, or export it anew."
            )
        config, processor = _config_and_processor(name, rule, sampling or {})
        processor.run_rule.make_budget(config.grid)
        return ExportedClassifier(name, config), processor
    read_config(name)
    changes = rule if num_frames is None else {**rule, "num_frames": num_frames}
    if attn_implementation is not None:
        changes["attn_implementation"] = attn_implementation
    family = family_of(AutoConfig.from_pretrained(name).model_type, name)
    try:
        with _refusals_of(name):
            model, loading = family.classifier.from_pretrained(name, output_loading_info=True, **changes)
    except (ValueError, ImportError) as error:  # transformers refuses a backend that is unknown or not installed
        if attn_implementation is None or not re.search("attn|attention", str(error), re.IGNORECASE):
            raise
        raise HfRltError(f"{name}: {error}") from error
    except RuntimeError as error:
        if "mismatched" not in str(error):
            raise
        raise HfRltError(f"{name}: the weights have other shapes than config.json says: was it edited?") from error
    missing = _missing_head(name, model, loading)
    if missing and head:
        found = join_limited(missing, 4)
        raise HfRltError(f"{name}: expected a classifier, found weights without {found}: fine-tune it first.")
    processor = _processor(name, model.config, **(sampling or {}))
    processor.run_rule.make_budget(model.config.grid)  # raises now rather than at each video
    return model.base_model if missing else model, processor


def load_processor(name: str, **changes: Any) -> Any:
    """Load the processor that fits a model, with some settings changed, without its weights; raise as `load` does.

    Raises:
        HfRltError: also for a model that chooses tokens by itself, of which a processor knows nothing.
    """
    of_model = {key: changes.pop(key) for key in OF_MODEL & set(changes)}
    config, processor = _config_and_processor(name, of_model, changes)
    if rule_of(config) != config.run_rule:
        raise HfRltError(
            f"{name}: expected a model that chooses tokens by their pixels, found one that chooses {config.method}, "
            "within the network."
        )
    return processor


def _config_and_processor(name: str, of_model: dict[str, Any], changes: dict[str, Any]) -> tuple[Any, Any]:
    """Load what a model's folder has beside its weights."""
    read_config(name)
    family = family_of(AutoConfig.from_pretrained(name).model_type, name)
    with _refusals_of(name):
        config = family.config.from_pretrained(name, **of_model)
    return config, _processor(name, config, **changes)


@contextmanager
def _refusals_of(name: str) -> Iterator[None]:
    """Context that turns what is refused in a model's files into an `HfRltError` that names the model."""
    try:
        yield
    except (StrictDataclassError, SafetensorError) as error:
        raise HfRltError(f"{name}: {error}") from error


def _processor(name: str, config: Any, **changes: Any) -> Any:
    own = {field: getattr(config, field) for field in ("num_frames", "tubelet_size", "patch_size")}
    own |= rule_settings(config.run_rule)
    return family_of(config.model_type, name).processor.from_pretrained(name, **{**own, **changes})


def _missing_head(name: str, model: Any, loading: dict[str, Any]) -> list[str]:
    """Return the head's weights that the files lack; raise HfRltError if the encoder's blocks do not fit."""
    keys = {*loading["missing_keys"], *loading["unexpected_keys"]}
    odd = [key for key in keys if ".layer." in key and "decoder" not in key]
    if odd:
        found = f"{len(odd)} missing or too many, such as {min(odd)}"
        raise HfRltError(f"{name}: the weights are not those of config.json's blocks ({found}): was it edited?")
    return sorted(key for key in loading["missing_keys"] if not key.startswith(f"{model.base_model_prefix}."))


def as_dtype(name: str | None) -> torch.dtype | None:
    """Return a type of number that models compute in, by its name."""
    if name not in (None, *DTYPES):
        raise HfRltError(f"Expected dtype to be one of {', '.join(DTYPES)}, received {name!r}.")
    return None if name is None else getattr(torch, name)
