# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Measure the speed of methods at the same number of tokens, on real clips, alone and mixed in a batch."""

import copy
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import interleaved_times, peak_bytes, quartiles
from hf_rlt.models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from hf_rlt.models.run_rule import complete_changes
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor
from hf_rlt.models.video_reader import VideoIndex, index_video
from hf_rlt.tokens.count import sample_clip

from .methods import Method, cost, forward, share_weights
from .options import short_names
from .record import Row, say

MIXED = "mixed"


@dataclass(frozen=True)
class Options:
    """What is measured beside the forward pass."""

    repeats: int = 5  # measurements of each method, in turn
    match: str = "left"  # as many tokens as RLT: "left" after the last block, "mean" on average over blocks
    end_to_end: int = 3  # measurements from the file to the logits, after the others
    training: bool = False  # also forward, loss and backward

    def __post_init__(self) -> None:
        if self.match not in ("left", "mean"):
            raise HfRltError(f"Expected match to be left or mean, received {self.match!r}.")


@dataclass(frozen=True)
class Workload:
    """A batch of real clips."""

    name: str  # the file's, or "mixed"
    files: tuple[Path, ...]  # one for all clips, which then lie evenly spread over it, or one for each clip
    batch: int  # number of clips

    def read(self, processor: RLTVideoProcessor) -> tuple[Tensor, Tensor]:
        """Read pixels and run lengths from the files."""
        if len(self.files) > 1:  # mixed
            inputs = processor([str(file) for file in self.files], return_tensors="pt")
        else:
            positions = [0.5] if self.batch == 1 else np.linspace(0, 1, self.batch).tolist()
            inputs = processor(list(processor.decode(self.files[0], positions)), return_tensors="pt")
        return inputs["pixel_values"], inputs["run_lengths"]


