# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Live sources over loopback: what they show is classified, and what goes wrong is reported and survived."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from types import SimpleNamespace

import av
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from helpers.model_folders import save_model
from helpers.rtsp_server import rtsp_server
from helpers.videos import noise, write_video
from hf_rlt.cli import app
from hf_rlt.cli.watch import _View
from hf_rlt.inference.loading import load
from hf_rlt.models import video_stream
from hf_rlt.streaming import Event, StreamPrediction, watch
from hf_rlt.streaming.live_source import _Clock, display_name

RATE = 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("watch") / "model", labels=[f"act {k}" for k in range(5)])


@pytest.fixture(scope="module")
def model(folder):
    network, processor = load(str(folder), sampling={"frame_stride": 1})
    return network, processor


def write_stream(target, frames, format="mpegts", paced=False, **options):
    """Mux frames as a live encoder does: MPEG-2 with a keyframe every ten, at 25 frames per second."""
    with av.open(target, "w", format=format, options=options) as container:
        stream = container.add_stream("mpeg2video", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.gop_size = 10
        begin = time.monotonic()
        for number, pixels in enumerate(frames):
            if paced:
                time.sleep(max(begin + number / RATE - time.monotonic(), 0))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def stream_bytes(frames, tmp_path):
    path = tmp_path / "stream.ts"
    write_stream(str(path), frames)
    return path.read_bytes()


@contextmanager
def server(*answers):
    """Serve each answer, a list of bytes and pauses, to one connection after the other; then refuse them."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not left:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            for part in left.pop(0):
                if isinstance(part, bytes):
                    try:
                        self.wfile.write(part)
                    except OSError:
                        return
                else:
                    time.sleep(part)

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/live"
        running.shutdown()


def events_of(addresses, model, **options):
    options = {"timeout": 1.0, "retries": 0, **options}
    events = list(watch(addresses, *model, **options))
    messages = [
        [event.message for event in events if event.source == k and event.message] for k in range(len(addresses))
    ]
    predictions = [
        [event.prediction for event in events if event.source == k and event.prediction] for k in range(len(addresses))
    ]
    return messages, predictions


def test_a_file_plays_in_real_time_and_ends(model, tmp_path, monkeypatch):
    path, decoded = str(write_video(tmp_path / "clip.mp4", noise(40), rate=20)), []
    decode = video_stream.decode

    def counted(*words):
        for item in decode(*words):
            decoded.append(item)
            yield item

    monkeypatch.setattr("hf_rlt.streaming.live_source.decode", counted)
    begin = time.monotonic()
    messages, predictions = events_of([path], model, hop=2)
    assert 1.9 < time.monotonic() - begin < 20
    assert messages == [["connected", "ended"]]
    assert len(decoded) == 40
    (found,) = predictions
    assert len(found) + sum(prediction.skipped for prediction in found) == 9
    assert found[-1].seconds == pytest.approx((1.6, 1.95))
    assert all(prediction.tokens == 64 for prediction in found)


def test_http_breaks_and_is_connected_again(model, tmp_path):
    whole = stream_bytes(noise(50), tmp_path)
    with server([whole], [whole]) as address:
        (messages,), (found,) = events_of([address], model)
    assert messages[0] == "connected"
    assert messages[1].startswith("no more frames came; connecting again in 1 s")
    assert messages[2] == "connected"
    assert messages[-1].startswith(f"{address}: cannot be opened")
    assert len(messages) == 5
    assert found


def test_a_stall_counts_as_a_break(model, tmp_path):
    whole = stream_bytes(noise(100), tmp_path)
    with server([whole[: len(whole) // 2], 8.0, whole[len(whole) // 2 :]], [whole]) as address:
        begin = time.monotonic()
        (messages,), _ = events_of([address], model)
    assert messages.count("connected") == 2
    assert time.monotonic() - begin < 8


def test_damage_is_reported_and_left_out(model, tmp_path):
    whole = bytearray(stream_bytes(np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8), tmp_path))
    begin = len(whole) // 3 // 188 * 188
    whole[begin : begin + 5 * 188] = bytes(5 * 188)  # packets of a transport stream that got lost
    with server([bytes(whole)]) as address:
        (messages,), (found,) = events_of([address], model)
    assert messages[1] == "1 damaged frame left out"
    assert found


def test_a_change_of_size_starts_a_new_window(model, tmp_path):
    small, large = (stream_bytes(noise(30).repeat(times, 1).repeat(times, 2), tmp_path) for times in (1, 2))
    with server([small + large]) as address:
        _, (found,) = events_of([address], model, hop=1)
    total = len(found) + sum(prediction.skipped for prediction in found)
    assert total <= 2 * (15 - 3)  # none has frames of both
    assert total > 15 - 3


@pytest.mark.slow
def test_udp(model):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{probe.getsockname()[1]}"
    sender = threading.Thread(
        target=lambda: write_stream(f"{address}?pkt_size=1316", noise(8 * RATE), paced=True), daemon=True
    )
    sender.start()
    (messages,), (found,) = events_of([address], model, timeout=3.0)
    sender.join()
    assert messages[0] == "connected"
    assert len(found) > 3
    assert max(prediction.latency for prediction in found) < 5


@pytest.mark.slow
def test_rtsp(model):
    def send(target):
        write_stream(target, noise(8 * RATE), format="rtp", paced=True)

    with rtsp_server(send) as address:
        (messages,), (found,) = events_of([address], model, timeout=3.0)
    assert messages[0] == "connected"
    assert messages[-1].startswith("rtsp://127.0.0.1")  # no password
    assert "cannot be opened" in messages[-1]
    total = len(found) + sum(prediction.skipped for prediction in found)
    assert total > 0.9 * 8 * RATE / 4 - 2
    assert np.median([prediction.latency for prediction in found]) < 1


def test_several_sources_share_batches(model, tmp_path, monkeypatch):
    paths = [str(write_video(tmp_path / f"{k}.mp4", noise(40, seed=k), rate=20)) for k in range(3)]
    network, processor = model
    batches, forward = [], network.forward
    monkeypatch.setattr(
        network, "forward", lambda **inputs: batches.append(len(inputs["pixel_values"])) or forward(**inputs)
    )
    messages, found = events_of(paths, (network, processor))
    assert all(each == ["connected", "ended"] for each in messages)
    assert all(len(each) + sum(prediction.skipped for prediction in each) == 9 for each in found)
    assert sum(batches) == sum(map(len, found))
    assert max(batches) > 1


def test_a_file_that_breaks_off_has_failed(model, tmp_path):
    path = write_video(tmp_path / "clip.mkv", noise(100), rate=25)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    events = list(watch([str(path)], *model))
    assert events[-1].failed
    assert events[-1].ended
    assert " of 4.0 s" in events[-1].message
    assert "broke off after " in events[-1].message
    assert sum(event.prediction is not None for event in events) > 0


def test_time_stamps_that_begin_again_and_that_jump_keep_real_time(tmp_path):
    stream = SimpleNamespace(average_rate=25)
    clock, due = _Clock(stream, finite=True), []
    for seconds in (0.0, 0.04, 0.08, 0.0, 0.04, 72000.0, 72000.04):
        due.append(clock.wait(seconds))
    assert due == pytest.approx([0, 0.04, 0.08, 0, 0.04, 0, 0.04], abs=0.02)
    assert [clock.seconds(SimpleNamespace(time=None)) for _ in range(3)] == [0, 0.04, 0.08]


def test_a_bug_in_a_source_is_raised(model, tmp_path, monkeypatch):
    path = str(write_video(tmp_path / "clip.mp4", noise(10)))
    monkeypatch.setattr("hf_rlt.streaming.window.SlidingWindow.push", lambda *words: [][1])
    with pytest.raises(IndexError):
        list(watch([path], *model))
    with pytest.raises(ValueError, match="Expected cameras, addresses or files to watch, received none"):
        list(watch([], *model))


def test_names_show_no_password_and_labels_are_not_markup():
    assert display_name("rtsp://user:secret@camera:554/a@b") == "rtsp://camera:554/a@b"
    prediction = StreamPrediction([("Pushing [something]", 0.5), ("[/x]", 0.25)], (0.0, 1.0), 10, 40, 0.012, 3)
    view = _View(["rtsp://[fe80::1]:554/x"], False, None, {}, {}, {})
    view.show(Event(0, prediction))
    console = Console(width=120, file=StringIO())
    console.print(view.table())
    text = console.file.getvalue()
    for part in ("Pushing [something]", "[/x]", "rtsp://[fe80::1]:554/x", "50.0%", "25%", "12 ms", "3"):
        assert part in text


def test_the_command_prints_lines_and_json(folder, tmp_path):
    path = str(write_video(tmp_path / "clip.mp4", noise(60), rate=25))
    done = CliRunner().invoke(app, ["watch", path, "--model", str(folder), "--frame-stride", "1"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"{path}  connected"
    assert lines[-1] == f"{path}  ended"
    assert " of the tokens, " in lines[1]
    done = CliRunner().invoke(
        app, ["watch", path, "--model", str(folder), "--frame-stride", "1", "--json", "--top-k", "2"]
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert records[0] == {"source": path, "message": "connected"}
    assert records[-1] == {"source": path, "message": "ended", "failed": False}
    assert len(records[1]["scores"]) == 2
    assert records[1]["seconds"][0] == 0


def test_mistakes_are_one_line(folder, tmp_path):
    for source, message in (
        (
            "ftp://host/video",
            "expected a file, a camera such as /dev/video0, or an address of http, https, udp, tcp, rtsp",
        ),
        (str(tmp_path / "none.mp4"), "No such file"),
        ("/dev/video99", "No such file"),
    ):
        done = CliRunner().invoke(app, ["watch", source, "--model", str(folder)])
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert message in done.stderr


def test_a_playlist_is_refused(folder, tmp_path):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nclip.ts\n")
    with server([playlist.read_bytes()]) as address:
        for source in (str(playlist), address):
            done = CliRunner().invoke(app, ["watch", source, "--model", str(folder), "--retries", "0"])
            assert done.exit_code == 1
            assert "connected" not in done.stdout
