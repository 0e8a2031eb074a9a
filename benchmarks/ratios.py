# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How much of what RLT saves in operations it saves in time: packed batches beside VideoMAE's dense one.

The pixels are real clips; which tokens are kept is drawn at random, so that any share can be had. Dense VideoMAE runs on the
same weights and clips, in turn with the packed batches.
"""

import math
from collections.abc import Callable, Sequence
from statistics import geometric_mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from hf_rlt.inference.measure import analytic_flops, interleaved_times, quartiles
from hf_rlt.models.runs import drop_random

from .common import options as opt
from .common.methods import RLT, STANDARD, forward, share_weights
from .common.record import Column, Row, column, report, save, say, table

LEAST = 0.15  # share of the tokens that the stillest clip of a mixed batch keeps
BATCH_SIZES, SHARES = [1, 2, 8], [1.0, 0.6, 0.3, 0.15]
MIXED, PACKED = "mixed", "all but one token"


def kept(batch: int, tokens: int, shares: Sequence[float]) -> dict[str, Tensor]:
    """Make run lengths `(B, N)` by name: every share, all tokens but one (packed), and a mixed batch of several clips."""
    every = torch.ones(batch, tokens, dtype=torch.int64)
    seeds = [torch.Generator().manual_seed(clip) for clip in range(batch)]
    found = {f"{share:.0%}": drop_random(every, share, seeds) for share in shares}
    less = every.clone()
    less[0, -1] = 0
    found[PACKED] = less
    if batch > 1:
        rows = zip(every, np.linspace(LEAST, 1, batch).tolist(), seeds, strict=True)
        found[MIXED] = torch.cat([drop_random(row[None], share, [seed]) for row, share, seed in rows])
    return found


def ratios(
    clips: opt.Clips,
    shape: opt.Shape = "base",
    model: opt.Checkpoint = None,
    batch_size: opt.BatchSizes = BATCH_SIZES,
    share: Annotated[list[float], typer.Option(help="Share of tokens kept. May be repeated.")] = SHARES,
    repeats: opt.Repeats = 5,
    training: Annotated[bool, typer.Option("--training", help="Forward, loss and backward instead.")] = False,
    attention: opt.Attention = "sdpa",
    dtype: opt.Dtype = "float32",
    device: opt.Device = "auto",
    output: opt.Output = opt.OUTPUT,
) -> None:
    """How much of the operations RLT saves it saves in time, beside VideoMAE's dense batch. Run on an idle machine."""
    files = opt.video_files(clips)
    base, processor = opt.model_and_processor(shape, model, attention, dtype, device)
    about = {"shape": model or f"ViT-{shape}", "dtype": dtype, "device": base.device.type, "attention": attention}
    settings = {**about, "repeats": repeats, "training": training, "files": [file.name for file in files]}
    models = {method.name: share_weights(base, method).train(training) for method in (STANDARD, RLT)}
    rows: list[Row] = []
    for batch in batch_size:
        say(f"batch {batch}")
        chosen = [str(files[clip % len(files)]) for clip in range(batch)]
        pixels = processor(chosen, return_tensors="pt")["pixel_values"].to(base.device, base.dtype)
        lengths = kept(batch, math.prod(base.config.grid), share)
        calls = {STANDARD.name: _call(models, STANDARD, pixels, next(iter(lengths.values())), training)}
        calls |= {name: _call(models, RLT, pixels, each.to(base.device), training) for name, each in lengths.items()}
        times = interleaved_times(calls, repeats)
        rows += [_row(base.config, batch, name, each, times) for name, each in lengths.items()]
        file = save(output, "ratios", rows, settings)  # after each batch: what was measured is not lost
    report(file)


def _call(models: dict, method: Any, pixels: Tensor, lengths: Tensor, training: bool) -> Callable[[], Any]:
    model, labels = models[method.name], torch.arange(len(pixels), device=pixels.device)

    def step() -> None:
        forward(method, model, pixels, lengths, labels=labels).loss.backward()
        model.zero_grad(set_to_none=True)

    @torch.inference_mode()
    def infer() -> Any:
        return forward(method, model, pixels, lengths).logits

    return step if training else infer


def _row(config: Any, batch: int, name: str, lengths: Tensor, times: dict[str, list[float]]) -> dict[str, Any]:
    counts = (lengths > 0).sum(1).tolist()
    dense = batch * analytic_flops(config, lengths.shape[1])
    flop_ratio = dense / sum(analytic_flops(config, count) for count in counts)
    (_, reference, _), (_, ours, _) = quartiles(times[STANDARD.name]), quartiles(times[name])
    row = {"batch": batch, "kept": name, "tokens": counts, "dense_seconds": reference, "seconds": ours}
    row |= {"speedup": reference / ours, "flop_ratio": flop_ratio, "achieved": reference / ours / flop_ratio}
    return row | {"times": times[name], "dense_times": times[STANDARD.name]}


def markdown(record: Row) -> str:
    """Make the table."""
    rows, settings = record["rows"], record["settings"]
    columns = [
        column("clips", "batch"),
        column("tokens kept", "kept"),
        Column("tokens of a clip", lambda row: f"{sum(row['tokens']) / len(row['tokens']):.0f}"),
        column("VideoMAE, s", "dense_seconds", "{:.3f}"),
        column("RLT, s", "seconds", "{:.3f}"),
        column("speed-up", "speedup", "{:.2f} x"),
        column("FLOP ratio", "flop_ratio", "{:.2f} x"),
        column("achieved", "achieved", "{:.3f}"),
    ]
    what = "Forward, loss and backward" if settings["training"] else "Forward pass"
    means = geometric_mean([row["achieved"] for row in rows])
    return table(rows, columns) + (
        f"\n{what}, {settings['shape']}, {settings['dtype']}, medians of {settings['repeats']} in turn. Achieved: speed-up "
        f"over FLOP ratio, geometric mean {means:.3f}. A mixed batch keeps from {LEAST:.0%} to all tokens of its clips.\n"
    )
