# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Reads the weights in a file that somebody else wrote, without running what the file says."""

import argparse
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import HfRltError
from .pickle_bombs import check_size
from .source import WEIGHT_DTYPES, listed

WRAPPERS = ("state_dict", "model", "module")
# Modules whose functions run commands or code: a file that names one was made to harm, not to keep weights.
HARMFUL = (
    "posix",
    "nt",
    "os",
    "subprocess",
    "commands",
    "sys",
    "pty",
    "socket",
    "shutil",
    "runpy",
    "importlib",
    "pickle",
    "code",
)
HARMFUL_BUILTINS = ("eval", "exec", "compile", "__import__", "getattr", "setattr", "open", "breakpoint")
# What trainings leave beside weights: NumPy's numbers, and in Lightning's `hyper_parameters`, for the RLT authors' code,
# their own dataclasses and Hydra's settings.
SETTINGS = re.compile(
    r"(src\.models|omegaconf|hydra|typing|numpy|torch\.optim|torch\.nn\.modules)\.[\w.]+"
    r"|builtins\.(bool|dict|float|int|list|str|tuple)|collections\.defaultdict|functools\.partial"
)


MOST_SETTINGS = 32  # in a file from before torch 1.6, which is read anew for each of them


class _Settings:
    """An empty thing in the place of a training setting: takes any arguments and any state, and keeps none."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Settings":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass
class WeightFile:
    """Weights of a file, by the names that the file gives them.

    Attributes:
        path: of the file.
        weights: float tensors on the CPU, perhaps still on the disk.
        wrapper: name of the dictionary they were in: "state_dict" (Lightning), "model", "module", or "" for none.
        arguments: of the training, where the file holds them.
        notes: what was left out.
    """

    path: Path
    weights: dict[str, Tensor]
    wrapper: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_weights(path: str | Path) -> WeightFile:
    """Return the weights of a `.safetensors` file or of one that `torch.save` wrote (`.pth`, `.ckpt`, `.bin`, ...).

    Only tensors, containers, numbers and text are read. Of anything else that a file wants to have made, the training
    settings that Lightning keeps for the RLT authors' code become empty placeholders; all other is refused, by name,
    before anything is made.

    Raises:
        ValueError: if the file cannot be read, holds code, or no weights; nothing in it was executed.
        OSError: if there is no such file.
    """
    path = Path(path)
    with path.open("rb") as stream:
        start = stream.read(64)
    if path.suffix.lower() == ".safetensors":
        try:
            return WeightFile(path, _tensors(path, load_file(path)))
        except SafetensorError as error:
            raise HfRltError(f"{path}: expected a whole safetensors file ({reason(error)}): copy it again.") from error
    content, settings = _read_pickle(path, start)
    wrapper = next((name for name in WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)), "")
    weights = content[wrapper] if wrapper else content
    notes = []
    if settings:
        notes.append(f"Training settings in the file were passed over, unread: {listed(settings, 3)}.")
    if wrapper and "model_ema" in content:
        notes.append(f"The file also holds averaged weights (model_ema): those of {wrapper!r} were taken.")
    arguments = content.get("args") if wrapper else None
    return WeightFile(
        path,
        _tensors(path, weights),
        wrapper,
        vars(arguments) if isinstance(arguments, argparse.Namespace) else {},
        notes,
    )


def _read_pickle(path: Path, start: bytes) -> tuple[Any, list[str]]:
    whole = zipfile.is_zipfile(path)
    if start.startswith(b"PK") and not whole:
        raise HfRltError(f"{path}: the end of the file is missing: copy or download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise HfRltError(f"{path}: this is a Git LFS pointer, not the file it stands for: run `git lfs pull`.")
    check_size(path)
    foreign = _foreign_names(path) if whole else []
    settings = [name for name in foreign if SETTINGS.fullmatch(name)]
    _refuse_code(path, [name for name in foreign if name not in settings])
    while True:
        # VideoMAE's own checkpoints hold their training's arguments, an argparse.Namespace: attributes without behaviour.
        # Names stand for the placeholder here: the code that they name is neither imported nor called.
        allowed: list[Any] = [argparse.Namespace, *((_Settings, name) for name in settings)]
        try:
            with torch.serialization.safe_globals(allowed):
                # Without mmap the optimiser's state, often twice the weights, would be read as well.
                return torch.load(path, map_location="cpu", weights_only=True, mmap=whole), settings
        except Exception as error:  # an unpickler on bytes of any kind raises whatever it stumbles over
            name = _refused_name(error)
            if SETTINGS.fullmatch(name) and name not in settings and len(settings) < MOST_SETTINGS:
                settings.append(name)  # files from before torch 1.6 tell their names one at a time
                continue
            _refuse_code(path, [name] if name else [])
            raise HfRltError(
                f"{path}: expected a checkpoint that torch.save wrote, could not read it ({reason(error)}): is the file "
                "whole, and is it one?"
            ) from error


def _refused_name(error: Exception) -> str:
    """Return the full name that torch's unpickler refused, or nothing if that was not the reason."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    name = named.group(1) if named else ""
    return name if "." in name or not name else f"builtins.{name}"


