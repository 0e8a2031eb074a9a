# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Decode a camera, an address or a file in real time, in a thread of its own."""

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import av
import numpy as np

from ..errors import HfRltError
from ..models.video_stream import FORMATS, decode, open_stream, prepare_stream, to_rgb, upright_size
from .window import PAUSE, SlidingWindow

# FFmpeg's protocols for each kind of address. Playlists, which name further addresses, are refused as ever.
_HTTP = "https,http,tls,tcp"
PROTOCOLS = {"http": _HTTP, "https": _HTTP, "udp": "udp", "tcp": "tcp", "rtsp": "rtsp,rtp,udp,tcp"}
LONGEST_WAIT = 30.0  # seconds between two attempts to connect


class Frame(NamedTuple):
    """A decoded frame; it becomes an RGB array `(H, W, 3)` only when it is used as an array."""

    frame: Any
    shape: tuple[int, int, int]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.ascontiguousarray(to_rgb(self.frame, *self.shape[:2]))


def display_name(address: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"://[^/@]*@", "://", address)


def is_camera(address: str) -> bool:
    """Return whether an address is that of a device; raise OSError for a file that is not there."""
    return "://" not in address and stat.S_ISCHR(os.stat(address).st_mode)


def check_address(address: str) -> None:
    """Raise HfRltError or OSError for what can never be opened: an unknown kind of address, or a file that is not there."""
    scheme, separator, _ = address.partition("://")
    if separator and scheme.lower() not in PROTOCOLS:
        raise HfRltError(
            f"{display_name(address)}: expected a file, a camera such as /dev/video0, or an address of "
            f"{', '.join(PROTOCOLS)}, received {scheme}."
        )
    if not separator:
        os.stat(address)


@contextmanager
def open_live(address: str, timeout: float) -> Iterator[tuple[Any, Any]]:
    """Yield the open container and the video stream of a camera (/dev/video0), an address or a file.

    Args:
        address: of the video.
        timeout: seconds to wait for a connection, and then for each packet. Cameras do not heed it.

    Raises:
        HfRltError, OSError: if it cannot be opened, or shows no video.
    """
    scheme, separator, _ = address.partition("://")
    if not separator and not is_camera(address):
        with open_stream(address) as opened:
            yield opened
        return
    options = {"protocol_whitelist": PROTOCOLS.get(scheme.lower(), "file")}
    if separator:
        options["format_whitelist"] = FORMATS + ",rtsp" * (scheme.lower() == "rtsp")
    try:
        container = av.open(address, format=None if separator else "v4l2", options=options, timeout=timeout)
    except av.error.ExitError as error:
        raise HfRltError(f"{display_name(address)}: nothing came within {timeout:g} s.") from error
    except (
        av.error.FFmpegError,
        ValueError,
        IndexError,
    ) as error:  # IndexError: PyAV's, for a stream that appears late
        reason = getattr(error, "strerror", None) or error
        raise HfRltError(
            f"{display_name(address)}: cannot be opened ({reason}): check the address, and that the source is sending."
        ) from error
    with container:
        stream = prepare_stream(container, display_name(address), {})
        stream.codec_context.thread_count = 1  # each further one delays every frame by one
        yield container, stream


