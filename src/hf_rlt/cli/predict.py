# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt predict`: scores and features of folders of videos."""

import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..errors import HfRltError, printable
from ..jobs.worker_pool import start_server
from .console import INTERRUPTED, VideoProgress, print_line
from .options import AsJson, BatchOptions, Model, ModelOptions, TopK

if TYPE_CHECKING:
    from ..inference.decoder import Options
    from ..inference.pipeline import Rank
    from ..inference.predict import Predicted

ENGINES, FORMATS = ("local", "ray"), ("parquet", "jsonl")
COLUMNS = ("video", "label", "tokens_computed", "tokens", "error")


def predict(
    videos: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders with videos anywhere below them, lists of videos (CSV, JSON, TXT, Parquet); "
            "also addresses: s3://, gs://, hf://, https://."
        ),
    ],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for predictions.parquet; rerun to resume.")],
    settings: ModelOptions,
    batches: BatchOptions,
    features: Annotated[
        str | None, typer.Option(help='"pooled": a vector for each video; "tokens": one for each token of the grid.')
    ] = None,
    top_k: TopK = 5,
    format: Annotated[str, typer.Option(help="parquet, or jsonl: JSON Lines beside it.")] = "parquet",
    engine: Annotated[str, typer.Option(help="local, or ray: on a Ray cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="Ray cluster. Default: RAY_ADDRESS, else this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict scores or features of VIDEOS, in batches, and write them to a folder.

    Several processes: accelerate launch --config_file FILE -m hf_rlt predict VIDEOS --model MODEL --output FOLDER
    """
    _check(format, engine, address)
    if engine == "local" and batches.num_workers != 0:
        start_server()  # it imports while this process does
    from ..inference.decoder import Options

    options = Options(**vars(batches), top_k=top_k, features=features)
    start = partial(_on_ray, address) if engine == "ray" else _here
    console, interrupted = Console(stderr=True), False
    with VideoProgress(console) as progress:
        try:
            outputs = {"jsonl": format == "jsonl", "on_listed": progress.expect}
            found, share = start(videos, model, settings, output, options, **outputs)
            with closing(found):
                folders = _watch(found, progress)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        kept = f"what was found is in {output}, and the same command goes on"
        print_line(console, f"Interrupted after {progress.done:,} videos; {kept}.")
        raise typer.Exit(INTERRUPTED)
    # A launcher takes any other exit code of a process for a crash, of which it prints a traceback.
    if share.rank == 0 and _report(output, progress, folders, as_json) and share.ranks == 1:
        raise typer.Exit(1)


def _check(format: str, engine: str, address: str | None) -> None:
    for option, value, known in (("--format", format, FORMATS), ("--engine", engine, ENGINES)):
        if value not in known:
            raise HfRltError(f"{option}: expected {' or '.join(known)}, received {value!r}.")
    if address is not None and engine != "ray":
        raise HfRltError("--address: expected --engine ray beside it.")


def _here(
    videos: list[str], model: str, settings: ModelOptions, output: Path, options: "Options", **outputs: Any
) -> tuple[Generator["Predicted", None, None], "Rank"]:
    """Start to predict in this process, one of several if a launcher started it."""
    from ..inference.predict import predict

    network, processor, share = settings.load(model, head=options.features is None)
    return predict(videos, network, processor, output, options, share, **outputs), share


def _on_ray(
    address: str | None,
    videos: list[str],
    model: str,
    settings: ModelOptions,
    output: Path,
    options: "Options",
    **outputs: Any,
) -> tuple[Generator["Predicted", None, None], "Rank"]:
    """Start to predict on a Ray cluster."""
    from ..inference.on_ray import predict_on_ray
    from ..inference.pipeline import ALONE

    dtype = "bfloat16" if settings.bf16 else None
    return predict_on_ray(videos, model, output, options, address, dtype, **outputs, **settings.settings()), ALONE


def _watch(found: Iterable["Predicted"], progress: VideoProgress) -> list[dict[str, Any]]:
    """Count results as they come; return the folders that could not be listed."""
    folders = []
    for video in found:
        if "size" in video.record:
            progress.add(known=video.cached, bad="error" in video.record)
        else:
            folders.append(video.record)
    return folders


def _report(output: Path, progress: VideoProgress, folders: list[dict[str, Any]], as_json: bool) -> int:
    """Name the videos and folders that could not be read, summarise the table, and return how many there are."""
    import pyarrow.parquet as pq

    from ..inference.results import SETTINGS, TABLE, json_lines

    columns = [name for name in COLUMNS if name in pq.read_schema(output / TABLE).names]
    table = pq.read_table(output / TABLE, columns=columns).to_pydict()
    bad = [(video, error) for video, error in zip(table["video"], table["error"], strict=True) if error is not None]
    bad += [(record["video"], record["error"]) for record in folders]
    for video, error in bad:
        print_line(progress.console, f"{video}: {error}")
    if bad:
        number = len(table["video"]) + len(folders)
        print_line(progress.console, f"{len(bad):,} of {number:,} videos could not be read (see above).")
    if as_json:
        for line in json_lines(output / TABLE):
            typer.echo(line)
    else:
        rule = json.loads((output / SETTINGS).read_text())["rule"]
        typer.echo("\n".join([*_summary(table, progress, rule), f"Written: {output / TABLE}"]))
    return len(bad)


def _summary(table: dict[str, list[Any]], progress: VideoProgress, rule: str) -> Iterator[str]:
    """Say how many videos there are, how long they took, what was computed of them, and what they show."""
    known = f", {progress.known:,} known before" if progress.known else ""
    yield f"{len(table['video']):,} videos in {progress.seconds:.1f} s{known}"
    done, tokens = (sum(filter(None, table[name])) for name in ("tokens_computed", "tokens"))
    if tokens:
        yield f"{done / tokens:.1%} of the tokens computed{f' ({rule})' if done < tokens else ''}"
    labels = Counter(label for label in table.get("label", []) if label is not None)
    if labels:
        shares = [f"{printable(label)} {number / labels.total():.0%}" for label, number in labels.most_common(4)]
        others = f" and {len(labels) - 4:,} more" if len(labels) > 4 else ""
        yield f"Classes: {', '.join(shares)}{others}"
