# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos per second from the files to the written predictions, beside decoding alone and the model alone.

Where decoder and model share cores, no pipeline gets beyond 1 / (1 / decoding + 1 / model); where each has its own, the
slower of both is the limit. Both are measured: on all cores, and with the cores of this machine dealt out to the two.
"""

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from hf_rlt.errors import HfRltError
from hf_rlt.inference import Options, predict
from hf_rlt.inference.decoder import Decoder, VideoJob
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import timed
from hf_rlt.inference.pipeline import batches
from hf_rlt.inference.runner import PendingBatch, Runner
from hf_rlt.jobs.worker_pool import Failure, Task
from hf_rlt.tokens import find

from .common.methods import SHAPES
from .common.options import OUTPUT, Dtype, Output, Repeats, model_and_processor, place
from .common.record import Row, column, report, save, say, table

PARTS = ("decode", "model", "end_to_end")
Batch = list[tuple[Tensor, Tensor]]


def throughput(
    videos: Annotated[list[str], typer.Argument(help="Videos, or folders of videos.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Folder or Hub id; base, large, huge: random weights.")],
    repeat: Annotated[int, typer.Option(help="Times that each video is taken.", min=1)] = 1,
    repeats: Repeats = 3,
    batch_size: Annotated[int, typer.Option(help="Clips per batch, at most.", min=1)] = 8,
    max_tokens_per_batch: Annotated[int | None, typer.Option(help="Tokens per batch, at most.", min=1)] = None,
    num_workers: Annotated[int | None, typer.Option(help="Decoding processes. Default: one per core.", min=1)] = None,
    dtype: Dtype = "float32",
    output: Output = OUTPUT,
) -> None:
    """Videos per second of `hf-rlt predict`, beside decoding alone and the model alone. Run on an idle machine."""
    files = [Path(video) for video in find(videos)]
    options = Options(batch_size=batch_size, max_tokens_per_batch=max_tokens_per_batch)
    network, processor = model_and_processor(model, None, "sdpa", dtype, "auto") if model in SHAPES else load(model)
    runner = Runner(place(network, dtype, "auto"), processor, options)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        linked = _linked(files, repeat, Path(scratch) / "videos")
        for name, cores in _arrangements(runner):
            say(f"{name}: {len(linked)} videos, {repeats} rounds")
            with _kept_to(cores[1]):
                asked = replace(options, cores=cores[0], num_workers=num_workers or len(cores[0] or _all_cores()))
                row = _row(linked, runner, asked, repeats, Path(scratch) / name)
            rows.append({"cores": name, "workers": asked.num_workers, "threads": len(cores[1] or _all_cores()), **row})
    shape = {"batch_size": batch_size, "max_tokens": max_tokens_per_batch, "views": 1}
    about = {"device": str(runner.device), "dtype": dtype, "files": [file.name for file in files]}
    settings = {"model": model, "repeat": repeat, "rounds": repeats, **shape, **about}
    report(save(output, "throughput", rows, settings))


def _row(videos: list[str], runner: Runner, options: Options, rounds: int, scratch: Path) -> dict[str, Any]:
    ready = list(_decoded(videos, runner, options))
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}
    for number in range(rounds):
        decoding = _decoded(videos, runner, options, keep=False)
        predicting = predict(videos, runner.network, runner.processor, scratch / str(number), options)
        work: Any = (partial(deque, decoding, 0), partial(_compute, ready, runner), partial(deque, predicting, 0))
        for part, run in zip(PARTS, work, strict=True):
            seconds[part].append(timed(run)[0])
    counts = [[int((runs > 0).sum()) for _, runs in batch] for batch in ready]
    tokens = {"batches": len(ready), "tokens_computed": sum(map(sum, counts)), "largest_batch": max(map(sum, counts))}
    return {"videos": len(videos), **tokens, **seconds}


def _decoded(videos: list[str], runner: Runner, options: Options, keep: bool = True) -> Iterator[Batch]:
    """Yield the batches that `predict` would compute, copied, or empty ones if they are not kept."""
    decoder = Decoder(runner.processor, options)
    tasks = (Task(VideoJob(video)) for video in videos)
    for batch in batches(decoder.decoded(tasks), options):
        for task in batch.tasks:
            if isinstance(task.result, Failure):
                raise HfRltError(f"{task.item.video}: {task.result.reason}")
        if batch.tasks:
            slots = [decoder.slots[task.item.slot] for task in batch.tasks]
            yield [(tubelets.clone(), runs.clone()) for tubelets, runs in slots] if keep else []
        for task in batch.tasks:
            decoder.release(task.item)


def _compute(ready: list[Batch], runner: Runner) -> None:
    under_way: deque[PendingBatch] = deque()
    for batch in ready:
        under_way.append(runner.launch(batch))
        if len(under_way) > runner.delay:
            runner.fetch(under_way.popleft())
    for launched in under_way:
        runner.fetch(launched)


def _linked(files: Sequence[Path], repeat: int, folder: Path) -> list[str]:
    """Link each video `repeat` times under other names, so that nothing about one is known from another."""
    folder.mkdir()
    links = [folder / f"{number:06}{file.suffix}" for number, file in enumerate([*files] * repeat)]
    for link, file in zip(links, [*files] * repeat, strict=True):
        link.symlink_to(file.resolve())
    return list(map(str, links))


def _arrangements(runner: Runner) -> list[tuple[str, tuple[tuple[int, ...] | None, tuple[int, ...] | None]]]:
    """Return (name, (the decoder's cores, the model's)): all for both; with two or more, half for each."""
    found: list[Any] = [("all for both", (None, None))]
    cores = _all_cores()
    half = len(cores) // 2
    if half and runner.device.type == "cpu" and hasattr(os, "sched_getaffinity"):
        found.append(("half for each", (cores[:half], cores[half:])))
    return found


def _all_cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


@contextmanager
def _kept_to(cores: tuple[int, ...] | None) -> Iterator[None]:
    """Keep all threads of this process to some cores, and let torch use as many threads."""
    if cores is None:
        yield
        return
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    try:
        _keep_threads_to(cores)
        torch.set_num_threads(len(cores))
        yield
    finally:
        _keep_threads_to(before)
        torch.set_num_threads(threads)


def _keep_threads_to(cores: Any) -> None:
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def rates(row: Row) -> dict[str, float]:
    """Return videos per second of the parts by the medians, and end to end as shares of what limits it.

    `slower` is the share of the slower part; `bound` that of what decoder and model cannot exceed on their cores.
    """
    decode, model, whole = (row["videos"] / median(row[part]) for part in PARTS)
    bound = 1 / (1 / decode + 1 / model) if row["cores"] == "all for both" else min(decode, model)
    shares = {"slower": whole / min(decode, model), "bound": whole / bound}
    return {"decode": decode, "model": model, "end_to_end": whole, **shares}


def markdown(record: Row) -> str:
    """Make the table."""
    settings = record["settings"]

    columns = [column(title, title) for title in ("cores", "workers", "threads", "videos", "batches")]
    named = {"decode": "decoding alone", "model": "model alone", "end_to_end": "end to end", "slower": "of the slower"}
    named["bound"] = "of what the cores allow"
    columns += [column(title, key, "{:.2f}") for key, title in named.items()]
    budget = f", at most {settings['max_tokens']} tokens" if settings["max_tokens"] else ""
    text = f"\nVideos per second, medians of {settings['rounds']} rounds; {settings['model']}, {settings['device']}, "
    text += f"{settings['dtype']}, batches of {settings['batch_size']}{budget}, "
    text += f"{settings['views']} views of each video.\n"
    return table([{**row, **rates(row)} for row in record["rows"]], columns) + text
