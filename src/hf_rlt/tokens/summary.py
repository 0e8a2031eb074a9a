# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Counts of many videos in a few numbers, without holding the counts."""

import heapq
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .count import TokenCount
from .count_many import VideoCounts

ENDS = 5  # videos named at either end


@dataclass
class Summary:
    """The shares of computed tokens at one rate and threshold.

    Attributes:
        fps, threshold: of the counts.
        shares: of each video, in their order.
        repeating: videos whose clips repeat frames, see `TokenCount.repeated_frames`.
        longest_run: the longest of all, with its seconds.
    """

    fps: float | None
    threshold: float
    shares: array = field(default_factory=lambda: array("d"))
    repeating: int = 0
    longest_run: tuple[int, float] = (0, 0.0)
    _lowest: list[tuple[float, str]] = field(default_factory=list)
    _highest: list[tuple[float, str]] = field(default_factory=list)

    def add(self, video: str, count: TokenCount) -> None:
        """Returns nothing; takes in the count of a video."""
        self.shares.append(count.share)
        self.repeating += count.repeated_frames > 0
        self.longest_run = max(self.longest_run, (count.longest_run, count.longest_run_seconds))
        self._lowest = heapq.nsmallest(ENDS, [*self._lowest, (count.share, video)])
        self._highest = heapq.nlargest(ENDS, [*self._highest, (count.share, video)])

    def result(self) -> dict[str, Any]:
        """Returns mean, quartiles and range of the shares, and the videos at either end, each as (share, video)."""
        low, median, high = np.quantile(self.shares, (0.25, 0.5, 0.75)).tolist()
        return {
            "fps": self.fps,
            "threshold": self.threshold,
            "videos": len(self.shares),
            "mean": float(np.mean(self.shares)),
            "quartile_1": low,
            "median": median,
            "quartile_3": high,
            "lowest": self._lowest,
            "highest": self._highest,
            "longest_run": self.longest_run[0],
            "longest_run_seconds": self.longest_run[1],
            "repeating": self.repeating,
        }


@dataclass
class Totals:
    """All that is kept of a count over many videos.

    Attributes:
        rows: as many videos as are worth a table of their own, in their order.
        summaries: one for each rate and threshold.
        read, reused, bad: videos that could be read, those of them that were known, and those that could not.
    """

    limit: int
    rows: list[VideoCounts] = field(default_factory=list)
    summaries: dict[tuple[float | None, float], Summary] = field(default_factory=dict)
    read: int = 0
    reused: int = 0
    bad: int = 0

    def add(self, video: VideoCounts) -> None:
        """Returns nothing; takes in what is known of a video."""
        if video.problem is not None:
            self.bad += 1
            return
        self.read += 1
        self.reused += video.reused
        if len(self.rows) < self.limit:
            self.rows.append(video)
        for count in video.counts:
            key = (count.fps, count.threshold)
            self.summaries.setdefault(key, Summary(*key)).add(video.video, count)
