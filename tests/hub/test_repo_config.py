# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Names of models that are not there: one short try, and an error that says what was looked for."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from hf_rlt.cli.options import make_processor
from hf_rlt.conversion import convert
from hf_rlt.hub.repo_config import read_config
from hf_rlt.inference.loading import load

NAME = "no-such/model"
BODY = json.dumps({"model_type": "videomae", "num_frames": 8}).encode()


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does to whoever asks for a file."""

    status, headers_sent, seconds, asked = 200, {}, 0.0, 0

    def do_HEAD(self) -> None:
        type(self).asked += 1
        time.sleep(self.seconds)
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(BODY)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def network(monkeypatch, tmp_path) -> Callable[[str], None]:
    """Switch the network on, with this address for the Hub's and an empty cache."""

    def at(endpoint: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    return at


@pytest.fixture
def hub(network) -> Iterator[type[Hub]]:
    """A Hub on this machine."""
    answers = type("Answers", (Hub,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    network(f"http://127.0.0.1:{server.server_address[1]}")
    yield answers
    server.shutdown()


def refused(name: str = NAME, open_it: Callable = read_config) -> str:
    start = time.perf_counter()
    with pytest.raises(
        OSError, match=f"^{name}: expected a model folder or the id of a model on the Hub.*json"
    ) as caught:
        open_it(name)
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "open_it",
    [read_config, load, make_processor, lambda name: convert(name, "out")],
    ids=["read_config", "load", "make_processor", "convert"],
)
def test_without_a_network_the_error_comes_at_once_and_says_what_was_looked_for(network, open_it, caplog, tmp_path):
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        network(f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "no answer from http://127.0.0.1" in refused(open_it=open_it)
    assert "Retrying" not in caplog.text


def test_with_the_network_switched_off_it_says_so(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the network is off (HF_HUB_OFFLINE)" in refused()


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "no such model on http://127.0.0.1"),
        (401, {"X-Error-Message": "Invalid username or password."}, "needs `hf auth login`"),
        (404, {"X-Error-Code": "EntryNotFound"}, "none in the model of that id"),
        (429, {}, "answered 429: try again later"),
    ],
)
def test_what_the_hub_answers_is_said(hub, status, headers, says):
    hub.status, hub.headers_sent = status, headers
    assert says in refused()
    assert hub.asked == 1


def test_a_hub_that_never_answers_is_not_waited_for_long(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    hub.seconds = 1.5
    assert "no answer" in refused()
    assert hub.asked == 1


def test_what_is_in_the_cache_needs_no_network(hub, network):
    hub.headers_sent = {"ETag": '"a"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(BODY))}
    assert read_config(NAME) == json.loads(BODY)
    network("http://127.0.0.1:9")
    assert read_config(NAME) == json.loads(BODY)


@pytest.mark.parametrize("name", ["user/na me", "user/a--b", "./user/a", "/a/b"])
def test_a_name_that_cannot_be_an_id_is_not_asked_for(hub, name):
    with pytest.raises(ValueError, match="expected a model folder or a Hub id such as user/name"):
        load(name)
    assert hub.asked == 0


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(OSError, match=rf"{tmp_path}: expected a model folder, found no config\.json in it"):
        load(str(tmp_path))
