# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Export a classifier, and compare what was written with PyTorch before it is kept."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..conversion.output_folder import check_out
from ..data.video_list import none_found
from ..errors import HfRltError
from ..inference.exported import DESCRIPTION, is_exported, padded_inputs
from ..inference.loading import load
from ..inference.predict import video_paths
from ..jobs.atomic import atomic_dir
from .description import describe
from .formats import FORMATS, Format, Int8
from .token_model import TokenModel, noise

PRECISIONS = ("float32", "int8")
TOLERANCE = 1e-3  # of float32 logits; they differ by 1e-6 or so


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: it holds the models and their description.
        files: the model in each format.
        differences: largest absolute difference from PyTorch's logits, by format: see `write_compared`.
    """

    folder: str
    files: dict[str, str]
    differences: dict[str, float]


def export_model(
    name: str,
    output: str | Path,
    formats: Sequence[str] = ("onnx",),
    precision: str = "float32",
    calibrate: Sequence[str] = (),
    **options: Any,
) -> Exported:
    """Write a classifier for other runtimes, with `rlt.json`, which says how to make its inputs from a video.

    Args:
        name: folder or Hub id of a classifier.
        output: folder to write. Must be new or empty.
        formats: of `FORMATS`.
        precision: "float32", or "int8" for onnx and openvino.
        calibrate: videos, or folders of videos, on which int8 of openvino measures the ranges of activations; without them
            only weights are quantised. ONNX Runtime measures them as it runs.
        **options: of `load`: `num_frames`, `sampling`, settings of the rule.

    Raises:
        HfRltError: for a model that cannot be exported, or whose logits differ from PyTorch's. Nothing is written then.
    """
    _check(formats, precision, calibrate)
    if is_exported(name):
        raise HfRltError(
            f"{name}: expected a model with its weights, found an exported one: export the model it was made of."
        )
    target = check_out(output, Path(name), None)
    model, processor = load(name, **{"attn_implementation": "sdpa", **options})
    if model.config.token_counts(1 << 20)[-1] != 1 << 20:
        raise HfRltError(
            f"{name}: cannot export {model.config.method}, which drops or merges tokens within the network: export an RLT "
            "model."
        )
    videos = video_paths(calibrate) if calibrate else []
    int8 = Int8(processor, videos) if precision == "int8" else None
    if calibrate and int8 is not None and not int8.videos:
        raise HfRltError(none_found(", ".join(calibrate)))
    with atomic_dir(target) as folder:
        differences = {each: _write(model, folder, each, int8, name) for each in dict.fromkeys(formats)}
        files = {each: FORMATS[each].file for each in differences}
        description = {**describe(model.config, processor), "files": files, "precision": precision}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        model.config.to_json_file(folder / "config.json")  # these two for `load`
        processor.to_json_file(folder / "preprocessor_config.json")
    return Exported(str(output), files, differences)


def _write(model: Any, folder: Path, name: str, int8: Int8 | None, source: str) -> float:
    """Write a model in the format of a name, and compare it, see `write_compared`; `source` is for messages."""
    try:
        difference = write_compared(TokenModel(model.float()), folder, FORMATS[name], int8)
    except ModuleNotFoundError as error:
        raise HfRltError(f"--format {name} needs {error.name}: `pip install hf_rlt[export]`.") from error
    if not difference <= (TOLERANCE if int8 is None else math.inf):  # NaN is none
        raise HfRltError(
            f"{source}: expected logits of {name} within {TOLERANCE:g} of PyTorch's, found {difference:.1e}: try another "
            "format."
        )
    return difference


def _check(formats: Sequence[str], precision: str, calibrate: Sequence[str]) -> None:
    for what, given, known in (("--format", formats, FORMATS), ("--precision", [precision], PRECISIONS)):
        if wrong := [each for each in given if each not in known]:
            raise HfRltError(f"{what}: expected one of {', '.join(known)}, received {wrong[0]!r}.")
    if precision == "int8" and (wrong := [each for each in formats if not FORMATS[each].int8]):
        raise HfRltError(f"--precision int8 is for onnx and openvino, received --format {wrong[0]}: leave one out.")
    if calibrate and (precision != "int8" or "openvino" not in formats):
        raise HfRltError("--calibrate is for --format openvino with --precision int8: add them, or leave it out.")


@torch.no_grad()
def write_compared(model: TokenModel, folder: Path, form: Format, int8: Int8 | None) -> float:
    """Write a model in a format; return by how much its logits differ from the classifier's at most.

    They are of clips of noise, or of those by which activations are quantised: their ranges do not hold for noise.
    """
    clips, runs, tubelets = noise(model.classifier.config)
    inputs = padded_inputs(tubelets, runs)
    form.write(model, inputs, folder / form.file, int8)
    compute = form.open(folder / form.file)
    if int8 and int8.videos:
        return max(float((compute(inputs) - model(*inputs)).abs().max()) for inputs in int8.inputs())
    return float((compute(inputs) - model.classifier(clips, run_lengths=runs).logits).abs().max())
