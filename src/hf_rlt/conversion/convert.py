# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Convert a checkpoint and check what was written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from ..errors import HfRltError
from .checks import check
from .from_original import open_original
from .from_transformers import open_folder
from .output_folder import check_out, model_dir
from .source import ConversionSettings, LoadedSource

WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
SHOWN_FIELDS = [
    *("num_frames", "image_size", "tubelet_size", "patch_size", "hidden_size", "num_hidden_layers"),
    *("num_attention_heads", "intermediate_size", "layer_norm_eps", "use_mean_pooling", "length_embedding"),
]


@dataclass(frozen=True)
class Conversion:
    """Summary of a conversion.

    Attributes:
        source, out: as given.
        kind: what the source was, in words.
        architecture: class of the result.
        parameters: their number.
        dtype: of the weights.
        num_labels: number of classes; None without a classifier.
        threshold: of the result; None is dense.
        rule: of the result, in words.
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
    rule: str
    config: dict[str, Any]
    notes: list[str]
    checks: list[str]


def convert(
    source: str | Path,
    out: str | Path,
    settings: ConversionSettings | None = None,
    overwrite: bool = False,
    on_progress: Callable[[str], None] = lambda step: None,
) -> Conversion:
    """Write model and processor to a folder that `from_pretrained` opens; return what was done.

    Args:
        source: a folder or Hub id of a family that has stock models, with or without RLT, classifier or pre-trained; or a
            file of original weights: VideoMAE's and VideoMAEv2's `.pth`, fine-tuned or pre-trained, the RLT authors'
            Lightning `.ckpt`, or Meta's `.pt` of V-JEPA 2.
        out: the folder to write, which must be new or empty. Files appear in it only after everything was checked.
        settings: what the source does not tell, or what is to be changed.
        overwrite: replace the model in `out` if hf_rlt saved it and it holds no training state. Other files there stay.
        on_progress: called with the name of each step before it is done.

    Raises:
        HfRltError: if the source is none of these, a weight is missing, unexpected, misshapen or not finite, a setting
            contradicts it, or what was written differs. `out` stays as it was then.
        OSError: if the source cannot be read or `out` cannot be written.

    Example:
        >>> from hf_rlt.conversion import ConversionSettings, convert
        >>> convert("vit_b_k400.pth", "rlt-vit-b-k400", ConversionSettings(labels="k400.txt")).notes
    """
    target = check_out(out, Path(source), overwrite)
    on_progress("Reading the source")
    try:
        opened = _open(str(source), settings or ConversionSettings())
    except StrictDataclassError as error:  # a configuration's, around the reason
        raise HfRltError(f"{source}: {error.__cause__ or error}") from error
    with model_dir(target) as written:
        on_progress("Writing")
        opened.model.save_pretrained(written)
        opened.processor.save_pretrained(written)
        on_progress("Opening what was written, comparing")
        try:
            checks = check(opened, written)
        except HfRltError as error:
            raise HfRltError(f"{source}: nothing was written to {out}. {error}") from error
    config, model = opened.model.config, opened.model
    return Conversion(
        source=str(source),
        out=str(out),
        kind=opened.kind,
        architecture=type(model).__name__,
        parameters=model.num_parameters(),
        dtype=str(model.dtype).removeprefix("torch."),
        num_labels=config.num_labels if model is not model.base_model else None,
        threshold=config.threshold,
        rule=config.run_rule.describe(),
        config={name: getattr(config, name) for name in SHOWN_FIELDS if hasattr(config, name)},
        notes=opened.notes,
        checks=checks,
    )


def _open(source: str, settings: ConversionSettings) -> LoadedSource:
    path = Path(source)
    if path.is_file():
        return open_original(path, settings)
    if path.suffix in WEIGHT_FILES and not path.exists():  # which could be a Hub id, too
        raise FileNotFoundError(f"{source}: no such file.")
    if settings.probe is not None:
        raise HfRltError(
            f"{source}: expected a file of original weights for the probe, received a folder: leave --probe out."
        )
    return open_folder(source, settings)
