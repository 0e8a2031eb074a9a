# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The tables of `hf-rlt tokens`, and what they need of a count over many videos."""

import heapq
import os
import statistics
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..models.downloads import is_address
from .console import print_line

if TYPE_CHECKING:
    from ..tokens import CountConfig, TokenCount, VideoCounts

MAX_ROWS = 40  # more videos than that are only summed up
WIDTH = 160  # of a table that does not go to a terminal
NUM_EXTREMES = 5  # videos named at either end
NAME_WIDTH = 20  # characters to which names may be folded


@dataclass
class Summary:
    """The shares of computed tokens at one rate and threshold.

    Attributes:
        lowest, highest: the videos at either end, each as (share, video).
        repeating: videos whose clips repeat frames, see `TokenCount.repeated_frames`.
        longest_run: the longest of all in tubelets, with its seconds.
    """

    shares: array = field(default_factory=lambda: array("d"))
    lowest: list[tuple[float, str]] = field(default_factory=list)
    highest: list[tuple[float, str]] = field(default_factory=list)
    repeating: int = 0
    longest_run: tuple[int, float] = (0, 0.0)

    def add(self, video: str, count: "TokenCount") -> None:
        """Add a video."""
        self.shares.append(count.share)
        self.lowest = heapq.nsmallest(NUM_EXTREMES, [*self.lowest, (count.share, video)])
        self.highest = heapq.nlargest(NUM_EXTREMES, [*self.highest, (count.share, video)])
        self.repeating += count.repeated_frames > 0
        self.longest_run = max(self.longest_run, (count.longest_run, count.longest_run_seconds))

    def quartiles(self) -> list[float]:
        """Return the lower quartile, the median and the upper quartile of the shares."""
        return statistics.quantiles(self.shares, n=4, method="inclusive")


@dataclass
class Totals:
    """What is kept of a count over many videos: the first `limit` in `rows`, a summary for each rate and threshold."""

    limit: int
    rows: list["VideoCounts"] = field(default_factory=list)
    summaries: dict[tuple[float | None, float | None], Summary] = field(default_factory=dict)
    read: int = 0
    reused: int = 0
    bad: int = 0
    folder: str | None = None  # that all of them are in, which is left out of their names

    def add(self, video: "VideoCounts") -> None:
        """Add what is known of a video."""
        if video.problem is not None:
            self.bad += 1
            return
        self.read += 1
        self.reused += video.reused
        own = os.path.dirname(video.video)
        self.folder = own if self.folder is None else _common(self.folder, own)
        if len(self.rows) < self.limit:
            self.rows.append(video)
        for count in video.counts:
            self.summaries.setdefault((count.fps, count.threshold), Summary()).add(video.video, count)


def _common(one: str, other: str) -> str:
    """Return the folder that two folders are in, or ""."""
    try:
        return os.path.commonpath([one, other]) if not is_address(one) and not is_address(other) else ""
    except ValueError:  # one is absolute, the other is not
        return ""


def print_tables(totals: Totals, config: "CountConfig") -> None:
    """Print a row for each video, unless there are too many, and a summary."""
    if not totals.read:
        return
    console = Console()
    tables = [_videos] if totals.read <= MAX_ROWS else []
    tables += [_shares] if totals.read > 1 else []
    tables += [_extremes] if totals.read > MAX_ROWS else []
    for table in tables:
        _print(console, table(totals, config))
        console.print()
    clip, processor = totals.rows[0].counts[0], config.processor
    where = f"{clip.clips} clips of each video" if clip.clips > 1 else "The clip in the middle of each video"
    size, patch = processor.crop_size, processor.patch_size
    frames = f"{clip.frames} frames of {size['height']} x {size['width']} pixels"
    token = (
        f"{processor.tubelet_size} frames of {patch if isinstance(patch, int) else ' x '.join(map(str, patch))} pixels"
    )
    print_line(console, f"{where}: {frames}.")
    print_line(console, f"A token is {token}.")
    if len(config.parts) == 1:
        print_line(console, "Sampling: {}. Rule: {}.".format(*_part(*config.parts[0], config)))
    if any(summary.repeating for summary in totals.summaries.values()):
        print_line(console, "* Shorter or slower than the clip: frames repeat, which costs few tokens and says little.")


def _print(console: Console, table: Table) -> None:
    """Print a table as wide as its numbers need; a narrow terminal wraps it, and loses none."""
    names, wide = table.columns[0], console.options.update(max_width=1000)
    names.width = min(NAME_WIDTH, Measurement.get(console, wide, table).minimum)
    least = Measurement.get(console, wide, table).minimum
    names.width = None
    Console(width=max(least, console.width if console.is_terminal else WIDTH)).print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=bool(i), overflow="fold")
    return table


def _videos(totals: Totals, config: "CountConfig") -> Table:
    table = _table("video", *_part_titles(config), "before", "after", "share", "longest run")
    for video in totals.rows:
        name = _name(video.video, totals, " *" if any(count.repeated_frames for count in video.counts) else "")
        for count in video.counts:
            numbers = f"{count.tokens_before:,}", f"{count.tokens_after:,.0f}", f"{count.share:.1%}"
            run = f"{count.longest_run} ({count.longest_run_seconds:.2f} s)"
            table.add_row(name, *_part_cells(count.fps, count.threshold, config), *numbers, run)
            name = Text()  # once is enough
    return table


def _shares(totals: Totals, config: "CountConfig") -> Table:
    table = _table(*_part_titles(config), "videos", "mean share", "quartiles", "lowest", "highest", "longest run")
    for part, summary in totals.summaries.items():
        videos = f"{len(summary.shares):,}" + (f" ({summary.repeating:,} *)" if summary.repeating else "")
        quartiles = " ".join(f"{share:.1%}" for share in summary.quartiles())
        mean = sum(summary.shares) / len(summary.shares)
        numbers = [f"{share:.1%}" for share in (summary.lowest[0][0], summary.highest[0][0])]
        run = "{} ({:.2f} s)".format(*summary.longest_run)
        table.add_row(*_part_cells(*part, config), videos, f"{mean:.1%}", quartiles, *numbers, run)
    return table


def _extremes(totals: Totals, config: "CountConfig") -> Table:
    table = _table("lowest and highest shares", *_part_titles(config), "share")
    for part, summary in totals.summaries.items():
        for share, video in [*summary.lowest, *reversed(summary.highest)]:
            table.add_row(_name(video, totals), *_part_cells(*part, config), f"{share:.1%}")
        table.add_section()
    return table


def _name(video: str, totals: Totals, mark: str = "") -> Text:
    name = os.path.relpath(video, totals.folder) if totals.folder and totals.read > 1 else video
    return Text(printable(name) + mark)


def _part_titles(config: "CountConfig") -> tuple[str, ...]:
    """Return the columns that tell parts of the configuration apart; none if there is only one."""
    return ("sampling", "rule") if len(config.parts) > 1 else ()


def _part_cells(fps: float | None, threshold: float | None, config: "CountConfig") -> tuple[str, ...]:
    return _part(fps, threshold, config) if len(config.parts) > 1 else ()


def _part(fps: float | None, threshold: float | None, config: "CountConfig") -> tuple[str, str]:
    """Return how clips were sampled, and what is dropped."""
    processor = config.processor
    rate = processor.fps if fps is None else fps
    sampling = f"stride {processor.frame_stride}" if rate is None else f"{rate:g} fps"
    if fps is None and processor.sampling == "uniform":
        sampling = "uniform"
    return sampling, config.rule(threshold).describe()
