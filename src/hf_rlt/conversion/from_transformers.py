# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Open Hugging Face folders and repositories of the families that have stock models, with or without RLT."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForVideoClassification, PreTrainedModel

from ..errors import HfRltError
from ..families import FAMILIES, Family, family_of
from ..hub.repo_config import read_config
from ..models.run_rule import RULE_SETTINGS, complete_changes
from ..models.runs import to_2tuple
from .labels import read_labels
from .pickle_bombs import check_pickle
from .source import (
    DTYPES,
    PRETRAINING_ONLY,
    ConversionSettings,
    LoadedSource,
    check_finite,
    check_keys,
    no_pooling,
    pretraining_note,
)
from .weight_files import reason

PROCESSOR_FILES = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")


def open_folder(name: str, settings: ConversionSettings) -> LoadedSource:
    """Return the model and processor of a folder or Hub id: classifier, bare encoder, or pre-trained with decoder.

    Raises:
        HfRltError: if it is something else, a setting contradicts it, or a weight is missing, unexpected or misshapen.
        OSError: if there is no such folder, or a file of it is missing.
    """
    raw = read_config(name)
    model_type = str(raw.get("model_type"))
    family = family_of(model_type, name)
    if family.stock is None:
        wanted = ", ".join(each.name for each in FAMILIES.values() if each.stock)
        raise HfRltError(f"{name}: expected a model of {wanted}, with or without RLT, found {model_type}.")
    architecture = str((raw.get("architectures") or [""])[0])
    classifies = not architecture.endswith(("ForPreTraining", "Model"))
    changes = _changes(name, family, settings, classifies)
    model, dropped = _load(name, family, classifies, settings.dtype, changes)
    check_finite(name, model.state_dict())
    notes = _remarks(model, dropped)
    processor = _processor(name, family, model.config, settings, notes)
    method = "" if model_type == family.stock else f"{family.config.method}-"
    kind = f"{method}{family.name} {'classifier' if classifies else 'encoder'}"
    open_reference = partial(_open_reference, name, classifies, model.dtype, changes)
    return LoadedSource(kind, model, processor, notes, open_reference)


def _changes(name: str, family: Family, settings: ConversionSettings, classifies: bool) -> dict[str, Any]:
    """Return the changes to the configuration; raise HfRltError for those that the weights do not bear."""
    config = family.config.from_pretrained(name)
    own = {field: getattr(config, field) for field in ("num_frames", "image_size", "num_attention_heads")}
    pools = hasattr(config, "use_mean_pooling")
    if classifies and pools:
        own["pooling"] = "mean" if config.use_mean_pooling else "first"
    settings.check_same(name, own)
    changes: dict[str, Any] = dict(settings.rule)
    if settings.pooling and not pools:
        raise no_pooling(name, family)
    if settings.pooling and config.use_mean_pooling != (settings.pooling == "mean"):
        changes["use_mean_pooling"] = settings.pooling == "mean"
    if settings.labels is not None:
        changes |= read_labels(settings.labels, config.num_labels if classifies else 0)
    return changes


def _load(
    name: str, family: Family, classifies: bool, dtype: str | None, changes: dict[str, Any]
) -> tuple[PreTrainedModel, list[str]]:
    """Return the model, and the weights that were knowingly left out."""
    network = family.classifier if classifies else family.model
    _check_weights(name, network, changes)
    options: dict[str, Any] = {"dtype": DTYPES[dtype] if dtype else "auto", "ignore_mismatched_sizes": True}
    try:
        model, loading = network.from_pretrained(name, output_loading_info=True, **options, **changes)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:  # of their readers
        raise HfRltError(
            f"{name}: its weights cannot be read ({reason(error)}): download them again. Nothing in them was executed."
        ) from error
    unexpected = set(loading["unexpected_keys"])
    dropped = {key for key in unexpected if not classifies and key.startswith(PRETRAINING_ONLY)}
    if "use_mean_pooling" in changes:
        prefix = f"{network.base_model_prefix}."
        dropped |= {key for key in unexpected if key.removeprefix(prefix).startswith("layernorm.")}
    wrong = {
        key: f"{key} {tuple(found)} instead of {tuple(wanted)}" for key, found, wanted in loading["mismatched_keys"]
    }
    missing = set(loading["missing_keys"]) - set(wrong)
    misfits = {"missing": missing, "unexpected": unexpected - dropped, "of another shape": wrong.values()}
    check_keys(name, family.name, misfits)
    return model.eval(), sorted(dropped)


