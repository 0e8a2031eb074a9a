# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Converts a checkpoint, checks what was written, and puts it in its place all at once."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .checks import check
from .folders import open_folder
from .originals import open_original
from .source import ConversionSettings, Opened

SHAPE = [
    *("num_frames", "image_size", "tubelet_size", "patch_size", "hidden_size", "num_hidden_layers"),
    *("num_attention_heads", "intermediate_size", "layer_norm_eps", "use_mean_pooling", "length_embedding"),
]


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        source: as given.
        out: folder that holds the result.
        kind: what the source was.
        architecture: class of the result.
        parameters: their number.
        dtype: of the weights.
        num_labels: classes; None without a classifier.
        threshold: of the result; None is dense.
        config: the shape that was found or given.
        notes: what was dropped or assumed, and what may not carry over.
        checks: what was compared after writing.
    """

    source: str
    out: str
    kind: str
    architecture: str
    parameters: int
    dtype: str
    num_labels: int | None
    threshold: float | None
    config: dict[str, Any]
    notes: list[str]
    checks: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the same as plain values, for JSON."""
        return asdict(self)


def convert(
    source: str | Path,
    out: str | Path,
    settings: ConversionSettings | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Conversion:
    """Returns what was done; writes model and processor to a folder that `from_pretrained` opens.

    Args:
        source: a VideoMAE or RLT-VideoMAE Hub id or folder, classifier or pre-trained; or a file of original weights:
            VideoMAE's and VideoMAEv2's `.pth`, fine-tuned or pre-trained, or the RLT authors' Lightning `.ckpt`. Files are
            read by `torch.load(weights_only=True)`; what would run code is refused.
        out: the folder to write, which must be new or empty. It appears only after everything was checked.
        settings: what the source does not tell, or what is to be changed.
        overwrite: replace `out` if it is a model folder (holds a config.json).
        progress: called with the name of each step before it is done.

    Raises:
        ValueError: if the source is none of these, a weight is missing, unexpected, misshapen or not finite, a setting
            contradicts it, or what was written differs. Nothing is left behind then, and `out` stays as it was.
        OSError: if the source cannot be read or `out` cannot be written.

    Example:
        >>> from hf_rlt.conversion import ConversionSettings, convert
        >>> convert("vit_b_k400.pth", "rlt-vit-b-k400", ConversionSettings(labels="k400.txt")).notes
    """
    target = Path(out).resolve()
    _check_out(out, target, Path(source), overwrite)
    progress("Reading the source")
    opened = _open(str(source), settings or ConversionSettings())
    nearest = next(parent for parent in target.parents if parent.is_dir())
    # Beside its place, so that the finished folder gets there by renaming.
    with tempfile.TemporaryDirectory(dir=nearest, prefix=f".{target.name}.") as scratch:
        written = Path(scratch) / "model"
        progress("Writing")
        opened.model.save_pretrained(written)
        opened.processor.save_pretrained(written)
        progress("Opening what was written, comparing")
        try:
            checks = check(opened, written)
        except ValueError as error:
            raise ValueError(f"{source}: nothing was written to {out}. {error}") from error
        target.parent.mkdir(parents=True, exist_ok=True)
        _put_in_place(written, target, Path(scratch) / "replaced")
    return _report(str(source), str(out), opened, checks)


WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def _open(source: str, settings: ConversionSettings) -> Opened:
    path = Path(source)
    if path.is_file():
        return open_original(path, settings)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(
                f"{source}: expected a model folder with a config.json, or a file of weights: found neither."
            )
    elif path.is_absolute() or source.startswith(".") or source.count("/") != 1 or path.suffix in WEIGHT_FILES:
        # As everywhere in hf_rlt, what stands beside existing folders is meant as a path: do not look for it on the Hub.
        raise ValueError(
            f"{source}: expected a model folder, a file of weights, or a Hub id such as user/name: found none."
        )
    return open_folder(source, settings)


def _check_out(out: str | Path, target: Path, source: Path, overwrite: bool) -> None:
    if source.exists() and target in (source.resolve(), *source.resolve().parents):
        raise ValueError(f"{out}: holds the source {source}: write the result to another folder.")
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f"{out}: expected a new or empty folder to write to, found a file.")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise ValueError(f"{out}: expected a new or empty folder to write to, found one with files: pass --overwrite.")
    if not (target / "config.json").is_file():
        raise ValueError(f"{out}: --overwrite replaces model folders only, and this one holds no config.json.")


def _put_in_place(written: Path, target: Path, replaced: Path) -> None:
    """Returns nothing; renames, and puts the old folder back if that fails."""
    if target.is_dir() and any(target.iterdir()):
        os.rename(target, replaced)
        try:
            os.rename(written, target)
        except BaseException:  # Ctrl-C too, or the old folder would go with the scratch one
            os.rename(replaced, target)
            raise
        shutil.rmtree(replaced)
    else:
        if target.is_dir():
            target.rmdir()
        os.rename(written, target)


def _report(source: str, out: str, opened: Opened, checks: list[str]) -> Conversion:
    config, model = opened.model.config, opened.model
    return Conversion(
        source=source,
        out=out,
        kind=opened.kind,
        architecture=type(model).__name__,
        parameters=model.num_parameters(),
        dtype=str(model.dtype).removeprefix("torch."),
        num_labels=config.num_labels if "Classification" in type(model).__name__ else None,
        threshold=config.threshold,
        config={name: getattr(config, name) for name in SHAPE},
        notes=opened.notes,
        checks=checks,
    )
