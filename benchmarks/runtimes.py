# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Dense and RLT in every runtime and precision on the same clips: time, and how far the logits are from PyTorch's float32.

With labelled clips also each runtime's accuracy with RLT.
"""

import copy
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from hf_rlt.data import EvalDataset, from_folder
from hf_rlt.export import FORMATS, TokenModel, padded_inputs
from hf_rlt.export.export import write_compared
from hf_rlt.export.formats import Int8
from hf_rlt.inference.exported import open_openvino
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import analytic_flops, interleaved_times, quartiles
from hf_rlt.models.packing import packed_layout
from hf_rlt.models.tubelets import cut_tubelets

from .common import options as opt
from .common.record import Row, column, percent, report, save, say, table

Compute = Callable[[Tensor, Tensor], Tensor]  # from clips (B, F, C, H, W) and their run lengths to logits
DENSE, RLT = "dense", "RLT"
FIRST = "PyTorch"


def runtimes(
    clips: opt.Clips,
    shape: opt.Shape = "base",
    model: opt.Checkpoint = None,
    labelled: Annotated[Path | None, typer.Option(help="Folder with a subfolder per class, for accuracies.")] = None,
    repeats: opt.Repeats = 5,
    output: opt.Output = opt.OUTPUT,
) -> None:
    """Dense and RLT in every runtime and precision, with torchao if it is installed. Run on an idle machine."""
    files = opt.video_files(clips)
    if model is None:
        network, processor = opt.model_and_processor(shape, None, "sdpa", "float32", "cpu")
    else:
        network, processor = load(model, attn_implementation="sdpa")
    settings = {"shape": model or f"ViT-{shape}", "repeats": repeats, "files": [file.name for file in files]}
    rows: list[Row] = []
    with TemporaryDirectory() as scratch, torch.inference_mode():
        ways = _ways(network.eval(), processor, files, Path(scratch))
        for file in files:
            say(file.name)
            inputs = processor(str(file), return_tensors="pt")
            rows += _measure(ways, network.config, inputs, {"file": file.name}, repeats)
            save(output, "runtimes", rows, settings)  # after each clip: what was measured is not lost
        if labelled is not None:
            names = [network.config.id2label[number] for number in range(network.config.num_labels)]
            rows += _accuracies(ways, EvalDataset(from_folder(labelled, names), processor))
    report(save(output, "runtimes", rows, settings))


def _ways(network: Any, processor: Any, files: list[Path], folder: Path) -> dict[str, Compute]:
    """Make each way to compute logits; models are written to a folder."""
    half = copy.deepcopy(network).bfloat16()
    ways: dict[str, Compute] = {
        FIRST: lambda pixels, runs: network(pixels, run_lengths=runs).logits,
        "PyTorch bf16": lambda pixels, runs: half(pixels, run_lengths=runs).logits.float(),
    }
    compiled = torch.compile(network, dynamic=True)
    ways["PyTorch compiled"] = lambda pixels, runs: compiled(pixels, run_lengths=runs).logits
    if importlib.util.find_spec("torchao"):
        quantised = torch.compile(_int8(network), dynamic=True)
        ways["PyTorch int8, compiled"] = lambda pixels, runs: quantised(pixels, run_lengths=runs).logits
    config, model = network.config, TokenModel(network)
    whole = Int8(processor, [str(file) for file in files])
    kinds: dict[str, tuple[str, Int8 | None]] = {
        "ONNX Runtime": ("onnx", None),
        "ONNX Runtime int8": ("onnx", Int8()),
        "OpenVINO": ("openvino", None),
        "OpenVINO int8 weights": ("openvino", Int8()),
        "OpenVINO int8": ("openvino", whole),
    }
    for title, (name, int8) in kinds.items():
        say(f"Writing {title}")
        place = folder / title
        place.mkdir()
        with torch.inference_mode(False):
            write_compared(model, place, FORMATS[name], int8)
        path = place / FORMATS[name].file
        ways[title] = partial(_padded, config, FORMATS[name].open(path))
        if title == "OpenVINO":
            ways["OpenVINO bf16"] = partial(_padded, config, open_openvino(path, "bf16"))
    return ways


def _int8(network: Any) -> Any:
    """Quantise the blocks' weights, and activations as they come, with torchao."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    found = copy.deepcopy(network)
    with torch.inference_mode(False):
        quantize_(found, Int8DynamicActivationInt8WeightConfig())
    return found


