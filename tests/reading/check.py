# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""One file, read in many ways, against the truth."""

import contextlib
import itertools
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from truth import Truth, decode_file, decode_often, fingerprint

from hf_rlt.models.errors import HfRltError
from hf_rlt.models.video_reader import VideoReader, index_video, read_frames


@dataclass
class Result:
    """What became of one file. Of the counts all but `held`, `read` and `unstable` should be 0 for a clean file."""

    name: str = ""
    held: int = 0  # frames of the file
    read: int = 0  # readings of a frame that were compared
    wrong: int = 0  # of them not the frame that was asked for
    shifted: int = 0  # of them that of this time: damage swallowed others before, which keep their places
    refused: int = 0  # readings refused in one line
    refused_sound: int = 0  # of those, of how many nothing was wrong with the frames
    unstable: int = 0  # not compared, because FFmpeg itself does not give the same frame twice
    count: int = 0  # 1 if the number of frames is wrong
    lost: int = 0  # 1 if frames that nothing was wrong with are left out
    shorter: int = 0  # frames that were left out at the end, all of them behind damage
    times: int = 0  # 1 if times that ascend are not those of the frames
    unread: int = 0  # 1 if the file is refused, although FFmpeg gives a frame that nothing was wrong with
    other: int = 0  # exceptions of another kind
    hang: int = 0
    crash: int = 0
    skipped: int = 0  # 1 if the file could not be made here
    memory: int = 0  # bytes that reading took at most, above the start
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if len(self.notes) < 6:
            self.notes.append(text[:300])


class Checker:
    """Read one file in many ways; `strict` files are not damaged: reading them may not be refused."""

    def __init__(self, name: str, path: Path, *, strict: bool, seed: int, singles: int = 20) -> None:
        self.path, self.strict, self.random, self.singles = path, strict, random.Random(seed), singles
        self.result = Result(name)
        self.answers: list[tuple[str, list[int], Any]] = []

    def check(self, tell: Callable[[str], None] = lambda stage: None) -> Result:
        """Read the file, `tell("read")`, and compare."""
        before, start = _peak(reset=True), time.perf_counter()
        index = self._take("index", [], lambda _: index_video(self.path, use_cache=False))
        if index is not None:
            self._read_all(index)
        self.result.seconds = time.perf_counter() - start
        self.result.memory = max(0, _peak() - before)
        tell("read")
        truth = decode_file(self.path) if self.strict else decode_often(self.path)
        self._compare(index, truth)
        return self.result

    def _take(self, way: str, indices: list[int], read: Callable[[list[int]], Any]) -> Any:
        """Return what `read` returns, and keep a frame's fingerprint; None if it fails, which should take one line."""
        try:
            found = read(indices)
        except Exception as error:
            text = str(error)
            if not isinstance(error, (HfRltError, OSError)) or "\n" in text or len(text) > 1000 or not text:
                self.result.other += 1
                self.result.note(f"{way} {indices[:8]}: {type(error).__name__}: {text}")
            self.answers.append((way, indices, error))
            return None
        if indices:
            self.answers.append((way, indices, [(frame.shape, fingerprint(frame)) for frame in found]))
        return found

    def _read_all(self, index: Any) -> None:
        n, rng = index.num_frames, self.random
        alone = list(range(n)) if n <= self.singles else sorted(rng.sample(range(n), self.singles))

        def anew(indices: list[int]) -> np.ndarray:
            return read_frames(self.path, indices, index=index, use_cache=False)

        for i in dict.fromkeys([0, n - 1, *alone]):
            self._take("alone", [i], anew)
        self._take("last", [n - 1], lambda indices: read_frames(self.path, indices, use_cache=False))
        for _ in range(3):
            self._take("group", [rng.randrange(n) for _ in range(rng.randint(2, 8))], anew)
        for stride in (1, 2, rng.randint(3, 9)):
            start = rng.randrange(n)
            self._take("clip", list(range(start, n, stride))[:16], anew)
        self._take("bytes", [n // 2, 0], lambda indices: read_frames(self.path.read_bytes(), indices, index=index))
        with VideoReader(self.path, use_cache=False) as reader:
            some = rng.sample(range(n), min(n, 2 * self.singles))
            for i in some:
                self._take("kept open", [i], reader.read)
            self._take("kept open", sorted(some[:10]), reader.read)
        if n <= 200:
            self._take("all", list(range(n)), anew)

    def _compare(self, index: Any, truth: Truth) -> None:
        result, n = self.result, len(truth.prints)
        result.held = n
        if index is None:
            result.unread = int(truth.last_sound > 0)
            if n:
                result.note(f"FFmpeg gives {n} frames; refused: {self.answers[0][2]}")
            return
        self._compare_index(index, truth)
        for way, indices, answer in self.answers:
            if isinstance(answer, Exception):
                result.refused += len(indices)
                if sound := bool(indices) and all(i < n and truth.sound[i] for i in indices):
                    result.refused_sound += len(indices)
                if sound or self.strict:
                    result.note(f"{way} {indices[:8]} refused: {answer}")
                continue
            for i, (got, one) in zip(indices, answer, strict=True):
                if i < n and not truth.stable[i]:
                    result.unstable += 1
                    continue
                result.read += 1
                if i < n and one == truth.prints[i] and got == (*truth.size, 3):
                    continue
                places = [place for place, known in enumerate(truth.prints) if known == one]
                lost = not self.strict and n < index.num_frames
                if lost and any(place < i and truth.pts[place] == index.pts[i] for place in places):
                    result.shifted += 1
                else:
                    result.wrong += 1
                    result.note(f"{way} {indices[:8]}: instead of {i} frame {places or got}")

    def _compare_index(self, index: Any, truth: Truth) -> None:
        result, n, found = self.result, len(truth.prints), index.num_frames
        if truth.last_sound <= found < n:
            result.shorter = n - found
        elif found != n and (all(truth.stable) or self.strict):
            result.count, result.lost = 1, int(found < truth.last_sound)
            result.note(f"{found} frames, FFmpeg gives {n}, the last sound one of them {truth.last_sound - 1}")
        if (index.height, index.width) != truth.size and n:
            result.wrong += 1
            result.note(f"size {(index.height, index.width)} instead of {truth.size}")
        times = truth.pts[:found]
        ascending = None not in times and all(a < b for a, b in itertools.pairwise(times))  # type: ignore[operator]
        known = found == n or (self.strict and found < n)
        if known and ascending and all(truth.stable) and index.pts.tolist() != times:
            result.times = 1
            first = next(i for i, time in enumerate(times) if index.pts[i] != time)
            result.note(f"time of frame {first}: {index.pts[first]} instead of {times[first]}")


def _peak(*, reset: bool = False) -> int:
    """Return the most memory that was in use; with `reset`, what is in use now becomes the peak where the system can."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
