# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2 with RLT beside transformers' own, on the same weights and real clips: time, memory, operations.

Dense, both compute every token, and their logits are compared bit for bit.
"""

from collections.abc import Callable
from functools import partial
from statistics import geometric_mean
from typing import Annotated, Any

import torch
import typer
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

from hf_rlt import RLTVJEPA2Config, RLTVJEPA2ForVideoClassification, RLTVJEPA2VideoProcessor
from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import analytic_flops, interleaved_times, peak_bytes, quartiles
from hf_rlt.models.video_processing_rlt_vjepa2 import SPAN

from .common import options as opt
from .common.record import Column, Row, column, middle, report, save, say, table

STOCK, DENSE, RLT = "V-JEPA 2", "dense", "RLT"
FRAMES = [16, 32, 64]


def vjepa2(
    clips: opt.Clips,
    model: opt.Checkpoint = None,
    layers: Annotated[int, typer.Option(help="Blocks of a ViT-L with random weights; V-JEPA 2's has 24.", min=1)] = 4,
    num_frames: Annotated[list[int], typer.Option(help="Frames of a clip. May be repeated.", min=2)] = FRAMES,
    threshold: opt.Threshold = 0.1,
    repeats: opt.Repeats = 3,
    attention: opt.Attention = "sdpa",
    dtype: opt.Dtype = "float32",
    device: opt.Device = "auto",
    output: opt.Output = opt.OUTPUT,
) -> None:
    """V-JEPA 2 with RLT beside transformers' own: time, memory, operations. Run on an idle machine."""
    files = opt.video_files(clips)
    ours = opt.place(_ours(model, layers, attention), dtype, device)
    stock = opt.place(make_stock(ours), dtype, device)
    settings = {"shape": model or f"{layers} of ViT-L's 24 blocks", "dtype": dtype, "device": ours.device.type}
    settings |= {
        "attention": attention,
        "repeats": repeats,
        "threshold": threshold,
        "files": [file.name for file in files],
    }
    rows: list[Row] = []
    for frames in num_frames:
        ours.config.num_frames = frames
        sampling = {"num_frames": frames, "frame_stride": max(SPAN // frames, 1), "threshold": threshold}
        grid = {name: getattr(ours.config, name) for name in ("crop_size", "patch_size", "tubelet_size")}
        processor = RLTVJEPA2VideoProcessor(**sampling, **grid)
        for file in files:
            say(f"{frames} frames of {file.name}")
            inputs = processor(str(file), return_tensors="pt").to(ours.device, ours.dtype)
            rows += _measure(stock, ours, inputs, {"frames": frames, "file": file.name}, repeats)
            record = save(output, "vjepa2", rows, settings)  # after each clip: what was measured is not lost
    report(record)


def _ours(model: str | None, layers: int, attention: str) -> RLTVJEPA2ForVideoClassification:
    """Return the model: a checkpoint's, or random weights of ViT-L's width."""
    if model is not None:
        return RLTVJEPA2ForVideoClassification.from_pretrained(model, attn_implementation=attention)
    config = RLTVJEPA2Config(num_hidden_layers=layers, pred_num_hidden_layers=1, num_labels=174)
    config._attn_implementation = attention
    return RLTVJEPA2ForVideoClassification(config)


def make_stock(ours: RLTVJEPA2ForVideoClassification) -> VJEPA2ForVideoClassification:
    """Make transformers' own model on the same weights."""
    config = VJEPA2Config.from_dict(ours.config.to_dict())
    config._attn_implementation = ours.config._attn_implementation
    with torch.device("meta"):
        stock = VJEPA2ForVideoClassification(config)
    stock.load_state_dict(ours.state_dict(), assign=True)
    return stock


@torch.inference_mode()
def _measure(stock: Any, ours: Any, inputs: Any, about: Row, repeats: int) -> list[dict[str, Any]]:
    """Measure a clip's forward pass in each way."""
    pixels, runs = inputs["pixel_values"], inputs["run_lengths"]
    lengths = {DENSE: torch.ones_like(runs), RLT: runs}
    calls: dict[str, Callable[[], Any]] = {STOCK: partial(stock, pixels)}
    calls |= {name: partial(ours, pixels, run_lengths=each) for name, each in lengths.items()}
    if not torch.equal(calls[STOCK]().logits, calls[DENSE]().logits):
        raise HfRltError(
            f"{about['file']}: expected the logits of V-JEPA 2 bit for bit from the dense model, found others."
        )
    times = interleaved_times(calls, repeats)
    found: list[dict[str, Any]] = []
    for name, call in calls.items():
        tokens = int((lengths.get(name, lengths[DENSE]) > 0).sum())
        row: dict[str, Any] = {**about, "method": name, "tokens": tokens, "flops": analytic_flops(ours.config, tokens)}
        row |= {"seconds": quartiles(times[name])[1], "times": times[name]}
        found.append(row | {"peak_bytes": peak_bytes(call, ours.device)})
    first = found[0]
    for row in found:
        row |= {"speedup": first["seconds"] / row["seconds"], "flop_ratio": first["flops"] / row["flops"]}
    return found


def markdown(record: Row) -> str:
    """Make the table."""
    rows, settings = record["rows"], record["settings"]
    columns = [
        column("frames", "frames"),
        column("clip", "file"),
        column("method", "method"),
        column("tokens", "tokens", "{:,}"),
        Column("GFLOPs", lambda row: f"{row['flops'] / 1e9:,.0f}"),
        Column("seconds (quartiles)", lambda row: str(middle(row["times"]))),
        column("speed-up", "speedup", "{:.2f} x"),
        column("FLOP ratio", "flop_ratio", "{:.2f} x"),
        Column("peak memory, MB", lambda row: f"{row['peak_bytes'] / 1e6:,.1f}"),
    ]
    means = {name: geometric_mean([row["speedup"] for row in rows if row["method"] == name]) for name in (DENSE, RLT)}
    return table(rows, columns) + (
        f"\nForward pass of one clip, {settings['shape']}, {settings['dtype']}, {settings['attention']}, medians of "
        f"{settings['repeats']} in turn; threshold {settings['threshold']:g}. Clips span {SPAN} frames of the video. Dense: "
        "RLT with every token computed, whose logits equal V-JEPA 2's bit for bit. Speed-up, geometric mean: dense "
        f"{means[DENSE]:.2f} x, RLT {means[RLT]:.2f} x. Peak memory: of tensors beyond weights and clip.\n"
    )