def _padded(config: Any, run: Callable[[Any], Tensor], pixels: Tensor, runs: Tensor) -> Tensor:
    tubelets = cut_tubelets(pixels, packed_layout(runs), config.tubelet_size, config.patch_size)
    return run(padded_inputs(tubelets, runs))


def _measure(ways: dict[str, Compute], config: Any, inputs: Any, about: Row, repeats: int) -> list[dict[str, Any]]:
    """Measure a clip in each way, dense and with RLT in turn."""
    pixels, runs = inputs["pixel_values"], inputs["run_lengths"]
    lengths = {DENSE: torch.ones_like(runs), RLT: runs}
    calls = {(way, kind): partial(ways[way], pixels, lengths[kind]) for way in ways for kind in lengths}
    logits = {key: call() for key, call in calls.items()}
    times: Any = interleaved_times(calls, repeats)  # type: ignore[arg-type]
    rows: list[dict[str, Any]] = []
    for way, kind in calls:
        tokens, first = int((lengths[kind] > 0).sum()), logits[FIRST, kind]
        found = {"runtime": way, "method": kind, "tokens": tokens, "flops": analytic_flops(config, tokens)}
        found |= {"times": times[way, kind], "seconds": quartiles(times[way, kind])[1]}
        found |= {"difference": float((logits[way, kind] - first).abs().max()), "largest": float(first.abs().max())}
        rows.append({**about, **found, "agrees": bool(logits[way, kind].argmax() == first.argmax())})
    return rows


def _accuracies(ways: dict[str, Compute], data: EvalDataset) -> list[dict[str, Any]]:
    """Measure the accuracy of each way, with RLT."""
    rows: list[dict[str, Any]] = []
    items = [data[index] for index in range(len(data))]
    for way, compute in ways.items():
        say(f"Accuracy: {way}")
        right = [
            int(compute(item["pixel_values"][None], item["run_lengths"][None]).argmax()) == int(item["labels"])
            for item in items
        ]
        rows.append({"runtime": way, "method": RLT, "accuracy": sum(right) / len(right), "clips": len(right)})
    return rows


def markdown(record: Row) -> str:
    """Make the table: a row for each runtime."""
    rows, settings = record["rows"], record["settings"]
    names = list(dict.fromkeys(row["runtime"] for row in rows))
    found = [_summary([row for row in rows if row["runtime"] == name]) for name in names]
    columns = [
        column("runtime", "runtime"),
        column("dense, s", "dense", "{:.3f}"),
        column("RLT, s", "rlt", "{:.3f}"),
        column("speed-up", "speedup", "{:.2f} x"),
        column("speed-up / FLOP ratio, lowest clip", "lowest", "{:.2f}"),
        column("over dense PyTorch", "over", "{:.2f} x"),
        column("largest error of a logit", "difference", "{:.1e}"),
        column("same best class", "agrees"),
        percent("accuracy", "accuracy"),
    ]
    for row in found:
        row["over"] = found[0]["dense"] / row["rlt"]
    clips = len({row["file"] for row in rows if "file" in row})
    return table(found, columns) + (
        f"\nForward pass of one clip, {settings['shape']}, {clips} clips; geometric means over them of medians of "
        f"{settings['repeats']} in turn. Errors against float32 PyTorch on the same tokens.\n"
    )


def _summary(rows: list[Row]) -> dict[str, Any]:
    timed = {kind: [row for row in rows if row["method"] == kind and "times" in row] for kind in (DENSE, RLT)}
    dense, rlt = (geometric_mean([row["seconds"] for row in timed[kind]]) for kind in (DENSE, RLT))
    pairs = list(zip(timed[DENSE], timed[RLT], strict=True))
    ratios = [(a["seconds"] / b["seconds"]) / (a["flops"] / b["flops"]) for a, b in pairs]
    agreed = [row["agrees"] for row in rows if "agrees" in row]
    accuracy = [row["accuracy"] for row in rows if "accuracy" in row]
    return {
        "runtime": rows[0]["runtime"],
        "dense": dense,
        "rlt": rlt,
        "speedup": dense / rlt,
        "lowest": min(ratios),
        "difference": max(row["difference"] for row in rows if "difference" in row),
        "agrees": f"{sum(agreed)} of {len(agreed)}",
        "accuracy": accuracy[0] if accuracy else None,
    }
