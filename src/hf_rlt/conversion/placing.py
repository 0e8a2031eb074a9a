# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The folder that a conversion writes: whether it may, and how all of it appears at once."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Weights of a model that may have had other shards than the new one.
STALE = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")


def check_out(out: str | Path, source: Path, overwrite: bool) -> Path:
    """Returns the folder to write as an absolute path.

    Raises:
        ValueError: if it holds the source, is a file, or holds files and is no model folder that may be replaced.
    """
    target = Path(out).resolve()
    if source.exists() and target in (source.resolve(), *source.resolve().parents):
        raise ValueError(f"{out}: holds the source {source}: write the result to another folder.")
    if not target.exists():
        return target
    if not target.is_dir():
        raise ValueError(f"{out}: expected a new or empty folder to write to, found a file.")
    if any(target.iterdir()):
        if not overwrite:
            raise ValueError(
                f"{out}: expected a new or empty folder to write to, found one with files: pass --overwrite."
            )
        if not (target / "config.json").is_file():
            raise ValueError(f"{out}: --overwrite replaces models in model folders, and this one holds no config.json.")
    return target


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Returns a context with a folder to write to, whose files are in `target` at its end; after an error none is.

    Files of the same names and weights of another model are replaced; all others stay.

    Raises:
        ValueError: if a folder stands where a file is to be written. Nothing is changed then.
        OSError: if the folder cannot be written.
    """
    inside = target.is_dir()  # which may be a mount point or somebody's working directory: it is not exchanged
    nearest = target if inside else next(parent for parent in target.parents if parent.is_dir())
    # On the same disk, so that finished files get there by renaming.
    with tempfile.TemporaryDirectory(dir=nearest, prefix=f".{target.name}.") as scratch:
        written = Path(scratch) / "model"
        written.mkdir()
        yield written
        if inside:
            _exchange(written, target, Path(scratch) / "replaced")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(written, target)


def _exchange(written: Path, target: Path, replaced: Path) -> None:
    """Returns nothing; moves files one by one, and puts the old ones back if that fails."""
    new = sorted(path.name for path in written.iterdir())
    old = [path.name for path in target.iterdir() if path.name in new or STALE.fullmatch(path.name)]
    folders = [name for name in old if (target / name).is_dir()]
    if folders:
        raise ValueError(f"{target / folders[0]}: expected a file or nothing to replace, found a folder: move it away.")
    replaced.mkdir()
    try:
        for name in old:
            os.rename(target / name, replaced / name)
        for name in new:
            os.rename(written / name, target / name)
    except BaseException:  # Ctrl-C too, or the old files would go with the scratch folder
        for name in new:
            if not (written / name).exists():
                (target / name).unlink()
        for path in replaced.iterdir():
            os.rename(path, target / path.name)
        raise
