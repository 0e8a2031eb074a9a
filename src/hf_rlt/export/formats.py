# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The formats: how a `TokenModel` is written, and how to run what was written."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from ..inference.exported import NAMES, Inputs, Run, open_onnx, open_openvino, padded_inputs

ONE_FILE = 1 << 30  # bytes; above it ONNX keeps weights in a file of their own, as it has to from 2 GiB on


@dataclass(frozen=True)
class Int8:
    """How a model is quantised.

    Attributes:
        processor: of the model.
        videos: on which the ranges of activations are measured; none for weights alone.
    """

    processor: Any = None
    videos: Sequence[str] = ()

    def inputs(self) -> Iterator[Inputs]:
        """Make the inputs of each video."""
        for video in self.videos:
            found = self.processor(video, return_tensors="pt", return_tokens=True)
            yield padded_inputs(found["tubelets"], found["run_lengths"])

    def __iter__(self) -> Iterator[dict[str, Any]]:  # as NNCF wants them
        for inputs in self.inputs():
            yield {name: each.numpy() for name, each in zip(NAMES, inputs, strict=True)}


def _shapes() -> dict[str, dict[int, Any]]:
    """Return the dynamic dimensions of the inputs; for one token torch.export would make another program."""
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", min=2)
    return {name: {0: batch, 1: tokens} for name in NAMES}


@contextmanager
def _quiet() -> Iterator[None]:
    """Context in which exporters print nothing: their warnings concern internals."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _exported(model: torch.nn.Module, inputs: Inputs) -> Any:
    with _quiet(), torch.no_grad():
        return torch.export.export(model, inputs, dynamic_shapes=_shapes())


def write_onnx(model: torch.nn.Module, inputs: Inputs, path: Path, int8: Int8 | None) -> None:
    """Write a model for ONNX Runtime; `int8` quantises weights, and activations of matrix products at run time."""
    large = sum(each.nbytes for each in model.parameters()) > ONE_FILE
    with _quiet(), torch.no_grad(), TemporaryDirectory() as scratch:
        written = Path(scratch) / path.name if int8 else path
        options = {"dynamic_shapes": _shapes(), "output_names": ["logits"]}
        torch.onnx.export(model, inputs, written, external_data=large, verbose=False, **options)  # type: ignore[arg-type]
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            # CPUs without VNNI add pairs of 8-bit products in 16 bits, which can overflow; with weights of 7 bits it cannot.
            kind = {"per_channel": True, "weight_type": QuantType.QInt8, "reduce_range": True}
            quantize_dynamic(written, path, use_external_data_format=large, **kind)


def write_openvino(model: torch.nn.Module, inputs: Inputs, path: Path, int8: Int8 | None) -> None:
    """Write a model for OpenVINO; `int8` quantises weights, and activations if there are videos to calibrate them on."""
    import openvino

    program = openvino.convert_model(_exported(model, inputs))
    for port, name in zip(program.inputs, NAMES, strict=True):
        port.tensor.set_names({name})
    program.outputs[0].tensor.set_names({"logits"})
    if int8:
        with _quiet():  # it prints as it is imported, and as it works
            import nncf

            if int8.videos:
                # Weights of 7 bits: see `write_onnx`.
                weights = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
                options = {"subset_size": len(int8.videos), "advanced_parameters": weights}
                data = nncf.Dataset(int8)
                program = nncf.quantize(program, data, model_type=nncf.ModelType.TRANSFORMER, **options)
            else:
                program = nncf.compress_weights(program, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(program, path, compress_to_fp16=False)


def write_program(model: torch.nn.Module, inputs: Inputs, path: Path, int8: Int8 | None) -> None:
    """Write a program of torch.export, for PyTorch without this package."""
    torch.export.save(_exported(model, inputs), path)


def open_program(path: Path) -> Run:
    """Open a program of torch.export."""
    program = torch.export.load(path).module()
    return lambda inputs: program(*inputs)


def write_package(model: torch.nn.Module, inputs: Inputs, path: Path, int8: Int8 | None) -> None:
    """Write a package that AOTInductor compiled for a machine like this, for PyTorch and C++."""
    with _quiet():
        torch._inductor.aoti_compile_and_package(_exported(model, inputs), package_path=str(path))


def open_package(path: Path) -> Run:
    """Open a package of AOTInductor."""
    package = torch._inductor.aoti_load_package(str(path))
    return lambda inputs: package(*inputs)


class Format(NamedTuple):
    """A format: the name of its file, how to write it, and how to open it."""

    file: str
    write: Callable[[torch.nn.Module, Inputs, Path, Int8 | None], None]
    open: Callable[[Path], Run]
    int8: bool = False  # whether it can be written in int8


FORMATS = {
    "onnx": Format("model.onnx", write_onnx, open_onnx, int8=True),
    "openvino": Format("model.xml", write_openvino, open_openvino, int8=True),
    "torch": Format("model.pt2", write_program, open_program),
    "aotinductor": Format("model_aotinductor.pt2", write_package, open_package),
}
