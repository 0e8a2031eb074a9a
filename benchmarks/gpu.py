# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Check and measure everything on a GPU in one command: correctness of every way to attend, then time and memory.

The most important comes first, and everything is written as it is measured: what time cuts off is missing at the end.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer

from hf_rlt import RLTVJEPA2Config, RLTVJEPA2ForVideoClassification
from hf_rlt.inference.decoder import Options, VideoJob
from hf_rlt.inference.measure import analytic_flops, interleaved_times, peak_bytes, quartiles
from hf_rlt.inference.pipeline import run
from hf_rlt.inference.runner import Runner
from hf_rlt.jobs.worker_pool import Failure, Task
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor

from .common import options as opt
from .common.gpu_checks import LOOP, attending, backends, check, told, unequal_runs
from .common.methods import STANDARD, make_base, share_weights
from .common.record import Column, Row, column, report, save, say, table
from .vjepa2 import make_stock

STOCK, DENSE = "transformers, dense", "ours, dense"
REPEATS = 5


class Cell(NamedTuple):
    """A measurement."""

    family: str
    shape: str
    frames: int
    batch: int
    training: bool = False


FULL = [
    *(Cell("VideoMAE", "base", 16, batch) for batch in (8, 1, 32)),
    Cell("VideoMAE", "base", 16, 8, training=True),
    *(Cell("V-JEPA 2", "large", 64, batch) for batch in (8, 1)),
    *(Cell("VideoMAE", "large", 16, batch) for batch in (8, 1, 32)),
    Cell("V-JEPA 2", "large", 16, 8, training=True),
    *(Cell("VideoMAE", "base", 64, batch) for batch in (8, 1, 32)),
    *(Cell("VideoMAE", "large", 64, batch) for batch in (8, 1)),
    Cell("V-JEPA 2", "large", 64, 32),
]
REDUCED = [  # for a CPU: the same code on little work
    Cell("VideoMAE", "tiny", 16, 1),
    Cell("VideoMAE", "tiny", 16, 4),
    Cell("VideoMAE", "tiny", 16, 4, training=True),
    Cell("V-JEPA 2", "tiny", 16, 4),
]


def gpu(
    clips: Annotated[list[Path] | None, typer.Argument(help="Videos or folders, to measure from files, too.")] = None,
    minutes: Annotated[float, typer.Option(help="Begin nothing new after so long.", min=0)] = 9.0,
    device: opt.Device = "auto",
    output: opt.Output = opt.OUTPUT,
) -> None:
    """Correctness of every way to attend, then time and memory, dense and RLT. Without a GPU in a reduced form."""
    start, rows = time.monotonic(), list[Row]()
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    on_gpu = where.type == "cuda"
    settings: dict[str, Any] = {
        "device": str(where),
        "backends": backends(where),
        "minutes": minutes,
        "repeats": REPEATS,
        "cut": [],
    }
    files = opt.video_files(clips) if clips else []
    until = start + 60 * minutes

    def checks(compiled: bool) -> Iterator[Row]:
        return ({"part": "check", **row} for row in check(where, compiled, until))

    steps: list[tuple[str, Callable[[], Iterator[Row]]]] = [
        (" ".join(map(str, cell)), partial(_measure, cell, where)) for cell in (FULL if on_gpu else REDUCED)
    ]
    if files:
        steps.insert(4 if on_gpu else 0, ("from files", partial(_from_files, files, where)))
    steps.insert(0, ("checks", partial(checks, False)))
    if on_gpu:  # takes minutes
        steps.insert(6, ("checks, compiled", partial(checks, True)))
    for title, measure in steps:
        if time.monotonic() >= until:
            settings["cut"].append(title)
            continue
        say(title)
        for row in measure():
            rows.append(row)
            save(output, "gpu", rows, settings)
    report(save(output, "gpu", rows, settings))


def _models(cell: Cell, device: torch.device) -> tuple[Any, Any]:
    """Make a model with random weights, and transformers' own on the same."""
    dtype = torch.bfloat16
    if cell.family == "VideoMAE":
        small = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 192}
        settings: dict[str, Any] = {"image_size": 64, **small} if cell.shape == "tiny" else {}
        shape = "base" if cell.shape == "tiny" else cell.shape
        ours: Any = make_base(shape, num_frames=cell.frames, **settings).to(device, dtype)
        return ours, share_weights(ours, STANDARD)
    small = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "crop_size": 64}
    config = RLTVJEPA2Config(
        **(small if cell.shape == "tiny" else {}), num_frames=cell.frames, pred_num_hidden_layers=1, num_labels=174
    )
    config._attn_implementation = LOOP
    ours = RLTVJEPA2ForVideoClassification(config).to(device, dtype).eval()
    return ours, make_stock(ours)


