# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fetch videos from http(s) addresses, within limits of size and time, and from where fsspec finds them (s3://, gs://, hf://)."""

import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPResponse
from tempfile import SpooledTemporaryFile
from typing import Any, TypeGuard
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, build_opener

from .errors import HfRltError

MAX_BYTES = 2 << 30
MAX_SECONDS = 600.0  # for a whole download, redirects included
SILENCE = 20.0  # longest wait for a connection or for the next byte, in seconds
SLOWEST = 10_000  # least average speed in bytes per second, once SILENCE seconds have passed
IN_MEMORY = 64 << 20  # bytes; larger files go to a temporary file


class Download(SpooledTemporaryFile):
    """A downloaded file, which error messages name by its address."""

    name: str = ""  # type: ignore[assignment]
    mode = "rb"  # otherwise PyAV would take it for a file to write to


class _Clock:
    """The time that a download has left, which grows with the bytes received."""

    def __init__(self) -> None:
        self.start, self.received = time.monotonic(), 0

    def left(self) -> float:
        """Return how many seconds the next byte may take; raise TimeoutError if none are left."""
        passed = time.monotonic() - self.start
        if passed >= MAX_SECONDS:
            raise TimeoutError(f"not finished after {MAX_SECONDS:g} seconds")
        left = min(MAX_SECONDS, SILENCE + self.received / SLOWEST) - passed
        if left <= 0:
            raise TimeoutError(f"{self.received} bytes in {passed:.0f} seconds, too slow")
        return min(left, SILENCE)


class _TimedFile(io.RawIOBase):
    """A socket's stream that fails if bytes do not arrive in time."""

    def __init__(self, raw: Any, sock: Any, clock: _Clock) -> None:
        self._raw, self._socket, self._clock = raw, sock, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._clock.left())
        count = self._raw.readinto(buffer)
        self._clock.received += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _timed(handler: Any, clock: _Clock) -> Any:
    """Make a urllib handler time its responses, from the first byte of their headers on; return it."""
    plain = handler.do_open

    def respond(sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:
        response = HTTPResponse(sock, *args, **kwargs)
        response.fp = io.BufferedReader(_TimedFile(response.fp.detach(), sock, clock))
        return response

    def connect(http_class: Any, *args: Any, **kwargs: Any) -> Any:
        connection = http_class(*args, **kwargs)
        connection.response_class = respond
        return connection

    def do_open(http_class: Any, request: Any, **options: Any) -> Any:
        request.timeout = clock.left()
        return plain(partial(connect, http_class), request, **options)

    handler.do_open = do_open
    return handler


class _WebOnly(HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not is_web(newurl):
            raise HTTPError(newurl, code, f"redirected to {newurl}, which is not http(s)", headers, fp)
        fp.close()  # otherwise urllib would read its body, however long
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_web(video: object) -> TypeGuard[str]:
    """Return whether `video` is an http(s) address."""
    return isinstance(video, str) and video[:8].lower().startswith(("http://", "https://"))


def is_address(video: object) -> TypeGuard[str]:
    """Return whether `video` is an address, such as `https://...` or `s3://...`, rather than a path."""
    return isinstance(video, str) and re.match(r"[a-z][a-z0-9+.-]+://", video, re.IGNORECASE) is not None


def check_path(path: str) -> None:
    """Raise HfRltError unless there is a file or folder of that name, or it is an address."""
    if not is_address(path) and not os.path.lexists(path):
        raise HfRltError(f"{path}: no such file or folder.")


def download(url: str) -> Download:
    """Fetch a file into memory, or onto the disk if it is large. Closing it removes it.

    Raises:
        HfRltError: naming the address, if the file does not exist, is too large or arrives too slowly.
    """
    with ExitStack() as stack:
        file = stack.enter_context(Download(max_size=IN_MEMORY))
        try:
            _receive(file, *stack.enter_context(_web_file(url) if is_web(url) else _cloud_file(url)))
        except Exception as error:  # each file system has its own kinds
            reason = f"could not be downloaded ({' '.join(str(error).split()) or type(error).__name__})"
            raise HfRltError(f"{url}: {reason}. Download it yourself and pass the file.") from error
        stack.pop_all()  # it stays open
    file.name = url
    file.seek(0)
    return file


@contextmanager
def _web_file(url: str) -> Iterator[tuple[Callable[[int], bytes], int | None]]:
    """Yield a function that reads the next bytes, and how many there are, if that is known."""
    clock = _Clock()
    handlers = _timed(HTTPHandler(), clock), _timed(HTTPSHandler(), clock), _WebOnly()
    address = quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    with build_opener(*handlers).open(address, timeout=SILENCE) as response:
        yield response.read1, response.length


@contextmanager
def _cloud_file(url: str) -> Iterator[tuple[Callable[[int], bytes], int | None]]:
    import fsspec

    with fsspec.open(url, "rb") as file:
        yield file.read, getattr(file, "size", None)


def _receive(file: Download, read: Callable[[int], bytes], announced: int | None) -> None:
    received = 0
    while received <= MAX_BYTES and (announced or 0) <= MAX_BYTES:
        part = read(1 << 20)
        if not part:
            if announced is not None and received < announced:
                raise OSError(f"it ended after {received} of {announced} bytes")
            return
        file.write(part)
        received += len(part)
    raise OSError(f"larger than {MAX_BYTES >> 20} MiB")
