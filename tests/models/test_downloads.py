# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Downloads keep to their limits, whatever a server does."""

import re
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

import pytest
import torch

from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.models import downloads
from hf_rlt.models.errors import HfRltError


class Server(BaseHTTPRequestHandler):
    """Do to the client what the address says."""

    content = b""

    def do_GET(self) -> None:
        with suppress(OSError):  # of clients that went away
            getattr(self, self.path.strip("/").partition("?")[0].removesuffix(".mp4"))()

    def answer(self, status: int = 200, body: bytes = b"", **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def clip(self) -> None:
        self.answer(body=self.content, Content_Length=len(self.content))

    def until_the_end(self) -> None:
        self.answer(body=self.content)

    def moved(self) -> None:
        self.answer(302, Location="/clip.mp4")
        self.endlessly()

    def gone(self) -> None:
        self.answer(404)
        self.endlessly()

    def to(self) -> None:
        self.answer(307, Location=unquote(self.path.partition("?")[2]))

    def circle(self) -> None:
        self.answer(302, Location="/circle")

    def endless(self) -> None:
        self.answer()
        self.endlessly()

    def endlessly(self) -> None:
        while True:
            self.wfile.write(bytes(1 << 16))

    def announced(self) -> None:
        self.answer(Content_Length=1 << 40)

    def short(self) -> None:
        self.answer(body=self.content, Content_Length=len(self.content) + 1000)

    def nonsense(self) -> None:
        self.wfile.write(b"HTTP/1.1 yes\r\n\r\n")

    def broken(self) -> None:
        self.answer(body=b"zzz\r\nabc", Transfer_Encoding="chunked")

    def stops(self) -> None:
        self.answer(body=b"x", Content_Length=1000)
        time.sleep(3)

    def trickles(self) -> None:
        self.answer()
        self.slowly(b"x")

    def trickles_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.slowly(b"X-Y: z\r\n")

    def slowly(self, part: bytes) -> None:
        for _ in range(300):
            self.wfile.write(part)
            time.sleep(0.01)

    def page(self) -> None:
        self.answer(body=b"<html>no video</html>")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    Server.content = write_video(tmp_path_factory.mktemp("served") / "clip.mp4", ramp(20)).read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads, server.block_on_close = True, False
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def impatient(monkeypatch):
    for name, value in {"MAX_SECONDS": 1.0, "SILENCE": 0.4, "MAX_BYTES": 1 << 20, "IN_MEMORY": 1 << 14}.items():
        monkeypatch.setattr(downloads, name, value)


@pytest.mark.parametrize("name", ["clip", "until_the_end", "moved", "clip.mp4?a=ü b"])
def test_a_download_is_the_file(address, impatient, name):
    with downloads.download(f"{address}/{name}") as file:
        assert file.read() == Server.content
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_addresses_are_read_in_any_spelling(address):
    processor = RLTVideoProcessor(num_frames=2)
    expected = processor(Server.content, return_tensors="pt")["pixel_values"]
    for video in (address.replace("http", "HTTP"), address):
        assert torch.equal(processor(f"{video}/clip.mp4", return_tensors="pt")["pixel_values"], expected)


REASONS = {
    "gone": "404",
    "to?file:///etc/passwd": "file:///etc/passwd",
    "to?ftp://127.0.0.1/clip.mp4": r"redirected to ftp://127\.0\.0\.1/clip\.mp4, which is not http",
    "to?http://[": r"\[|IPv6",
    "circle": "infinite loop",
    "endless": "larger than 1 MiB",
    "announced": "larger than 1 MiB",
    "short": r"it ended after \d+ of \d+ bytes",
    "nonsense": "yes",
    "broken": "IncompleteRead",
    "stops": "timed out",
    "trickles": r"\d+ bytes in \d seconds, too slow|timed out",
    "trickles_headers": r"\d+ bytes in \d seconds, too slow|timed out",
}


@pytest.mark.parametrize("name", REASONS)
def test_what_does_not_come_whole_and_in_time_is_one_sentence(address, impatient, name):
    start = time.monotonic()
    match = rf"/{re.escape(name)}: could not be downloaded \(.*({REASONS[name]}).*pass the file\.$"
    with pytest.raises(HfRltError, match=match) as caught:
        downloads.download(f"{address}/{name}")
    assert time.monotonic() - start < 2.5
    assert str(caught.value).startswith("http://")
    assert "\n" not in str(caught.value)


def test_a_download_has_a_time_as_a_whole(address, impatient, monkeypatch):
    monkeypatch.setattr(downloads, "SLOWEST", 1)
    with pytest.raises(ValueError, match=r"not finished after 1 seconds|timed out"):
        downloads.download(f"{address}/trickles")


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "http://a b/", "http://127.0.0.1:x/", "https://127.0.0.1:1/a", "http://\n/"]
)
def test_addresses_of_nothing_are_refused(url):
    with pytest.raises(HfRltError, match="could not be downloaded") as caught:
        RLTVideoProcessor()(url)
    assert url in str(caught.value)


def test_a_host_that_says_nothing_is_given_up(impatient):
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        for scheme in ("http", "https"):
            with pytest.raises(ValueError, match="timed out"):
                downloads.download(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/a.mp4")
        assert time.monotonic() - start < 3