def _measure(cell: Cell, device: torch.device) -> Iterator[Row]:
    """Measure one batch in every way; what fails, as for want of memory, is told in its row."""
    try:
        ours, stock = _models(cell, device)
        pixels = torch.randn(cell.batch, *ours.config.clip_shape, device=device, dtype=ours.dtype)
        runs = unequal_runs(ours.config.grid, cell.batch, device)
    except torch.OutOfMemoryError as error:
        yield {"part": "time", **cell._asdict(), "way": STOCK, "error": told(error)}
        return
    everything, calls = torch.ones_like(runs), dict[str, Callable[[], Any]]()
    ways: dict[str, tuple[Any, str, Any]] = {STOCK: (stock, LOOP, None), DENSE: (ours, LOOP, everything)}
    ways |= {f"RLT, {backend}": (ours, backend, runs) for backend in backends(device)}
    memory = dict[str, int]()
    for name, way in ways.items():
        call: Callable[[], Any] = partial(_step if cell.training else _forward, *way, pixels)
        try:
            call()
            memory[name] = peak_bytes(call, device)
            calls[name] = call
        except Exception as error:  # whatever a backend does, the others are still measured
            yield {"part": "time", **cell._asdict(), "way": name, "error": told(error)}
    times = interleaved_times(calls, REPEATS) if calls else {}
    for name in calls:
        given = ways[name][2]
        tokens = (everything if given is None else given).gt(0).sum(1).tolist()
        flops = sum(analytic_flops(ours.config, count) for count in tokens)
        found = {"way": name, "tokens": sum(tokens), "flops": flops, "times": times[name]}
        yield {"part": "time", **cell._asdict(), **found, "peak_bytes": memory[name]}


@torch.inference_mode()
def _forward(model: Any, backend: str, runs: Any, pixels: Any) -> None:
    with attending(model, backend):
        model(pixels, **({} if runs is None else {"run_lengths": runs}))


def _step(model: Any, backend: str, runs: Any, pixels: Any) -> None:
    try:
        with attending(model.train(), backend):
            labels = torch.arange(len(pixels), device=pixels.device)
            model(pixels, labels=labels, **({} if runs is None else {"run_lengths": runs})).loss.backward()
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


def _from_files(files: Sequence[Path], device: torch.device) -> Iterator[Row]:
    """Measure videos per second from file to scores: ViT-B, or a tiny one on the CPU."""
    cell = Cell("VideoMAE", "base" if device.type == "cuda" else "tiny", 16, 16)
    number = 64 if device.type == "cuda" else 8
    ours, _ = _models(cell, device)
    for name, threshold in ((DENSE, None), ("RLT", 0.1)):
        sizes = RLTVideoProcessor.sizes(*ours.config.clip_shape[2:])
        processor = RLTVideoProcessor(num_frames=16, patch_size=ours.config.patch_size, threshold=threshold, **sizes)
        for count in (2, number):  # the first starts the decoding processes, and is not counted
            tasks = (Task(VideoJob(str(file))) for file in islice(cycle(files), count))
            begin, runner = time.perf_counter(), Runner(ours, processor, Options(batch_size=cell.batch))
            done = [task for batch in run(tasks, runner) for task in batch.tasks]
            seconds = time.perf_counter() - begin
        bad = sum(isinstance(task.result, Failure) for task in done)
        computed = [task.result.tokens_computed for task in done if not isinstance(task.result, Failure)]
        yield {"part": "files", **cell._asdict(), "way": name, "videos": number, "bad": bad, "seconds": seconds} | {
            "tokens": sum(computed)
        }


def markdown(record: Row) -> str:
    """Make the tables."""
    rows, settings = record["rows"], record["settings"]
    parts = {part: [dict(row) for row in rows if row["part"] == part] for part in ("check", "time", "files")}
    for row in parts["time"]:
        same = [each for each in parts["time"] if each["way"] == STOCK and _cell(each) == _cell(row)]
        if "times" in row and same and "times" in same[0]:
            row["speedup"] = quartiles(same[0]["times"])[1] / quartiles(row["times"])[1]
            row["flop_ratio"] = same[0]["flops"] / row["flops"]
    columns = [column(name, name) for name in ("family", "dtype", "backend", "compiled")]
    columns += [column(f"{name} error", name, "{:.1e}") for name in ("forward", "backward")]
    text = f"On {settings['device']}. Errors relative to float32; right: at most twice the loop's in the same precision.\n\n"
    text += table(parts["check"], [*columns, column("right", "right"), column("error", "error")])
    columns = [column(name, name) for name in ("family", "shape", "frames", "batch", "training", "way")]
    columns += [column("tokens", "tokens", "{:,}")]
    milliseconds = Column("ms", lambda row: f"{1000 * quartiles(row['times'])[1]:.2f}" if "times" in row else "")
    megabytes = Column("peak memory, MB", lambda row: f"{row['peak_bytes'] / 1e6:,.1f}" if "peak_bytes" in row else "")
    ratios = [column("speed-up", "speedup", "{:.2f} x"), column("FLOP ratio", "flop_ratio", "{:.2f} x"), megabytes]
    text += "\n" + table(parts["time"], [*columns, milliseconds, *ratios, column("error", "error")])
    medians = f"medians of {settings['repeats']} in turn"
    text += f"\nbfloat16, random weights, {medians}; RLT computes 20 to 60 % of a clip's tokens.\n"
    if parts["files"]:
        rate = Column("videos per second", lambda row: f"{row['videos'] / row['seconds']:.2f}")
        text += "\n" + table(parts["files"], [column("from files", "way"), column("videos", "videos"), rate])
    return text + (
        f"\nCut off after {settings['minutes']:g} minutes: {'; '.join(settings['cut'])}.\n" if settings["cut"] else ""
    )


def _cell(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in Cell._fields)
