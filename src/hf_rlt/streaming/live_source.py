# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decode a camera, an address or a file in real time, in a thread of its own."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import av
import numpy as np

from ..errors import HfRltError
from ..models.video_stream import FORMATS, decode, open_stream, prepare_stream, to_rgb, upright_size
from .window import SlidingWindow

# FFmpeg's protocols for each kind of address. Playlists, which name further addresses, are refused as ever.
PROTOCOLS = {
    "http": "http,tcp",
    "https": "https,http,tls,tcp",
    "udp": "udp",
    "tcp": "tcp",
    "rtsp": "rtsp,rtp,udp,tcp",
}
LONGEST_WAIT = 30.0  # seconds between two attempts to connect


class Frame(NamedTuple):
    """A decoded frame; it becomes an RGB array `(H, W, 3)` only when it is used as an array."""

    frame: Any
    shape: tuple[int, int, int]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.ascontiguousarray(to_rgb(self.frame, *self.shape[:2]))


def is_file(address: str) -> bool:
    """Return whether it is neither a camera nor the address of a stream."""
    return "://" not in address and not address.startswith("/dev/video")


def check_address(address: str) -> None:
    """Raise HfRltError or OSError for what can never be opened: an unknown kind of address, or a file that is not there."""
    scheme, separator, _ = address.partition("://")
    if separator and scheme.lower() not in PROTOCOLS:
        raise HfRltError(
            f"{address}: expected a file, a camera such as /dev/video0, or an address of {', '.join(PROTOCOLS)}, received "
            f"{scheme}."
        )
    if not separator:
        os.stat(address)


@contextmanager
def open_live(address: str, timeout: float) -> Iterator[tuple[Any, Any]]:
    """Yield the open container and the video stream of a camera (/dev/video0), an address or a file.

    Args:
        address: of the video.
        timeout: seconds to wait for a connection, and then for each packet.

    Raises:
        HfRltError, OSError: if it cannot be opened, or shows no video.
    """
    scheme, separator, _ = address.partition("://")
    if is_file(address):
        with open_stream(address) as opened:
            yield opened
        return
    options = {"protocol_whitelist": PROTOCOLS.get(scheme.lower(), "file")}
    if separator:
        options["format_whitelist"] = FORMATS + ",rtsp" * (scheme.lower() == "rtsp")
    try:
        container = av.open(address, format=None if separator else "v4l2", options=options, timeout=timeout)
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HfRltError(f"{address}: cannot be opened ({reason}): check the address, and that it sends.") from error
    with container:
        yield container, prepare_stream(container, address, {})


class LiveSource(threading.Thread):
    """Pushes the frames of a stream into a window. When the stream breaks, it connects again and starts a new window.

    What has a length, as files have, is shown in real time by its time stamps, and ends.

    Args:
        address: see `open_live`.
        window: to push to.
        on_frame: called after each frame.
        say: called with what happens, in words.
        timeout: seconds without a packet after which the stream counts as broken.
        retries: attempts in a row without a frame, after the first, before it gives up.

    Attributes:
        ended: set when there will be no more frames.
        damaged: frames that were left out because data before them was lost.
    """

    def __init__(
        self,
        address: str,
        window: SlidingWindow,
        on_frame: Callable[[], None],
        say: Callable[[str], None],
        timeout: float = 10.0,
        retries: int = 5,
    ) -> None:
        super().__init__(name=f"source {address}", daemon=True)
        self.address, self.window, self.on_frame, self.say = address, window, on_frame, say
        self.timeout, self.retries = timeout, retries
        self.ended, self._stopped, self.damaged, self._frames = threading.Event(), threading.Event(), 0, 0

    def stop(self) -> None:
        """End it, after the packet that it waits for."""
        self._stopped.set()

    def run(self) -> None:
        """Read until the stream ends for good."""
        failures = 0
        while not self._stopped.is_set():
            self._frames, problem, finite = 0, "", False
            try:
                with open_live(self.address, self.timeout) as (container, stream):
                    finite = container.duration is not None
                    self._read(container, stream, finite)
            except (HfRltError, OSError) as error:
                problem = str(error)
            failures = 0 if self._frames else failures + 1
            if self._stopped.is_set() or (finite and self._frames) or is_file(self.address) or failures > self.retries:
                break
            wait = min(2.0 ** max(failures - 1, 0), LONGEST_WAIT)
            self.say(f"{problem or 'no more frames came'}; connecting again in {wait:g} s")
            self._stopped.wait(wait)
            self.window.reset()
        self.say(problem or "ended")
        self.ended.set()
        self.on_frame()

    def _read(self, container: Any, stream: Any, finite: bool) -> None:
        self.say("connected")
        begin, lost = time.monotonic(), 0
        first: float | None = None
        for frame, _, intact in decode(container, stream):
            if self._stopped.is_set():
                return
            if not intact:
                lost += 1
                continue
            if lost:
                self.say(f"{lost} damaged frame{'s' * (lost > 1)} left out")
                self.damaged, lost = self.damaged + lost, 0
            now = time.monotonic() - begin if frame.time is None else frame.time
            first = now if first is None else first
            if finite and (wait := begin + now - first - time.monotonic()) > 0:
                self._stopped.wait(wait)
            self.window.push(Frame(frame, (*upright_size(stream, frame), 3)), now)
            self._frames += 1
            self.on_frame()
