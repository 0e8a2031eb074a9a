# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The tables of `hf-rlt tokens`."""

from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..tokens import CountConfig
from ..tokens.summary import Totals

ROWS = 40  # more videos than that are only summed up
WIDTH = 160  # of a table that does not go to a terminal
NAMES = 20  # characters in which a name can be folded


def show(tally: Totals, question: CountConfig) -> None:
    """Returns nothing; prints a row for each video, unless there are too many, and what they come to."""
    if not tally.read:
        return
    console = Console()
    tables = [_shares] if tally.read > 1 else []
    for table in [_videos, *tables] if tally.read <= ROWS else [*tables, _ends]:
        _print(console, table(tally, question))
        console.print()
    clip, processor = tally.rows[0].counts[0], question.processor
    where = f"{clip.clips} clips of each video" if clip.clips > 1 else "The clip in the middle of each video"
    size, patch = processor.crop_size, processor.patch_size
    lines = [
        f"{where}: {clip.frames} frames of {size['height']} x {size['width']} pixels; a token is {processor.tubelet_size} "
        f"frames of {patch if isinstance(patch, int) else ' x '.join(map(str, patch))} pixels."
    ]
    if any(summary.repeating for summary in tally.summaries.values()):
        lines.append("* Shorter or slower than the clip: frames repeat, which costs next to nothing and says little.")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _print(console: Console, table: Table) -> None:
    """Returns nothing; prints a table as wide as its numbers need; a narrow terminal wraps it, and loses none."""
    names, wide = table.columns[0], console.options.update(max_width=1000)
    names.width = min(NAMES, Measurement.get(console, wide, table).minimum)
    least = Measurement.get(console, wide, table).minimum
    names.width = None
    Console(width=max(least, console.width if console.is_terminal else WIDTH)).print(table)


def _table(*columns: str, names: int = 1) -> Table:
    """Returns an empty table whose first columns hold names, and the others numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        left = i < names
        table.add_column(column, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return table


def _videos(tally: Totals, question: CountConfig) -> Table:
    table = _table("video", "sampling", "threshold", "before", "after", "share", "longest run")
    for video in tally.rows:
        name = printable(video.video) + (" *" if any(count.repeated_frames for count in video.counts) else "")
        for count in video.counts:
            table.add_row(
                Text(name),
                _sampling(count.fps, question),
                f"{count.threshold:g}",
                f"{count.tokens_before:,}",
                f"{count.tokens_after:,.0f}",
                f"{count.share:.1%}",
                _run(count.longest_run, count.longest_run_seconds),
            )
            name = ""  # once is enough
    return table


def _shares(tally: Totals, question: CountConfig) -> Table:
    titles = ("sampling", "threshold", "videos", "mean share", "quartiles", "lowest", "highest", "longest run")
    table = _table(*titles)
    for summary in tally.summaries.values():
        result: dict[str, Any] = summary.result()
        quartiles = " ".join(f"{result[name]:.1%}" for name in ("quartile_1", "median", "quartile_3"))
        table.add_row(
            _sampling(summary.fps, question),
            f"{summary.threshold:g}",
            f"{result['videos']:,}" + (f" ({result['repeating']:,} *)" if result["repeating"] else ""),
            f"{result['mean']:.1%}",
            quartiles,
            f"{result['lowest'][0][0]:.1%}",
            f"{result['highest'][0][0]:.1%}",
            _run(result["longest_run"], result["longest_run_seconds"]),
        )
    return table


def _ends(tally: Totals, question: CountConfig) -> Table:
    table = _table("lowest and highest shares", "sampling", "threshold", "share")
    for summary in tally.summaries.values():
        result = summary.result()
        for share, video in [*result["lowest"], *reversed(result["highest"])]:
            row = (_sampling(summary.fps, question), f"{summary.threshold:g}", f"{share:.1%}")
            table.add_row(Text(printable(video)), *row)
        table.add_section()
    return table


def _sampling(fps: float | None, question: CountConfig) -> str:
    processor = question.processor
    if fps is None and processor.sampling == "uniform":
        return "uniform"
    rate = fps if fps is not None else processor.fps
    return f"stride {processor.frame_stride}" if rate is None else f"{rate:g} fps"


def _run(tubelets: int, seconds: float) -> str:
    return f"{tubelets} ({seconds:.2f} s)"
