# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The clips of an endless video: a window that slides over it by whole tubelets.

frames     0 1 2 3 4 5 6 7 8 9      clips of 8 frames, tubelets of 2, a hop of 1 tubelet
window 0   x x x x x x x x
window 1       x x x x x x x x      what window 0 had of it is not computed again
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import HfRltError, check_range
from ..models.run_rule import RULES
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES

FORGIVEN = 5e-7  # seconds, as in `fps_indices`
PAUSE = 5.0  # seconds without a frame after which a stream starts anew, or a clip's length if that is longer


@dataclass(frozen=True)
class Window:
    """A clip of a stream.

    Attributes:
        pixel_values: `(F, C, H, W)`, normalised.
        run_lengths: `(N,)`.
        seconds: time stamps of its first and last frame, or their numbers if frames came without.
        arrived: when its last frame was pushed, by `time.monotonic`.
        skipped: windows between the one taken before it and this one.
    """

    pixel_values: Tensor
    run_lengths: Tensor
    seconds: tuple[float, float]
    arrived: float
    skipped: int


@dataclass(frozen=True)
class _Tubelet:
    pixels: Tensor  # (1, s, C, H, W)
    difference: Tensor | None  # from the one before it; None for the first, and with a rule that compares others
    seconds: tuple[float, float]
    arrived: float


class SlidingWindow:
    """Makes clips of the frames of a stream, as the processor makes them of a file. One thread may push while another takes.

    Of each frame that the processor's `frame_stride` or `fps` picks, pixels are computed once, and so are the differences of
    neighbouring tubelets, the paper's. Memory is that of one clip, whatever comes.

    Args:
        processor: of the model.
        hop: tubelets from one window to the next; half a clip unless given.

    Raises:
        HfRltError: if the processor spreads frames over a whole video, or the hop is longer than a clip.
    """

    def __init__(self, processor: Any, hop: int | None = None) -> None:
        if processor.sampling != "clip":
            raise HfRltError(
                'Expected a processor with sampling="clip", received "uniform": a stream has no end to spread frames to. '
                "Give frame_stride or fps."
            )
        self.processor, self.rule = processor, processor.run_rule
        self.tubelets = (processor.num_frames or DEFAULT_NUM_FRAMES) // processor.tubelet_size
        self.hop = max(self.tubelets // 2, 1) if hop is None else hop
        check_range("hop", self.hop, 1, self.tubelets)
        self._neighbours = self.rule.drops and RULES[self.rule.rule].neighbours
        self._lock = threading.Lock()
        self._count = 0  # of all frames
        self.reset()

    def reset(self) -> None:
        """Forget all frames, as after a cut or a new connection: the next window begins with the next frame."""
        with self._lock:
            self._found: deque[_Tubelet] = deque(maxlen=self.tubelets)
            self._frames: list[np.ndarray] = []  # of the next tubelet
            self._times: list[float] = []
            self._last: tuple[Any, float, float] | None = None
            self._ready: list[_Tubelet] = []  # of the newest window, until it is taken
            self._pushed = self._instants = self._whole = self._skipped = 0
            self._start = 0.0

    def push(self, frame: Any, seconds: float | None = None) -> None:
        """Add a frame, `(H, W, 3)` uint8: an array, which is copied, or what becomes one and has its shape.

        With `fps` the time in seconds counts, else the number of frames. A frame of another size than the one before it, a
        time that runs backwards, or with `fps` a pause starts anew, see `PAUSE`.
        """
        self._check(frame, seconds)
        now, arrived = float(self._count if seconds is None else seconds), time.monotonic()
        self._count += 1
        if self._last is not None and self._breaks(frame, now):
            self.reset()
        fps, number, self._pushed = self.processor.fps, self._pushed, self._pushed + 1
        if fps is None:
            if number % self.processor.frame_stride == 0:
                self._add(_owned(frame), now, arrived)
        else:
            # A frame is taken once the next one shows until when it was on display.
            self._start = now if self._last is None else self._start
            while self._last is not None and self._start + self._instants / fps + FORGIVEN < now:
                self._instants += 1
                self._last = (np.asarray(self._last[0]), *self._last[1:])  # once, however often it is repeated
                self._add(*self._last)
            frame = _owned(frame)
        self._last = (frame, now, arrived)

    def _check(self, frame: Any, seconds: float | None) -> None:
        kind = frame.dtype if isinstance(frame, np.ndarray) else np.uint8
        if len(frame.shape) != 3 or frame.shape[2] != 3 or kind != np.uint8:
            raise HfRltError(
                f"Expected frames of shape (height, width, 3), uint8, received {tuple(frame.shape)}, {kind}."
            )
        if self.processor.fps is not None and seconds is None:
            raise HfRltError("Expected the seconds of each frame to take frames at fps, received none: pass them.")

    def _breaks(self, frame: Any, now: float) -> bool:
        assert self._last is not None
        (last, before, _), fps = self._last, self.processor.fps
        pause = fps is not None and now - before > max(self.tubelets * self.processor.tubelet_size / fps, PAUSE)
        return frame.shape != last.shape or now < before or pause

    def _add(self, frame: Any, seconds: float, arrived: float) -> None:
        self._frames.append(np.asarray(frame))
        self._times.append(seconds)
        if len(self._frames) < self.processor.tubelet_size:
            return
        pixels = self.processor.pixels([np.stack(self._frames)])
        difference = None
        if self._neighbours and self._found:
            difference = self.rule.differences(torch.cat([self._found[-1].pixels, pixels], dim=1))
        found = _Tubelet(pixels, difference, (self._times[0], self._times[-1]), arrived)
        self._frames, self._times = [], []
        with self._lock:
            self._found.append(found)
            if len(self._found) == self.tubelets:
                if self._whole % self.hop == 0:
                    self._skipped += bool(self._ready)
                    self._ready = list(self._found)
                self._whole += 1

    def take(self) -> Window | None:
        """Return the newest window that has not been taken yet, or None. A new one is ready every `hop` tubelets."""
        with self._lock:
            found, self._ready = self._ready, []
            skipped, self._skipped = self._skipped, 0
        if not found:
            return None
        pixels = torch.cat([tubelet.pixels for tubelet in found], dim=1)
        runs = self._run_lengths(found, pixels)
        seconds = (found[0].seconds[0], found[-1].seconds[1])
        return Window(pixels[0], runs[0], seconds, found[-1].arrived, skipped)

    def _run_lengths(self, found: list[_Tubelet], pixels: Tensor) -> Tensor:
        known = [tubelet.difference for tubelet in found[1:] if tubelet.difference is not None]
        return self.rule.run_lengths(torch.cat(known, dim=1)) if known else self.rule.find(pixels)


def _owned(frame: Any) -> Any:
    """Copy an array, which its owner may fill anew."""
    return frame.copy() if isinstance(frame, np.ndarray) else frame