def workloads(files: Sequence[Path], batches: Sequence[int], processor: RLTVideoProcessor) -> list[Workload]:
    """Make a batch of each size from each file, and mixed ones: stillest, liveliest, next stillest, and so on."""
    for file in files:
        index = index_video(str(file))
        if repeats_frames(index, processor):  # which flatters RLT
            about = f"{index.num_frames} frames, {index.fps:.4g} a second"
            raise HfRltError(f"{file} ({about}): frames would stand twice in a clip: pass a smaller rate or stride.")
    names = zip(short_names(files), files, strict=True)
    found = [Workload(name, (file,), n) for name, file in names for n in batches]
    if len(files) > 1:
        tokens = {file: int((processor(str(file), return_tensors="pt")["run_lengths"] > 0).sum()) for file in files}
        ranked = sorted(files, key=lambda file: tokens[file])
        order = [ranked[-1 - i // 2] if i % 2 else ranked[i // 2] for i in range(len(ranked))]
        found += [Workload(MIXED, tuple(order[i % len(order)] for i in range(n)), n) for n in batches if n > 1]
    return found


def repeats_frames(index: VideoIndex, processor: RLTVideoProcessor) -> bool:
    """Say whether the clip from the middle of a video shows a frame twice."""
    return len(set(sample_clip(index, processor, position=0.5).tolist())) < processor.num_frames


def measure(
    base: RLTVideoMAEForVideoClassification,
    processor: RLTVideoProcessor,
    found: Sequence[Workload],
    methods: Sequence[Method],
    options: Options,
    keep: Callable[[list[Row]], Any] = lambda rows: None,
) -> list[Row]:
    """Measure each method on each workload, brought to RLT's number of tokens in that batch.

    The first method is what speed-ups are relative to; `keep` gets all rows so far after each workload.
    """
    models = {method.name: share_weights(base, method) for method in methods}
    rows: list[Row] = []
    for workload in found:
        say(f"{workload.name}, batch {workload.batch}")
        pixels, runs = workload.read(processor)
        fit(models, methods, runs, options.match)
        place = {"device": base.device, "non_blocking": True}
        batch = (pixels.to(dtype=base.dtype, **place), runs.to(**place))
        ways = _ways(models, workload, processor, batch)
        repeats = {"forward": (options.repeats, 1), "end_to_end": (options.end_to_end, 0)}
        repeats["training"] = (options.repeats * options.training, 1)
        seconds = {}
        for what, (number, warmup) in repeats.items():
            if number:
                calls: dict[str, Callable[[], Any]] = {method.name: partial(ways[what], method) for method in methods}
                seconds[what] = interleaved_times(calls, number, warmup)
        memory = {method.name: peak_bytes(partial(ways["forward"], method), base.device) for method in methods}
        rows += _rows(workload, models, methods, runs, seconds, memory)
        keep(rows)
    return rows


def fit(models: dict[str, PreTrainedModel], methods: Sequence[Method], runs: Tensor, match: str) -> None:
    """Bring all models to RLT's number of tokens in a batch with these run lengths."""
    tokens, wanted = runs.shape[1], _wanted(runs)
    for method in methods:
        config, target = models[method.name].config, wanted
        if match == "mean" and not method.after_rlt:
            targets = range(1, wanted + 1)
            key = partial(_mean_tokens, method, copy.deepcopy(config), tokens)
            target = targets[min(bisect_left(targets, float(wanted), key=key), wanted - 1)]
        for name, value in method.fit(config, tokens, target).items():
            setattr(config, name, value)


def _wanted(runs: Tensor) -> int:
    return round(float((runs > 0).sum(1).float().mean()))


def _mean_tokens(method: Method, trial: Any, tokens: int, target: int) -> float:
    for name, value in method.fit(trial, tokens, target).items():
        setattr(trial, name, value)
    return cost(trial, [tokens])["tokens_by_block"]


def _ways(
    models: dict, workload: Workload, processor: RLTVideoProcessor, batch: tuple[Tensor, Tensor]
) -> dict[str, Callable[[Method], Any]]:
    """Return the functions that are timed for a method."""
    plain = RLTVideoProcessor(**{**processor.to_dict(), **complete_changes({"threshold": None})})

    @torch.inference_mode()
    def infer(method: Method, pixels: Tensor, runs: Tensor) -> Tensor:
        return forward(method, models[method.name], pixels, method.lengths(runs)).logits

    def end_to_end(method: Method) -> Tensor:
        model = models[method.name]
        pixels, runs = workload.read(processor if method.after_rlt else plain)
        return infer(method, pixels.to(device=model.device, dtype=model.dtype), runs.to(model.device)).cpu()

    def training(method: Method) -> None:
        model, (pixels, runs) = models[method.name].train(), batch
        labels = torch.arange(len(pixels), device=pixels.device)
        forward(method, model, pixels, method.lengths(runs), labels=labels).loss.backward()
        model.zero_grad(set_to_none=True)
        model.eval()

    return {"forward": lambda method: infer(method, *batch), "end_to_end": end_to_end, "training": training}


def _rows(
    workload: Workload,
    models: dict,
    methods: Sequence[Method],
    runs: Tensor,
    seconds: dict[str, dict[str, list[float]]],
    memory: dict[str, int],
) -> list[Row]:
    rows: list[Row] = []
    first = methods[0].name
    for method in methods:
        lengths = (method.lengths(runs) > 0).sum(1).tolist()
        row: dict[str, Any] = {"clip": workload.name, "batch": workload.batch, "method": method.name}
        config = models[method.name].config
        fitted = method.fit(config, runs.shape[1], _wanted(runs))
        row |= {"settings": {name: getattr(config, name) for name in fitted}, "peak_bytes": memory[method.name]}
        row |= cost(config, lengths)
        for what, times in seconds.items():
            lower, median, upper = quartiles(times[method.name])
            reference = quartiles(times[first])[1]
            row[what] = {"seconds": median, "lower": lower, "upper": upper, "times": times[method.name]}
            row[what] |= {"clips_per_second": workload.batch / median, "speedup": reference / median}
        rows.append(row)
    reference = next(row["gflops"] for row in rows if row["method"] == first)
    return [{**row, "flop_ratio": reference / row["gflops"]} for row in rows]


def settings(options: Options, base: RLTVideoMAEForVideoClassification, **more: Any) -> dict[str, Any]:
    """Return the settings for the record."""
    shape = ("hidden_size", "num_hidden_layers", "num_frames", "image_size", "patch_size", "tubelet_size")
    model = {name: getattr(base.config, name) for name in shape}
    dtype = str(base.dtype).removeprefix("torch.")
    found = {"device": base.device.type, "dtype": dtype, "attention": base.config._attn_implementation}
    return {**asdict(options), "model": model, **found, **more}
