# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write a model to a folder at once, and replace none but models that hf_rlt saved."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.text_files import read_json
from ..errors import HfRltError
from ..families import FAMILIES
from ..jobs.atomic import atomic_dir

OURS = b"The hf_rlt authors"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TRAINING = ("trainer_state.json", "training_args.bin")
# Weights of a model that may have had other shards than the new one.
STALE = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")


def check_out(out: str | Path, source: Path, overwrite: bool | None) -> Path:
    """Return the folder to write as an absolute path; `overwrite` is None where there is no such option.

    Raises:
        HfRltError: if it holds the source, is a file, or holds files and is no model folder that may be replaced.
    """
    target = Path(out).resolve()
    if source.exists() and target in (source.resolve(), *source.resolve().parents):
        raise HfRltError(f"{out}: holds the source {source}: write the result to another folder.")
    if target.exists() and not target.is_dir():
        raise HfRltError(f"{out}: expected a new or empty folder to write to, found a file.")
    if target.exists() and any(target.iterdir()):
        if not overwrite:
            remedy = "give another folder" if overwrite is None else "pass --overwrite"
            raise HfRltError(f"{out}: expected a new or empty folder to write to, found one with files: {remedy}.")
        problem = _no_model(target)
        if problem:
            raise HfRltError(f"{out}: --overwrite replaces models that hf_rlt saved, and this one {problem}.")
    return target


def _no_model(folder: Path) -> str:
    """Return why a folder does not hold a model that convert or `save_pretrained` wrote; "" if it does."""
    if not (folder / "config.json").is_file():
        return "holds no config.json"
    try:
        config = read_json(folder / "config.json")
    except HfRltError:
        config = None
    kinds = [kind for kind, family in FAMILIES.items() if family.stock]
    if not isinstance(config, dict) or config.get("model_type") not in kinds or "transformers_version" not in config:
        return f"has a config.json of something else (no model_type {' or '.join(kinds)} with a transformers_version)"
    if not any((folder / name).is_file() for name in WEIGHTS):
        return f"holds neither {' nor '.join(WEIGHTS)}"
    training = [name for name in TRAINING if (folder / name).exists()]
    return f"is of a training ({training[0]}), whose results would tell of another model" if training else ""


@contextmanager
def model_dir(target: Path) -> Iterator[Path]:
    """Yield a folder to write to, whose files are moved to `target` at the end; after an error, none is.

    Files of the same names and weights of another model are replaced; all others stay.

    Raises:
        HfRltError: if a folder, or code that is not ours, is where a file is to be written. Nothing is changed then.
        OSError: if the folder cannot be written.
    """
    if not target.is_dir():
        with atomic_dir(target) as written:
            yield written
        return
    # The folder itself stays: it may be a mount point or somebody's working directory.
    with tempfile.TemporaryDirectory(dir=target, prefix=f".{target.name}.") as scratch:
        written = Path(scratch) / "model"
        written.mkdir()
        yield written
        _exchange(written, target, Path(scratch) / "replaced")


def _exchange(written: Path, target: Path, replaced: Path) -> None:
    """Move files one by one, and put the old ones back if that fails."""
    new = sorted(path.name for path in written.iterdir())
    old = [path for path in target.iterdir() if path.name in new or STALE.fullmatch(path.name)]
    for path in old:
        if path.is_dir():
            raise HfRltError(f"{path}: expected a file or nothing to replace, found a folder: move it away.")
        if path.suffix == ".py" and OURS not in path.read_bytes()[:200]:
            raise HfRltError(f"{path}: expected code that hf_rlt wrote, or none, found another's: move it away.")
    replaced.mkdir()
    try:
        for path in old:
            os.rename(path, replaced / path.name)
        for name in new:
            os.rename(written / name, target / name)
    except BaseException:  # Ctrl-C too, or the old files would go with the scratch folder
        for name in new:
            if not (written / name).exists():
                (target / name).unlink()
        for path in replaced.iterdir():
            os.rename(path, target / path.name)
        raise
