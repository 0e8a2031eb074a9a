# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Sum up the counts of many videos, without holding them."""

import heapq
from array import array
from dataclasses import dataclass, field

import numpy as np

from .count import TokenCount
from .count_many import VideoCounts

NUM_EXTREMES = 5  # videos named at either end


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

    def add(self, video: str, count: TokenCount) -> None:
        """Add a video."""
        self.shares.append(count.share)
        self.lowest = heapq.nsmallest(NUM_EXTREMES, [*self.lowest, (count.share, video)])
        self.highest = heapq.nlargest(NUM_EXTREMES, [*self.highest, (count.share, video)])
        self.repeating += count.repeated_frames > 0
        self.longest_run = max(self.longest_run, (count.longest_run, count.longest_run_seconds))

    def quartiles(self) -> list[float]:
        """Return the lower quartile, the median and the upper quartile of the shares."""
        return np.quantile(self.shares, (0.25, 0.5, 0.75)).tolist()


@dataclass
class Totals:
    """What is kept of a count over many videos: the first `limit` in `rows`, a summary for each rate and threshold."""

    limit: int
    rows: list[VideoCounts] = field(default_factory=list)
    summaries: dict[tuple[float | None, float | None], Summary] = field(default_factory=dict)
    read: int = 0
    reused: int = 0
    bad: int = 0

    def add(self, video: VideoCounts) -> None:
        """Add what is known of a video."""
        if video.problem is not None:
            self.bad += 1
            return
        self.read += 1
        self.reused += video.reused
        if len(self.rows) < self.limit:
            self.rows.append(video)
        for count in video.counts:
            self.summaries.setdefault((count.fps, count.threshold), Summary()).add(video.video, count)
