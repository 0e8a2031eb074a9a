# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Trainer's checkpoints: which of them are whole, and whether there is room for one."""

import json
import logging
import shutil
import tempfile
import zipfile
from itertools import count
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

logger = logging.getLogger(__name__)

MODEL_ONLY = "it holds the model only (save_only_model)"


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read. The message says which one is safe."""


def checkpoint_problem(folder: str | Path) -> str | None:
    """Returns what is wrong with a checkpoint folder; None if a training can be resumed from it.

    Trainer writes a checkpoint file by file and `trainer_state.json` last; a process killed on the way, or a full disk,
    leaves some of them missing or cut off. Weights are checked by header and length, optimiser, scheduler and random
    states by the checksums of their archives. Sharded checkpoints (FSDP, DeepSpeed) are checked for the state file and
    archives only.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    try:
        if "global_step" not in json.loads((folder / "trainer_state.json").read_text()):
            return "trainer_state.json lacks the step"
    except (OSError, ValueError):
        return "trainer_state.json is missing or cut off"
    sharded = any(path.is_dir() for path in folder.iterdir()) or any(folder.glob("*fsdp*"))
    weights = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            weights = [folder / name for name in set(json.loads(index.read_text())["weight_map"].values())]
        except (ValueError, KeyError):
            return f"{index.name} is damaged"
    if not weights and not sharded:
        return "model.safetensors is missing"
    for path in weights:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            return f"{path.name} is damaged ({error})"
    needed = [] if sharded else [folder / "optimizer.pt", folder / "scheduler.pt"]
    random_states = sorted(folder.glob("rng_state*.pth"))
    if not sharded and not random_states and not any(path.exists() for path in needed):
        return MODEL_ONLY
    for path in [*needed, *(random_states or [folder / "rng_state.pth"])]:
        if not path.is_file():
            return f"{path.name} is missing"
        try:
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
        except (OSError, zipfile.BadZipFile):
            broken = "its directory"
        if broken:
            return f"{path.name} is damaged"
    return None


def checkpoint_folders(output_dir: str | Path) -> list[Path]:
    """Returns the `checkpoint-STEP` folders of a training, the newest step first."""
    found = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]), reverse=True)


def set_aside_damaged(output_dir: str | Path) -> list[Path]:
    """Returns the folders that damaged checkpoints were renamed to, `damaged-checkpoint-STEP`.

    Left in place, they would count as the newest ones when Trainer deletes old checkpoints.
    """
    renamed = []
    for folder in checkpoint_folders(output_dir):
        problem = checkpoint_problem(folder)
        if problem not in (None, MODEL_ONLY):
            names = (folder.with_name(f"damaged-{folder.name}" + (f"-{n}" if n > 1 else "")) for n in count(1))
            target = next(path for path in names if not path.exists())  # never over an earlier one
            renamed.append(folder.rename(target))
            logger.warning(
                f"Set aside as {target}: {problem}. An interrupted run or a full disk leaves such a checkpoint."
            )
    return renamed


def newest_checkpoint(output_dir: str | Path) -> Path | None:
    """Returns the newest checkpoint that is whole, or None."""
    return next((folder for folder in checkpoint_folders(output_dir) if checkpoint_problem(folder) is None), None)


def checkpoint_to_resume(output_dir: str | Path, asked: str | bool | None) -> Path | None:
    """Returns the checkpoint to resume from: the one asked for, or the newest whole one; None to start anew.

    Raises:
        CheckpointError: if the one asked for cannot be used, or one is asked for and there is none.
    """
    wanted = str(asked).lower() == "true"
    if wanted or str(asked).lower() in ("none", "false"):
        found = newest_checkpoint(output_dir)
        if found is None and wanted:
            raise CheckpointError(f"{output_dir}: expected a checkpoint to resume from, found no whole one.")
        return found
    problem = checkpoint_problem(str(asked))
    if problem is None:
        return Path(str(asked))
    other = newest_checkpoint(Path(str(asked)).parent)
    remedy = f"{other} is whole: resume from that" if other else "start anew without --resume_from_checkpoint"
    raise CheckpointError(f"Cannot resume from {asked}: {problem}. {remedy}.")


def check_same_model(checkpoint: str | Path, config: Any) -> None:
    """Returns nothing; raises if a checkpoint is of a model with other classes or clips.

    Args:
        checkpoint: its folder; one without config.json (of adapters) is taken as it is.
        config: of the model that is to be trained.

    Raises:
        CheckpointError: naming the first setting that differs.
    """
    path = Path(checkpoint) / "config.json"
    if not path.is_file():
        return
    saved = type(config).from_pretrained(checkpoint)
    for name in ("id2label", "num_frames", "image_size", "patch_size", "hidden_size", "num_hidden_layers"):
        theirs, ours = getattr(saved, name), getattr(config, name)
        if theirs != ours:
            raise CheckpointError(
                f"{checkpoint} is of another training: its {name} is {_short(theirs)}, here it is {_short(ours)}. "
                "Pass another --output_dir, or remove the checkpoint."
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_output_dir(output_dir: str | Path, num_parameters: int) -> None:
    """Returns nothing; raises unless the folder can be written, and warns if there is no room for one checkpoint.

    Args:
        output_dir: is made if it does not exist.
        num_parameters: of the model; a checkpoint of AdamW takes about 12 bytes for each.

    Raises:
        CheckpointError: if the folder cannot be made or written.
    """
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        raise CheckpointError(
            f"--output_dir {output_dir}: expected a folder that can be written ({error.strerror}): choose another or make "
            "room."
        ) from error
    free, needed = shutil.disk_usage(output_dir).free, 12 * num_parameters
    if free < needed:
        logger.warning(
            f"{output_dir}: {free / 1e9:.1f} GB are free, a checkpoint takes about {needed / 1e9:.1f} GB: make room, or the "
            "first checkpoint will fail."
        )
