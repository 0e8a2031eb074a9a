# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The formats: each writes a `TokenModel` to a folder, and opens what it wrote to run it."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import HfRltError

ONE_FILE = 1 << 30  # bytes; above it ONNX keeps weights in a file of their own, as it has to from 2 GiB on
NAMES = ("tubelets", "places", "run_lengths")
Inputs = tuple[Tensor, Tensor, Tensor]
Run = Callable[[Inputs], Tensor]


def _shapes() -> dict[str, dict[int, Any]]:
    """Say which sizes of the inputs are free."""
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    return {name: {0: batch, 1: tokens} for name in NAMES}


@contextmanager
def _quiet() -> Iterator[None]:
    """Context in which exporters say nothing: what they warn of are their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _exported(model: torch.nn.Module, inputs: Inputs) -> Any:
    with _quiet(), torch.no_grad():
        return torch.export.export(model, inputs, dynamic_shapes=_shapes())


def write_onnx(model: torch.nn.Module, inputs: Inputs, folder: Path, int8: bool) -> tuple[Path, Run]:
    """Write `model.onnx`; with `int8` weights and, as it runs, activations of matrix products are quantised."""
    import onnxruntime

    path = folder / "model.onnx"
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            model,
            inputs,
            path,
            dynamic_shapes=_shapes(),
            output_names=["logits"],
            external_data=sum(each.nbytes for each in model.parameters()) > ONE_FILE,
            verbose=False,
        )
    if int8:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with _quiet():
            quantize_dynamic(path, path, per_channel=True, weight_type=QuantType.QInt8)
    session = onnxruntime.InferenceSession(path)

    def run(inputs: Inputs) -> Tensor:
        (logits,) = session.run(None, {name: each.numpy() for name, each in zip(NAMES, inputs, strict=True)})
        return torch.from_numpy(logits)

    return path, run


def write_openvino(model: torch.nn.Module, inputs: Inputs, folder: Path, int8: bool) -> tuple[Path, Run]:
    """Write `model.xml` and `model.bin`, float32 or with the weights in int8."""
    import openvino

    program = openvino.convert_model(_exported(model, inputs))
    for port, name in zip(program.inputs, NAMES, strict=True):
        port.tensor.set_names({name})
    program.outputs[0].tensor.set_names({"logits"})
    if int8:
        import nncf

        program = nncf.compress_weights(program, mode=nncf.CompressWeightsMode.INT8_SYM)
    path = folder / "model.xml"
    openvino.save_model(program, path, compress_to_fp16=False)
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return path, lambda inputs: torch.from_numpy(compiled([each.numpy() for each in inputs])["logits"])


def write_program(model: torch.nn.Module, inputs: Inputs, folder: Path, int8: bool) -> tuple[Path, Run]:
    """Write `model.pt2`, a program of torch.export, for PyTorch without this package."""
    _float_only("torch", int8)
    path = folder / "model.pt2"
    torch.export.save(_exported(model, inputs), path)
    opened = torch.export.load(path).module()
    return path, lambda inputs: opened(*inputs)


def write_package(model: torch.nn.Module, inputs: Inputs, folder: Path, int8: bool) -> tuple[Path, Run]:
    """Write `model_aotinductor.pt2`, compiled for a device like this model's, for PyTorch and C++."""
    _float_only("aotinductor", int8)
    path = folder / "model_aotinductor.pt2"
    with _quiet():
        torch._inductor.aoti_compile_and_package(_exported(model, inputs), package_path=str(path))
    opened = torch._inductor.aoti_load_package(str(path))
    return path, lambda inputs: opened(*inputs)


def _float_only(name: str, int8: bool) -> None:
    if int8:
        raise HfRltError(f"--precision int8 is for onnx and openvino: leave it out, or --format {name}.")
