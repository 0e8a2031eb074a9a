# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classifiers that `hf-rlt export` wrote, run by ONNX Runtime or OpenVINO."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import HfRltError, one_line
from ..models.packing import packed_layout
from ..models.rlt_classifier import RLTClassifierMixin
from ..models.rlt_model import RLTModelMixin, RLTModelOutput
from ..models.tubelets import cut_tubelets, flat_tubelets

DESCRIPTION = "rlt.json"
NAMES = ("tubelets", "places", "run_lengths")
Inputs = tuple[Tensor, Tensor, Tensor]
Run = Callable[[Inputs], Tensor]


def open_onnx(path: Path) -> Run:
    """Open a model in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)

    def run(inputs: Inputs) -> Tensor:
        (logits,) = session.run(None, {name: each.numpy() for name, each in zip(NAMES, inputs, strict=True)})
        return torch.from_numpy(logits)

    return run


@cache
def _openvino() -> Any:
    """Start OpenVINO, once.

    It gives a thread a stack for signals. When two of it end out of order (2026.4), that stack is gone, and the next signal,
    such as Ctrl-C or the end of a child process, kills this one.
    """
    import openvino

    return openvino.Core()


def open_openvino(path: Path, precision: str = "f32") -> Run:
    """Open a model in OpenVINO, to compute in `precision`, f32 or bf16."""
    compiled = _openvino().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda inputs: torch.from_numpy(compiled([each.numpy() for each in inputs])["logits"])


PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
OPENERS: dict[str, Callable[[Path], Run]] = {"model.onnx": open_onnx, "model.xml": open_openvino}


def is_exported(name: str) -> bool:
    """Return whether a name is that of a folder which `hf-rlt export` wrote."""
    return (Path(name) / DESCRIPTION).is_file()


def padded_inputs(tubelets: Tensor, run_lengths: Tensor, tokens: int | None = None) -> Inputs:
    """Make what an exported model takes, from what a processor gives with `return_tokens=True`.

    Args:
        tubelets: `(L, s, C, p, p)`.
        run_lengths: `(B, N)`.
        tokens: to which clips are padded; the tokens of the longest unless given.
    """
    layout = packed_layout(run_lengths)
    length = layout.max_length if tokens is None else tokens
    if length < layout.max_length:
        raise HfRltError(f"Expected to pad clips to {layout.max_length} tokens or more, received {length}.")
    kept, places = (run_lengths > 0).sort(dim=1, descending=True, stable=True)
    lengths = run_lengths.gather(1, places).long()
    more = (0, length - kept.shape[1])  # cuts, if it is negative
    kept, places, lengths = F.pad(kept, more), F.pad(places * kept, more), F.pad(lengths, more)
    flat = flat_tubelets(tubelets)
    padded = flat.new_zeros((*kept.shape, flat.shape[1]))
    padded[kept] = flat
    return padded, places, lengths


def _digest(path: Path) -> bytes:
    """Return a digest of a model's files, by which predictions know the model they are of."""
    found = hashlib.sha256()
    for each in (path, path.with_suffix(".bin"), path.with_name(f"{path.name}.data")):
        if each.is_file():
            with each.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.digest()


class _ExportedBase(RLTModelMixin, nn.Module):
    """From clips to logits, which stand where other models have the pool."""

    def __init__(self, config: Any, run: Run) -> None:
        super().__init__()
        self.config, self.run = config, run

    def clip_grid(self, pixel_values: Tensor) -> tuple[int, int, int]:
        """Return the grid of clips of the size that was exported."""
        if tuple(pixel_values.shape[1:]) != self.config.clip_shape:
            raise HfRltError(
                f"Expected clips of (frames, channels, height, width) {self.config.clip_shape}, received "
                f"{tuple(pixel_values.shape[1:])}: process them with the exported model's processor."
            )
        return self.config.grid

    def forward(self, pixel_values: Tensor, run_lengths: Tensor | None = None, **kwargs: Any) -> RLTModelOutput:
        """Compute logits; what was not exported, such as hidden states, is None."""
        run_lengths = self._checked_run_lengths(pixel_values, run_lengths)
        layout = self._layout(run_lengths, self.config.grid, found=False)
        tubelets = cut_tubelets(pixel_values.float(), layout, self.config.tubelet_size, self.config.patch_size)
        return RLTModelOutput(pooler_output=self.run(padded_inputs(tubelets, run_lengths)), run_lengths=run_lengths)


class ExportedClassifier(RLTClassifierMixin, nn.Module):
    """An exported classifier, to be called as the model it was made of. It is on the CPU, and cannot be trained.

    Args:
        folder: that `hf-rlt export` wrote.
        config: of the model.

    Raises:
        HfRltError: if there is neither `model.onnx` nor `model.xml`, or what runs it is not installed. The other formats
            hold programs, which could do anything.
    """

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, folder: str, config: Any) -> None:
        super().__init__()
        self.name, paths = folder, [path for name in OPENERS if (path := Path(folder) / name).is_file()]
        if not paths:
            raise HfRltError(
                f"{folder}: expected {' or '.join(OPENERS)} in an exported model, found neither: export it with --format "
                "onnx or openvino."
            )
        self.path = paths[0]
        try:
            run = OPENERS[self.path.name](self.path)
        except ModuleNotFoundError as error:
            raise HfRltError(f"{folder} needs {error.name}: `pip install hf_rlt[export]`.") from error
        except Exception as error:  # each runtime has its own
            raise HfRltError(f"{self.path}: cannot be opened ({one_line(error)[:200]}): export it anew.") from error
        self.config, self.num_labels, self.base_model = config, config.num_labels, _ExportedBase(config, run)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Return a digest of the model's files in place of the weights, which the runtime holds."""
        return {"weights": torch.frombuffer(bytearray(_digest(self.path)), dtype=torch.uint8)}

    def to(self, *args: Any, **kwargs: Any) -> "ExportedClassifier":
        """Compute in another type, which OpenVINO can; the device stays the CPU. Takes what `nn.Module.to` does."""
        dtype = torch._C._nn._parse_to(*args, **kwargs)[1]
        if dtype in (None, self.dtype):
            return self
        if dtype not in PRECISIONS or self.path.suffix != ".xml":
            raise HfRltError(
                f"{self.name}: expected float32, or bfloat16 in OpenVINO, for an exported model, received {dtype}: export "
                "it with --format openvino."
            )
        self.base_model.run, self.dtype = open_openvino(self.path, PRECISIONS[dtype]), dtype
        return self

    def head(self, pooled: Tensor) -> Tensor:
        """Return the logits, which the exported model has computed."""
        return pooled

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        run_lengths: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Compute logits of clips, or of `tubelets`."""
        return self.classify(pixel_values, labels, run_lengths, kwargs)
