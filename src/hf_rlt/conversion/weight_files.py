# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read files of weights without running code in them."""

import argparse
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import HfRltError, join_limited
from .key_names import NamedWeights
from .pickle_bombs import check_pickle
from .source import WEIGHT_DTYPES

WRAPPERS = ("state_dict", "model", "module")
PARTS = ("encoder", "predictor")  # of V-JEPA 2's files
TARGET_ENCODER_NOTE = (
    "The file also holds a target_encoder, the moving average that Meta's evaluations read: 'encoder' was taken, as Meta's "
    "torch.hub entry does, from which the models on the Hub were made."
)
# What trainings leave beside weights: NumPy's numbers, and in Lightning's `hyper_parameters`, for the RLT authors' code,
# their own dataclasses and Hydra's settings.
SETTINGS = re.compile(
    r"(src\.models|omegaconf|hydra|typing|numpy|torch\.optim|torch\.nn\.modules)\.[\w.]+"
    r"|builtins\.(bool|dict|float|int|list|str|tuple)|collections\.defaultdict|functools\.partial"
)


class _Setting:
    """Placeholder for an unpickled training setting; ignores its arguments and state."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Setting":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_weights(path: str | Path) -> NamedWeights:
    """Return the weights of a `.safetensors` file or of one that `torch.save` wrote (`.pth`, `.ckpt`, `.bin`, ...).

    Training settings become empty placeholders; a file with any other object than tensors and containers is refused.

    Raises:
        HfRltError: if the file cannot be read, holds code, or no weights; nothing in it was executed.
        OSError: if there is no such file.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        try:
            return NamedWeights(path, _tensors(path, load_file(path)))
        except SafetensorError as error:
            raise HfRltError(f"{path}: expected a whole safetensors file ({reason(error)}): copy it again.") from error
    content, settings = _load(path)
    found, wrapper, notes = _unwrapped(content)
    file = NamedWeights(path, _tensors(path, found), wrapper, notes=notes)
    if settings:
        file.notes.append(f"Training settings in the file were passed over, unread: {join_limited(settings, 3)}.")
    if wrapper and "model_ema" in content:
        file.notes.append(f"The file also holds averaged weights (model_ema): those of {wrapper!r} were taken.")
    if wrapper and isinstance(content.get("args"), argparse.Namespace):
        file.arguments = vars(content["args"])
    return file


def _unwrapped(content: Any) -> tuple[Any, str, list[str]]:
    """Return the weights among what a training saved, the name that they had there, and notes on what was left."""
    if not isinstance(content, dict):
        return content, "", []
    probes = content.get("classifiers")
    if isinstance(probes, list) and probes:
        notes = [f"The file holds {len(probes)} probes: the first was taken."] * (len(probes) > 1)
        return probes[0], "classifiers", notes
    if all(isinstance(content.get(part), dict) for part in PARTS):
        weights = {name: value for part in PARTS for name, value in content[part].items()}
        return weights, "encoder", [TARGET_ENCODER_NOTE] * ("target_encoder" in content)
    wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), dict)), "")
    return content[wrapper] if wrapper else content, wrapper, []


def _load(path: Path) -> tuple[Any, list[str]]:
    """Return the content of a `torch.save` file, and the names that were replaced by placeholders."""
    whole = zipfile.is_zipfile(path)
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"PK") and not whole:
        raise HfRltError(f"{path}: the end of the file is missing: copy or download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise HfRltError(f"{path}: this is a Git LFS pointer, not the file it stands for: run `git lfs pull`.")
    settings = sorted(name for name in check_pickle(path) if SETTINGS.fullmatch(name))
    # VideoMAE's own checkpoints hold their training's arguments, an argparse.Namespace: attributes without behaviour.
    # Names stand for the placeholder here: the code that they name is neither imported nor called.
    allowed: list[Any] = [argparse.Namespace, *((_Setting, name) for name in settings)]
    try:
        with torch.serialization.safe_globals(allowed):
            # Without mmap the optimizer's state, often twice the weights, would be read as well.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=whole), settings
    except Exception as error:  # an unpickler on bytes of any kind raises whatever it stumbles over
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            raise HfRltError(
                f"{path}: refused, beside weights it holds objects of {refused[1]}, which only code from elsewhere can "
                "make. Nothing was executed. Only where you trust the file, keep its weights alone: "
                "torch.save({KEY: torch.load(FILE, weights_only=False)[KEY]}, NEW), with KEY one of "
                f"{', '.join(map(repr, WRAPPERS))}, and convert NEW."
            ) from error
        raise HfRltError(
            f"{path}: expected a whole checkpoint that torch.save wrote, could not read it ({reason(error)})."
        ) from error


def _tensors(path: Path, weights: Any) -> dict[str, Tensor]:
    """Return weights by name; raise HfRltError unless all are dense tensors of floats, no larger than the file."""
    if not isinstance(weights, dict) or not weights:
        found = "a whole model object" if isinstance(weights, _Setting) else type(weights).__name__
        raise HfRltError(f"{path}: expected a dictionary of weights, found {found}: save a model's state_dict().")
    odd = [name for name, value in weights.items() if not _is_weight(value)]
    if odd:
        raise HfRltError(
            f"{path}: expected weights (dense tensors of 16 to 64 bit floats), alone or under "
            f"{', '.join(map(repr, WRAPPERS))}; {len(odd)} of {len(weights)} entries are something else: "
            f"{join_limited(odd)}."
        )
    needed, size = sum(value.nbytes for value in weights.values()), path.stat().st_size
    if needed > size:
        raise HfRltError(
            f"{path}: refused, expected weights of at most its own {size:,} bytes, found {needed:,}, of which several names "
            "share some: pass the checkpoint as its training wrote it."
        )
    return {str(name): value.detach() for name, value in weights.items()}


def _is_weight(value: Any) -> bool:
    plain = type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and value.dtype in WEIGHT_DTYPES


def reason(error: BaseException) -> str:
    """Return briefly why a file could not be read, without torch's advice to trust it."""
    text = str(error).rsplit("WeightsUnpickler error:", 1)[-1].strip().split("\n")[0]
    return f"{type(error).__name__} {text}"[:160]