def _check_weights(name: str, network: type[PreTrainedModel], changes: dict[str, Any]) -> None:
    """Raise HfRltError if the files of a local folder are too small for its config.json, or expand in memory."""
    files = [path for path in Path(name).glob("*") if path.suffix in (".bin", ".safetensors") and path.is_file()]
    for path in files:
        if path.suffix == ".bin":
            check_pickle(path)
    with torch.device("meta"):
        needed = network(network.config_class.from_pretrained(name, **changes)).num_parameters()
    held = sum(path.stat().st_size for path in files)
    if files and needed > held:
        raise HfRltError(
            f"{name}: expected weights for the model in its config.json, {needed:,} numbers, found files of {held:,} bytes."
        )


def _remarks(model: PreTrainedModel, dropped: list[str]) -> list[str]:
    pretraining = [key for key in dropped if key.startswith(PRETRAINING_ONLY)]
    notes = pretraining_note(pretraining)
    if len(dropped) > len(pretraining):
        notes.append("Dropped layernorm, the norm after all blocks: a model with pooling 'mean' has no place for it.")
    # Loading puts zeros where a table is missing, so that stock checkpoints can be given one: it does not count as missing.
    if model.config.length_embedding and not model.base_model.embeddings.run_length_embeddings.weight.any():
        notes.append("The length embedding is all zeros: it was never trained, or is not among the weights.")
    if model is model.base_model and not getattr(model.config, "use_mean_pooling", True):
        notes.append(
            "Its config.json says use_mean_pooling false: fine-tuned as it is, the classifier sees the first token alone. "
            "VideoMAE's own fine-tuning averages the tokens: convert with --pooling mean for that."
        )
    return notes


def _processor(name: str, family: Family, config: Any, settings: ConversionSettings, notes: list[str]) -> Any:
    """Return the source's processor, changed where it would not fit the model; add a note for each change."""
    shared = ("num_frames", "tubelet_size", "patch_size", *RULE_SETTINGS)
    agreed = {field: getattr(config, field) for field in shared} | settings.given("frame_stride", "sampling")
    height, width = to_2tuple(config.image_size)
    fitting = family.processor.sizes(height, width)
    try:
        processor = family.processor.from_pretrained(name, **agreed)
    except OSError:
        if any((Path(name) / file).is_file() for file in PROCESSOR_FILES):
            raise
        notes.append(
            f"No preprocessor_config.json: normalised with ImageNet's mean and deviation, as {family.name}'s loaders do."
        )
        return family.processor(**fitting, **agreed)
    given = processor.crop_size if processor.do_center_crop else processor.size
    given = (given["height"], given["width"]) if given and "height" in given else None
    if given != (height, width):
        found = f"{given[0]}x{given[1]}" if given else "no fixed size"
        notes.append(
            f"The processor gives frames of {found}: set to the model's {height}x{width}, cut from the centre."
        )
        processor = family.processor.from_pretrained(name, **agreed, **fitting, do_center_crop=True)
    return processor


def _open_reference(name: str, classifies: bool, dtype: torch.dtype, changes: dict[str, Any]) -> PreTrainedModel:
    """Return the source opened by its own class, every token computed."""
    pooling = {field: value for field, value in changes.items() if field == "use_mean_pooling"}
    auto = AutoModelForVideoClassification if classifies else AutoModel
    model = auto.from_pretrained(name, dtype=dtype, **pooling).eval()
    for name, value in complete_changes({"threshold": None}).items():
        setattr(model.config, name, value)
    return model