def _foreign_names(path: Path) -> list[str]:
    """Return what a file would import, beyond tensors, without importing or creating anything."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # then loading fails too, or refuses by the first name
        return []


def _refuse_code(path: Path, names: list[str]) -> None:
    harmful = [name for name in names if _is_harmful(name)]
    if harmful:
        raise HfRltError(
            f"{path}: refused, opening it would run {listed(harmful)}. Weights need no such thing: do not open this file. "
            "Nothing was executed."
        )
    if names:
        raise HfRltError(
            f"{path}: refused, beside weights it holds objects of {listed(names)}, which only code from elsewhere can make. "
            "Nothing was executed. Where you trust the file, keep its weights alone: "
            "torch.save({KEY: torch.load(FILE, weights_only=False)[KEY]}, NEW), with KEY one of "
            f"{', '.join(map(repr, WRAPPERS))}, and convert NEW."
        )


def _is_harmful(name: str) -> bool:
    return name.split(".")[0] in HARMFUL or name.removeprefix("builtins.") in HARMFUL_BUILTINS


def _tensors(path: Path, weights: Any) -> dict[str, Tensor]:
    if isinstance(weights, _Settings):
        raise HfRltError(
            f"{path}: expected a dictionary of weights, found a whole model object: save its state_dict() instead."
        )
    if not isinstance(weights, dict) or not weights:
        raise HfRltError(
            f"{path}: expected a dictionary of weights, found {type(weights).__name__}: pass what a training wrote."
        )
    plain = {str(name): value for name, value in weights.items() if type(value) in (Tensor, nn.Parameter)}
    odd = [str(name) for name in weights if str(name) not in plain]
    odd += [name for name, value in plain.items() if not _is_dense_float(value)]
    if odd:
        raise HfRltError(
            f"{path}: expected weights (dense tensors of 16 to 64 bit floats), alone or under "
            f"{', '.join(map(repr, WRAPPERS))}; {len(odd)} of {len(weights)} entries are something else: {listed(odd)}."
        )
    needed, size = sum(value.numel() * value.element_size() for value in plain.values()), path.stat().st_size
    if needed > size:
        raise HfRltError(
            f"{path}: refused, expected weights of at most its own {size:,} bytes, found {needed:,}, of which "
            "several names share some: pass the checkpoint as its training wrote it."
        )
    return {name: value.detach() for name, value in plain.items()}


def _is_dense_float(value: Tensor) -> bool:
    plain = value.dtype in WEIGHT_DTYPES and value.layout == torch.strided and value.device.type == "cpu"
    # A few bytes that are said to repeat (stride 0) could stand for more than any memory holds.
    return plain and value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def reason(error: BaseException) -> str:
    """Return briefly why a file could not be read, without the unpickler's advice to trust it."""
    text = str(error).rsplit("WeightsUnpickler error:", 1)[-1].strip()
    words = " ".join(text.split("\n")[0].split())
    if not re.search("[a-z]", words):
        words = f"{type(error).__name__} {words}".strip()
    return words if len(words) <= 160 else f"{words[:160]}..."