class LiveSource(threading.Thread):
    """Pushes the frames of a stream into a window. When the stream breaks, it connects again and starts a new window.

    Sources of known duration, and files, are played in real time, and end.

    Args:
        address: see `open_live`.
        window: to push to.
        on_frame: called after each frame.
        report: called with what happens, in words; in the end also with `ended` True, and whether it `failed`.
        timeout: seconds without a packet, or without an undamaged frame, after which the stream counts as broken.
        retries: attempts in a row without a frame, after the first, before it gives up.

    Attributes:
        error: what ended it, if that was a bug.
    """

    def __init__(
        self,
        address: str,
        window: SlidingWindow,
        on_frame: Callable[[], None],
        report: Callable[..., None],
        timeout: float = 10.0,
        retries: int = 5,
    ) -> None:
        super().__init__(name=f"source {display_name(address)}", daemon=True)
        self.address, self.window, self.on_frame, self.report = address, window, on_frame, report
        self.timeout, self.retries = timeout, retries
        self.error: BaseException | None = None
        self._stopped, self._frames = threading.Event(), 0

    def stop(self) -> None:
        """End it, after the packet that it waits for."""
        self._stopped.set()

    def run(self) -> None:
        """Read until the stream ends for good."""
        problem = "failed"
        try:
            problem = self._read_on()
        except BaseException as error:  # whoever watches raises it
            self.error = error
        finally:
            self.report(problem or "ended", ended=True, failed=bool(problem))

    def _read_on(self) -> str:
        """Connect and read again and again; return what was wrong in the end, "" if nothing was."""
        failures, is_file = 0, "://" not in self.address and not is_camera(self.address)
        while True:
            self._frames, problem, finite = 0, "", is_file
            try:
                with open_live(self.address, self.timeout) as (container, stream):
                    finite = is_file or container.duration is not None
                    problem = self._read(container, stream, finite)
            except (HfRltError, OSError, av.error.FFmpegError) as error:
                problem = str(error)
            failures = 0 if self._frames else failures + 1
            if self._stopped.is_set() or (finite and self._frames) or is_file or failures > self.retries:
                return problem
            wait = min(2.0 ** min(max(failures - 1, 0), 9), LONGEST_WAIT)
            self.report(f"{problem or 'no more frames came'}; connecting again in {wait:g} s")
            self._stopped.wait(wait)
            self.window.reset()

    def _read(self, container: Any, stream: Any, finite: bool) -> str:
        """Push frames until there are no more; return what is wrong with that, "" if nothing is."""
        self.report("connected")
        clock, lost, sound = _Clock(stream, finite), 0, time.monotonic()
        camera = container.format.name.startswith("video4linux2")
        for frame, _, intact in decode(container, stream):
            if self._stopped.is_set():
                return ""
            if not intact:
                lost += 1
                if time.monotonic() - sound > self.timeout:
                    return f"no undamaged frame came within {self.timeout:g} s"
                continue
            if lost:
                self.report(f"{lost} damaged frame{'s' * (lost > 1)} left out")
                lost = 0
            sound, seconds = time.monotonic(), clock.seconds(frame)
            if finite and (wait := clock.wait(seconds)) > 0:
                self._stopped.wait(wait)
            shown = Frame(frame, (*upright_size(stream, frame), 3))
            # A camera's driver takes its memory back.
            self.window.push(np.asarray(shown) if camera else shown, seconds)
            self._frames += 1
            self.on_frame()
        length = (container.duration or 0) / av.time_base
        if finite and clock.shown < 0.9 * length - 1:
            return f"broke off after {clock.shown:.1f} of {length:.1f} s"
        return ""


class _Clock:
    """The time stamps of frames, and how long to wait for each until it is due."""

    def __init__(self, stream: Any, finite: bool) -> None:
        self.rate = float(stream.average_rate or 25) if finite else None  # of files without time stamps
        self.start, self.frames, self.shown = time.monotonic(), 0, 0.0
        self._last: float | None = None
        self._offset = 0.0  # from time stamps to the monotonic clock

    def seconds(self, frame: Any) -> float:
        """Return the time of a frame: its stamp; without one, its number over the rate or the time that has passed."""
        self.frames += 1
        if frame.time is not None:
            return float(frame.time)
        return time.monotonic() - self.start if self.rate is None else (self.frames - 1) / self.rate

    def wait(self, seconds: float) -> float:
        """Return for how long to wait for a frame; after a jump the clock starts anew."""
        now, last, self._last = time.monotonic(), self._last, seconds
        if last is None or not 0 <= seconds - last <= PAUSE:
            self._offset = now - seconds
        else:
            self.shown += seconds - last
        return seconds + self._offset - now
