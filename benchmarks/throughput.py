# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos per second from the files to the written predictions, beside decoding alone and the model alone.

Where decoder and model share cores, no pipeline gets beyond 1 / (1 / decoding + 1 / model); where each has its own, the
slower of both is the limit. Both are measured: on all cores, and with the cores of this machine dealt out to the two.
"""

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
from hf_rlt.inference.pipeline import batches
from hf_rlt.inference.runner import PendingBatch, Runner
from hf_rlt.jobs.worker_pool import Failure, Task
from hf_rlt.tokens import find

from .common.methods import SHAPES
from .common.options import OUTPUT, Dtype, Output, Repeats, model_and_processor, place
from .common.record import Column, Row, column, report, save, say, table

PARTS = ("decode", "model", "end_to_end")
Batch = list[tuple[Tensor, Tensor]]


def throughput(
    videos: Annotated[list[str], typer.Argument(help="Videos, or folders of videos.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Folder or Hub id; or base, large, huge: random weights of this shape.")
    ],
    repeat: Annotated[int, typer.Option(help="Times that each video is taken.", min=1)] = 1,
    repeats: Repeats = 3,
    batch_size: Annotated[int, typer.Option(help="Clips per batch, at most.", min=1)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per batch, at most.", min=1)] = None,
    num_workers: Annotated[int | None, typer.Option(help="Decoding processes. Default: one per core.", min=1)] = None,
    dtype: Dtype = "float32",
    output: Output = OUTPUT,
) -> None:
    """Videos per second of `hf-rlt predict`, beside decoding alone and the model alone. Run on an idle machine."""
    files, options = [Path(video) for video in find(videos)], Options(batch_size=batch_size, max_tokens=max_tokens)
    network, processor = model_and_processor(model, None, "sdpa", dtype, "auto", {}) if model in SHAPES else load(model)
    runner = Runner(place(network, dtype, "auto"), processor, options)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        linked = _linked(files, repeat, Path(scratch) / "videos")
        for name, cores in _arrangements(runner):
            say(f"{name}: {len(linked)} videos, {repeats} rounds")
            with _kept_to(cores[1]):
                asked = replace(options, cores=cores[0], num_workers=num_workers or _number(cores[0]))
                row = _row(linked, runner, asked, repeats, Path(scratch) / name)
            rows.append({"cores": name, "workers": asked.num_workers, "threads": _number(cores[1]), **row})
    shape = {"batch_size": batch_size, "max_tokens": max_tokens, "views": 1}
    about = {"device": str(runner.device), "dtype": dtype, "files": [file.name for file in files]}
    settings = {"model": model, "repeat": repeat, "rounds": repeats, **shape, **about}
    report(save(output, "throughput", rows, settings))


def _row(videos: list[str], runner: Runner, options: Options, rounds: int, scratch: Path) -> dict[str, Any]:
    ready = list(_decoded(videos, runner, options))
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}
    for number in range(rounds):
        work: dict[str, Callable[[], Any]] = {
            "decode": partial(deque, _decoded(videos, runner, options, keep=False), 0),
            "model": partial(_compute, ready, runner),
            "end_to_end": partial(_predict, videos, runner, options, scratch / str(number)),
        }
        for part, run in work.items():
            start = time.perf_counter()
            run()
            seconds[part].append(time.perf_counter() - start)
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
            yield [(pixels.clone(), runs.clone()) for pixels, runs in slots] if keep else []
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


def _predict(videos: list[str], runner: Runner, options: Options, folder: Path) -> None:
    for _ in predict(videos, runner.network, runner.processor, folder, options):
        pass


def _linked(files: Sequence[Path], repeat: int, folder: Path) -> list[str]:
    """Link each video `repeat` times under other names, so that nothing about one is known from another."""
    names = []
    for number in range(repeat):
        (folder / str(number)).mkdir(parents=True)
        for order, file in enumerate(files):
            link = folder / str(number) / f"{order:06}{file.suffix}"
            link.symlink_to(file.resolve())
            names.append(str(link))
    return names


def _arrangements(runner: Runner) -> list[tuple[str, tuple[tuple[int, ...] | None, tuple[int, ...] | None]]]:
    """Return (name, (the decoder's cores, the model's)): all for both; with two or more, half for each."""
    found: list[Any] = [("all for both", (None, None))]
    if runner.device.type == "cpu" and hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2
        if half:
            found.append(("half for each", (tuple(cores[:half]), tuple(cores[half:]))))
    return found


def _number(cores: tuple[int, ...] | None) -> int:
    if cores is not None:
        return len(cores)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def rate(row: Row, part: str) -> float:
    """Return videos per second, by the median of the rounds."""
    return row["videos"] / median(row[part])


def bound(row: Row) -> float:
    """Return the videos per second that decoder and model cannot exceed on their cores."""
    decode, model = rate(row, "decode"), rate(row, "model")
    return 1 / (1 / decode + 1 / model) if row["cores"] == "all for both" else min(decode, model)


def markdown(record: Row) -> str:
    """Make the table."""
    settings = record["settings"]

    def videos(part: str) -> Callable[[Row], str]:
        return lambda row: f"{rate(row, part):.2f}"

    def share(limit: Callable[[Row], float]) -> Callable[[Row], str]:
        return lambda row: f"{rate(row, 'end_to_end') / limit(row):.2f}"

    columns = [column(title, title) for title in ("cores", "workers", "threads", "videos", "batches")]
    columns += [Column("decoding alone", videos("decode")), Column("model alone", videos("model"))]
    columns += [Column("end to end", videos("end_to_end"))]
    columns += [Column("of the slower", share(lambda row: min(rate(row, "decode"), rate(row, "model"))))]
    columns += [Column("of what the cores allow", share(bound))]
    budget = f", at most {settings['max_tokens']} tokens" if settings["max_tokens"] else ""
    text = f"\nVideos per second, medians of {settings['rounds']} rounds; {settings['model']}, {settings['device']}, "
    text += (
        f"{settings['dtype']}, batches of {settings['batch_size']}{budget}, {settings['views']} views of each video.\n"
    )
    return table(record["rows"], columns) + text
