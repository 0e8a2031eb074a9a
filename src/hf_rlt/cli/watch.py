# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt watch`: name the action in live video."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..errors import printable
from .console import print_line
from .options import AsJson, Model, ModelOptions, TopK

if TYPE_CHECKING:
    from ..streaming import Event, StreamPrediction


def watch(
    sources: Annotated[
        list[str],
        typer.Argument(help="Cameras (/dev/video0), addresses (rtsp, http, https, udp, tcp), or files, in real time."),
    ],
    model: Model,
    hop: Annotated[
        int | None, typer.Option(help="Tubelets from one prediction to the next. Default: half a clip.", min=1)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds without a packet after which a stream counts as broken.", min=0.1)
    ] = 10.0,
    retries: Annotated[int, typer.Option(help="Attempts to connect in a row before giving up.", min=0)] = 5,
    top_k: TopK = 3,
    as_json: AsJson = False,
    *,
    settings: ModelOptions,
) -> None:
    """Name the action in live video, over a sliding window.

    When the model is slower than the video, windows are skipped: what is shown is always the newest. Ctrl-C ends it.
    """
    from ..streaming import watch as watch_streams
    from ..streaming.live_source import display_name

    network, processor, _ = settings.load(model)
    failed = False
    with _view([display_name(source) for source in sources], as_json) as view:
        for event in watch_streams(sources, network, processor, hop, top_k, timeout, retries):
            view.show(event)
            failed |= event.failed
    if failed:
        raise typer.Exit(1)


@dataclass
class _View:
    """What is known of each source, shown as a table that changes or, without a terminal, as lines."""

    sources: list[str]
    as_json: bool
    live: Live | None = None
    rows: dict[int, "StreamPrediction"] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)
    skipped: dict[int, int] = field(default_factory=dict)

    def show(self, event: "Event") -> None:
        name = self.sources[event.source]
        if event.prediction is None:
            self.messages[event.source] = event.message
        else:
            self.rows[event.source] = event.prediction
            self.skipped[event.source] = self.skipped.get(event.source, 0) + event.prediction.skipped
        if self.as_json:
            typer.echo(json.dumps({"source": name, **_fields(event)}))
        elif self.live is not None:
            self.live.update(self.table(), refresh=True)
        else:
            print_line(Console(), f"{name}  {_line(event)}")

    def table(self) -> Table:
        table = Table("source", "now", "", "tokens", "latency", "skipped", "")
        for number, name in enumerate(self.sources):
            found, message = self.rows.get(number), self.messages.get(number, "connecting")
            cells = ["", "", "", "", ""]
            if found is not None:
                labels = "\n".join(printable(label) for label, _ in found.scores)
                scores = "\n".join(f"{score:.1%}" for _, score in found.scores)
                tokens = f"{found.tokens_computed / found.tokens:.0%}"
                cells = [labels, scores, tokens, f"{1000 * found.latency:.0f} ms", str(self.skipped[number])]
            cells = [printable(name), *cells, printable("" if message == "connected" else message)]
            table.add_row(*map(Text, cells))  # not markup, which labels may look like
        return table


@contextmanager
def _view(sources: list[str], as_json: bool) -> Iterator[_View]:
    console = Console()
    if as_json or not console.is_terminal:
        yield _View(sources, as_json)
        return
    with Live(console=console, auto_refresh=False) as live:
        view = _View(sources, as_json, live)
        live.update(view.table(), refresh=True)
        yield view


def _fields(event: "Event") -> dict[str, object]:
    found = event.prediction
    if found is None:
        return {"message": event.message, **({"failed": event.failed} if event.ended else {})}
    scores = [{"label": label, "score": round(score, 6)} for label, score in found.scores]
    counts = {"tokens_computed": found.tokens_computed, "tokens": found.tokens, "skipped": found.skipped}
    return {"scores": scores, "seconds": found.seconds, **counts, "latency": round(found.latency, 4)}


def _line(event: "Event") -> str:
    found = event.prediction
    if found is None:
        return event.message
    scores = ", ".join(f"{label} {score:.1%}" for label, score in found.scores)
    start, end = found.seconds
    skipped = f", {found.skipped} skipped" if found.skipped else ""
    share = found.tokens_computed / found.tokens
    return f"{start:.2f} to {end:.2f} s: {scores} ({share:.0%} of the tokens, {1000 * found.latency:.0f} ms{skipped})"
