# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Export a classifier, and compare what was written with PyTorch before it is kept."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..conversion.output_folder import check_out
from ..errors import HfRltError
from ..inference.loading import load
from ..jobs.atomic import atomic_dir
from .description import DESCRIPTION, describe
from .formats import Inputs, Run, write_onnx, write_openvino, write_package, write_program
from .token_model import TokenModel, example_inputs

Writer = Callable[[torch.nn.Module, Inputs, Path, bool], tuple[Path, Run]]
FORMATS: dict[str, Writer] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torch": write_program,
    "aotinductor": write_package,
}
PRECISIONS = ("float32", "int8")
TOLERANCE = 1e-3  # of float32 logits; they differ by 1e-6 or so


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: it holds the models and their description.
        files: the model in each format.
        differences: of logits to PyTorch's, largest, for clips of noise: by format.
    """

    folder: str
    files: dict[str, str]
    differences: dict[str, float]


def export_model(
    name: str, output: str | Path, formats: Sequence[str] = ("onnx",), precision: str = "float32", **options: Any
) -> Exported:
    """Write a classifier for other runtimes, with `rlt.json`, which says how to make its inputs from a video.

    Args:
        name: folder or Hub id of a classifier.
        output: folder to write. Must be new or empty.
        formats: of `FORMATS`.
        precision: "float32", or "int8" for onnx and openvino.
        **options: of `load`: `num_frames`, `sampling`, settings of the rule.

    Raises:
        HfRltError: for a model that cannot be exported, or whose logits would be others. Nothing is written then.
    """
    for what, given, known in (("--format", formats, FORMATS), ("--precision", [precision], PRECISIONS)):
        if wrong := [each for each in given if each not in known]:
            raise HfRltError(f"{what}: expected one of {', '.join(known)}, received {wrong[0]!r}.")
    target = check_out(output, Path(name), overwrite=False)
    model, processor = load(name, **{"attn_implementation": "sdpa", **options})
    if model.config.token_counts(1 << 20)[-1] != 1 << 20:
        raise HfRltError(f"{name}: expected a model that computes what it is given, found {model.config.method}.")
    inputs = example_inputs(model.config)
    token_model = TokenModel(model)
    with torch.no_grad():
        expected = token_model(*inputs)
    files, differences = {}, {}
    with atomic_dir(target) as folder:
        for each in dict.fromkeys(formats):
            try:
                path, run = FORMATS[each](token_model, inputs, folder, precision == "int8")
            except ModuleNotFoundError as error:
                raise HfRltError(f"--format {each} needs {error.name}: `pip install hf_rlt[export]`.") from error
            files[each] = path.name
            with torch.no_grad():
                differences[each] = float((run(inputs) - expected).abs().max())
            if precision == "float32" and not differences[each] <= TOLERANCE:
                raise HfRltError(
                    f"{name}: logits of {each} differ from PyTorch's by {differences[each]:.1e}, expected {TOLERANCE:g} at "
                    "most: nothing is written."
                )
        description = {**describe(model.config, processor), "files": files, "precision": precision}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return Exported(str(output), files, differences)
