# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Handle requests to Hugging Face Inference Endpoints: a video file as base64 in, labels and scores out.

{"inputs": "AAAAIGZ0eXBpc29t...", "parameters": {"top_k": 5, "threshold": 0.1}}  ->  [{"label": "...", "score": 0.9}, ...]

This file lies beside a model's weights and needs nothing but that folder and its requirements.txt. `python handler.py`
serves the same requests without the platform's server, for a container of your own (port 8000, or the variable PORT).
"""

import base64
import binascii
import io
import json
import math
import os
import reprlib
import socket
import string
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import av

# Accepted container formats. Unlike playlists, none of them can refer to another file or address.
CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,ogg,gif,flv,asf,mxf,ivf,obu,h264,hevc,m4v,mpegvideo"
LIMITS = (
    "MEGABYTES",
    "SECONDS",
    "FRAMES",
    "PIXELS",
    "TOTAL_PIXELS",
    "DECODING_SECONDS",
    "UPLOAD_SECONDS",
    "CONNECTIONS",
)
MAX_ASPECT = 16  # a thin frame would become huge when its shorter side is resized
MAX_PARTS = 100  # lists, objects and commas in a request
PIECE = 2**16  # bytes of a body that are read at a time
READING_ERRORS = (ValueError, OSError, IndexError, MemoryError, av.error.FFmpegError)


class EndpointHandler:
    """Classifies one video per call, and refuses videos that exceed its limits.

    Attributes:
        MAX_MEGABYTES: size of the file in MiB. The variable HF_RLT_MAX_MEGABYTES overrides it; likewise for the others.
        MAX_SECONDS: duration from the first to the last frame.
        MAX_FRAMES: number of frames as counted in the file, whatever its header says.
        MAX_PIXELS: pixels of any frame.
        MAX_TOTAL_PIXELS: pixels of all frames that are decoded to reach the clip.
        MAX_DECODING_SECONDS: time for opening and decoding the video, without the model.
        MAX_UPLOAD_SECONDS: time for a request to arrive; `serve` only.
        MAX_CONNECTIONS: connections that are open at once; the operating system queues more; `serve` only.

    Args:
        path: the model's folder; if empty, the folder of this file.

    Raises:
        ImportError: if transformers is too old for the model.
        ValueError: if a limit in the environment is not a number above 0.
    """

    MAX_MEGABYTES = 64.0
    MAX_SECONDS = 600.0
    MAX_FRAMES = 18_000.0
    MAX_PIXELS = 3840.0 * 2160.0
    MAX_TOTAL_PIXELS = 1e10
    MAX_DECODING_SECONDS = 6.0
    MAX_UPLOAD_SECONDS = 60.0
    MAX_CONNECTIONS = 256.0

    def __init__(self, path: str = "") -> None:
        from transformers.utils.versions import require_version

        require_version("transformers>=5.18", "requirements.txt beside handler.py says what the model needs.")
        import torch  # not at the top: the process that opens videos does not need it
        from transformers import AutoModelForVideoClassification, AutoVideoProcessor

        folder = path or str(Path(__file__).resolve().parent)
        self.limits = self.read_limits()
        self.turn = threading.RLock()  # one video at a time, so that the limits bound the total memory and time
        self.opener = _Opener()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True).to(device).eval()
        frames = self.model.config.num_frames
        self.processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True, num_frames=frames)

    @classmethod
    def read_limits(cls) -> dict[str, float]:
        """Return the limits by the names in LIMITS, from the environment or else from the class."""
        return {name: _limit(name, getattr(cls, f"MAX_{name}")) for name in LIMITS}

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Return `[{"label": str, "score": float}, ...]`, highest score first.

        Args:
            data: "inputs", the base64 of a video file (line breaks and a data URL's prefix are allowed), and optionally
                "parameters": `top_k`, the number of labels (5), and `threshold`, a number or "none", which overrides
                the model's.

        Raises:
            ValueError: with one sentence that says what was expected and received. The platform returns it with status
                400.
        """
        if not isinstance(data, dict):
            raise ValueError(f"Expected a JSON object with inputs, received a {type(data).__name__}.")
        settings = _parameters(data.get("parameters"))
        top_k = min(settings.pop("top_k"), self.model.config.num_labels)
        with self.turn:
            video = self._file(data.get("inputs"))
            try:
                frames = self._frames(video)
            except READING_ERRORS as error:
                raise ValueError(f"inputs: {_sentence(error)}") from error
            return self._scores(frames, top_k, settings)

    def _file(self, text: Any) -> bytes:
        """Return the bytes of the file in a request; raise ValueError before decoding them if there are too many."""
        if not isinstance(text, str) or not text:
            found = "an empty one" if text == "" else "nothing" if text is None else f"type {type(text).__name__}"
            raise ValueError(f"inputs: expected a string with the base64 of a video file, received {found}.")
        if text[:5].lower() == "data:":
            prefix, _, text = text.partition(",")
            if not prefix[-7:].lower() == ";base64":
                raise ValueError(f"inputs: expected a data URL with ;base64, received {_short(prefix)}.")
        try:
            coded = text.encode("ascii").translate(None, string.whitespace.encode())
            _compare(self.limits, "MEGABYTES", len(coded) * 3 / 4 / 2**20, "inputs: the file holds {} MiB")
            return base64.b64decode(coded, validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise ValueError(
                f"inputs: expected the base64 of a video file, received {_short(text)} ({error}): send the file itself, "
                "addresses are not fetched."
            ) from error

    def _frames(self, video: bytes) -> Any:
        """Return the frames of the clip, resized."""
        watch = _Watch(self.limits)
        self.opener.check(video, self.limits)
        limits = {"max_pixels": _decoder_pixels(self.limits), "on_frame": watch.see}
        return self.processor.decode(_Video(video, watch), resized=True, **limits)[0]

    def _scores(self, frames: Any, top_k: int, settings: dict[str, Any]) -> list[dict[str, Any]]:
        import torch

        own = {"do_resize": False, "do_sample_frames": False, "input_data_format": "channels_last"}
        inputs = self.processor(frames, return_tensors="pt", **own, **settings)
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.model.device, self.model.dtype)).logits[0]
        scores, labels = logits.float().softmax(-1).topk(top_k)
        names = self.model.config.id2label
        return [{"label": names[k], "score": s} for s, k in zip(scores.tolist(), labels.tolist(), strict=True)]


class _Watch:
    """Tracks the time and pixels that reading a video takes; raises ValueError once a limit is exceeded."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.limits, self.began, self.pixels = limits, time.monotonic(), 0

    def clock(self) -> None:
        seconds = time.monotonic() - self.began
        _compare(self.limits, "DECODING_SECONDS", seconds, "reading the video takes at least {} seconds")

    def see(self, frame: Any) -> None:
        """Count a decoded frame, which may be larger than the first one."""
        self.clock()
        _check_size(self.limits, frame.width, frame.height)
        self.pixels += frame.width * frame.height
        _compare(self.limits, "TOTAL_PIXELS", self.pixels, "the video's frames up to its clip have at least {} pixels")


class _Video(io.BytesIO):
    """A file that can be read until time is up: a decoder may go through all of it without finding a frame."""

    name = "inputs"  # its name in error messages

    def __init__(self, video: bytes, watch: _Watch) -> None:
        super().__init__(video)
        self.watch = watch

    def read(self, size: int | None = -1) -> bytes:
        self.watch.clock()
        return super().read(size and min(size, 4096))  # in small pieces, to check the clock often


class _Opener:
    """A process that opens each video first, within limits of memory and time.

    FFmpeg trusts headers: 2 kB can make it take 5 GB and 9 s before it returns.
    """

    def __init__(self) -> None:
        self.process: Any = None

    def check(self, video: bytes, limits: Mapping[str, float]) -> None:
        """Raise ValueError as `check_limits` does, or if opening the video exceeds the limits of memory or time."""
        memory = math.ceil(128 + limits["MEGABYTES"] + limits["PIXELS"] * 24 / 2**20)  # 16 frames of 12 bits a pixel
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, str(Path(__file__).resolve()), "--open", str(memory)]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
        process, answer = self.process, b""
        timer = threading.Timer(min(limits["DECODING_SECONDS"], threading.TIMEOUT_MAX), process.kill)
        timer.start()
        with suppress(OSError):  # the process has ended
            process.stdin.write(json.dumps([len(video), dict(limits)]).encode() + b"\n")
            process.stdin.write(video)
            process.stdin.flush()
            answer = process.stdout.readline()
        timer.cancel()
        if not answer:
            process.kill()
            with suppress(OSError), process:
                self.process = None
            raise ValueError(
                f"the video could not be opened within {limits['DECODING_SECONDS']:,.15g} seconds and {memory} MiB: "
                "re-encode it, or start the server with a larger HF_RLT_MAX_DECODING_SECONDS."
            )
        if message := json.loads(answer):
            raise ValueError(message)


def _open_videos(megabytes: int) -> None:
    """Answer each video on standard input with a line: what is wrong with it, or an empty string."""
    busy = threading.Event()
    threading.Thread(target=_end_beyond, args=(_memory() + megabytes * 2**20, busy), daemon=True).start()
    source = sys.stdin.buffer
    while line := source.readline():
        size, limits = json.loads(line)
        busy.set()
        try:
            check_limits(io.BytesIO(source.read(size)), limits)
            answer = ""
        except READING_ERRORS as error:
            answer = _sentence(error)
        busy.clear()
        print(json.dumps(answer), flush=True)


def _end_beyond(most: int, busy: threading.Event) -> None:
    """End this process once it has more memory. A system limit would not do: FFmpeg may survive a failed allocation."""
    while busy.wait():
        if _memory() > most:
            os._exit(1)
        time.sleep(0.002)


def _memory() -> int:
    """Return how many bytes this process has allocated, written to or not; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def check_limits(video: BinaryIO, limits: Mapping[str, float]) -> None:
    """Check a video's headers and packets against the limits, without decoding it.

    Args:
        video: the file.
        limits: see `EndpointHandler.read_limits`; only those of the video itself are checked.

    Raises:
        ValueError: saying what the video has, and the limit; or that it cannot be opened.
    """
    options = {
        "format_whitelist": CONTAINERS,
        "protocol_whitelist": "none",
        "max_pixels": str(_decoder_pixels(limits)),  # otherwise probing could decode a picture of any size
    }
    size = video.seek(0, io.SEEK_END)
    video.seek(0)
    try:
        container = av.open(video, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:  # OSError: a seek beyond the end
        raise ValueError(
            "expected a video file (mp4, mov, webm, mkv, avi, gif, ...), "
            f"received {size:,} bytes that cannot be opened as one."
        ) from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover]
        if not streams:
            raise ValueError("expected a video, received a file without a video stream that can be decoded.")
        for stream in streams:
            ratio = float(stream.sample_aspect_ratio or 1)  # the reader widens frames by this
            pixels = stream.height * round(stream.width * (ratio if 1 / 8 <= ratio <= 8 else 1))
            if not pixels:  # probing was not allowed to decode a frame
                limit = f"the limit of {limits['PIXELS']:,.15g} pixels"
                raise ValueError(f"the video's frames have no known size, or more than {limit}.")
            _check_size(limits, stream.width, stream.height, pixels)
        _count(container, streams, limits, size)


def _decoder_pixels(limits: Mapping[str, float]) -> int:
    """Return the limit for FFmpeg, which is larger: it counts decoders' padding, up to 256 pixels per side, too."""
    return int(limits["PIXELS"] + 256 * (MAX_ASPECT**0.5 + MAX_ASPECT**-0.5) * limits["PIXELS"] ** 0.5 + 256**2)


def _check_size(limits: Mapping[str, float], width: int, height: int, pixels: int = 0) -> None:
    _compare(limits, "PIXELS", pixels or width * height, f"a frame of {width} x {height} has {{}} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(
            f"expected frames at most {MAX_ASPECT} times as long as they are wide, received {width} x {height}."
        )


def _count(container: Any, streams: list[Any], limits: Mapping[str, float], size: int) -> None:
    seen, total = {stream.index: (0, math.inf, -math.inf) for stream in streams}, 0
    with suppress(av.error.FFmpegError, IndexError):  # damaged from here on
        for packet in container.demux(streams):
            if not packet.size and packet.dts is None:
                continue  # the end of the stream, not a skipped frame
            frames, first, last = seen[packet.stream.index]
            rate = packet.stream.average_rate or packet.stream.guessed_rate or 25
            when = float(frames / rate if packet.pts is None else packet.pts * packet.time_base)
            frames, first, last = seen[packet.stream.index] = (frames + 1, min(first, when), max(last, when))
            _compare(limits, "FRAMES", frames, "the video has at least {} frames")
            _compare(limits, "SECONDS", last - first, "the video lasts at least {} seconds")
            total += packet.size
            if total > 2 * size + PIECE:  # frames that share the same bytes cost their sender nothing
                raise ValueError(
                    f"the file of {size:,} bytes says that its frames have more than {total:,}: re-encode it."
                )


def _compare(limits: Mapping[str, float], name: str, value: float, sentence: str) -> None:
    limit = limits[name]
    if value > limit:
        found = sentence.format(f"{value:,.0f}" if value >= 1000 else f"{value:.4g}")
        raise ValueError(
            f"{found}, the limit is {limit:,.15g}: send less, or start the server with a larger HF_RLT_MAX_{name}."
        )


def _limit(name: str, default: float) -> float:
    text = os.environ.get(f"HF_RLT_MAX_{name}", str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:  # catches NaN, too
        raise ValueError(f"HF_RLT_MAX_{name}: expected a number above 0, received {text!r}.")
    return min(value, 1e15)  # FFmpeg and timers do not accept infinity


def _parameters(given: Any) -> dict[str, Any]:
    """Validate the parameters of a request; return `top_k`, and `threshold` if one is given."""
    given = {} if given is None else given
    if not isinstance(given, dict) or set(given) - {"top_k", "threshold"}:
        raise ValueError(f"parameters: expected an object with top_k and threshold, received {_short(given)}.")
    top_k = given.get("top_k")
    top_k = 5 if top_k is None else _as_number(top_k, int)
    if not top_k >= 1:
        raise ValueError(f"parameters: expected top_k to be an integer above 0, received {_short(given['top_k'])}.")
    if "threshold" not in given:
        return {"top_k": top_k}
    threshold = given["threshold"]
    if threshold is None or (isinstance(threshold, str) and threshold.lower() == "none"):
        return {"top_k": top_k, "threshold": None}
    value = _as_number(threshold, float)
    if not 0 <= value < math.inf:
        raise ValueError(f"parameters: expected threshold to be a number from 0 or none, received {_short(threshold)}.")
    return {"top_k": top_k, "threshold": value}


def _as_number(given: Any, kind: type) -> float:
    """Return a number, which may be given as a string, as in a query; NaN for anything else."""
    try:
        return kind(str(given)) if isinstance(given, (int, float, str)) else math.nan
    except ValueError:
        return math.nan


def _short(value: Any) -> str:
    try:
        text = repr(value[:60]) if isinstance(value, str) else reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits has no repr
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sentence(error: Exception) -> str:
    return (
        " ".join(str(error).removeprefix("inputs: ").split()) or f"the video cannot be read ({type(error).__name__})."
    )


def _parse(body: bytearray) -> Any:
    """Parse the JSON in a body, and empty the body to save memory."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected JSON in UTF-8, received byte {error.start:,} that is none ({error.reason})."
        ) from None
    body.clear()
    parts = sum(text.count(mark) for mark in "[{,")
    if parts > MAX_PARTS:  # parsed, small parts can take up to 20 times the memory of their text
        raise ValueError(f"Expected a JSON object with inputs and parameters, received JSON with {parts:,} parts.")
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_int=_number, parse_float=_number, parse_constant=_number
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"Expected JSON, received what is none ({error.msg} at character {error.pos:,}).") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"Expected each name once in a JSON object, received {_short(twice)} again.")
    return found


def _number(text: str) -> float:
    if text.lstrip("-").isdigit():
        if len(text) <= 18:
            return int(text)
    elif math.isfinite(value := float(text)):
        return value
    raise ValueError(f"Expected finite numbers, whole ones of at most 18 digits, received {_short(text)}.")


class _Refusal(ValueError):
    """A request that is refused before its body is parsed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Upload(io.RawIOBase):
    """A request's body as it arrives. Ends when its time is up; only time spent waiting for the sender counts."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.connection, self.left = connection, seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.left <= 0:
            return 0
        began = time.monotonic()
        try:
            self.connection.settimeout(min(self.left, 1e6))
            return self.connection.recv_into(buffer)
        except OSError:  # the sender was silent for too long, or is gone
            return 0
        finally:
            self.left -= time.monotonic() - began


class _Room:
    """Memory for the bodies of all requests: `size` bytes shared by all, and as much again for one at a time."""

    def __init__(self, size: int) -> None:
        self.free, self.beyond, self.changed = size, None, threading.Condition()

    def take(self, owner: Any, size: int) -> None:
        """Wait for memory. If incomplete bodies take up all of it, one at a time may go beyond it, so as to finish."""
        with self.changed:
            self.changed.wait_for(lambda: self.free >= size or self.beyond in (None, owner))
            if self.free < size:
                self.beyond = owner
            self.free -= size

    def give(self, owner: Any, size: int) -> None:
        with self.changed:
            self.free += size
            if self.beyond is owner:
                self.beyond = None
            self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    """Serves each connection in a thread, up to a limit; bodies arrive in parallel, videos are processed one by one."""

    request_queue_size = 1024  # so that connections waiting for a thread are not reset

    def __init__(self, handler: EndpointHandler, port: int) -> None:
        self.handler = handler
        self.most = int(handler.limits["MEGABYTES"] * 2**20 * 1.5) + 2**16  # base64, with line breaks
        self.room = _Room(self.most)
        self.threads = threading.BoundedSemaphore(max(1, int(handler.limits["CONNECTIONS"])))
        super().__init__(("", port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.threads.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.threads.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.threads.release()


class _Request(BaseHTTPRequestHandler):
    """One connection, which carries a single request."""

    server: _Server
    default_request_version = "HTTP/1.0"  # so that even unparsable requests get a status line

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.upload = _Upload(self.connection, self.server.handler.limits["UPLOAD_SECONDS"])
        self.rfile = io.BufferedReader(self.upload, PIECE)

    def do_GET(self) -> None:
        self.answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        body, handler = bytearray(), self.server.handler
        result: Any = None
        size = received = 0
        try:
            size = self.announced()
            while received < size:
                piece = min(PIECE, size - received)
                self.server.room.take(self, piece)
                received += piece
                body += self.rfile.read(piece)
                if len(body) < received:
                    seconds = f"{handler.limits['UPLOAD_SECONDS']:,.15g} seconds"
                    raise _Refusal(408, f"Expected {size:,} bytes within {seconds}, received {len(body):,}.")
            with handler.turn:
                result, status = handler(_parse(body)), 200
        except ValueError as error:
            result, status = {"error": str(error)}, getattr(error, "status", 400)
        except Exception as error:
            traceback.print_exc()
            result, status = {"error": f"{type(error).__name__}: {error}"}, 500
        finally:
            self.server.room.give(self, received)
        self.answer(status, result)
        if received < size or not size:
            self.drain()

    def announced(self) -> int:
        """Return the announced length of the body; raise `_Refusal` if there is none or it is too large."""
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths or "Transfer-Encoding" in self.headers:
            raise _Refusal(411, "Expected a body with its Content-Length, received none, or one in chunks.")
        text = lengths[0].strip()
        if len(set(lengths)) > 1 or not (text.isascii() and text.isdecimal()):
            raise _Refusal(
                400, f"Expected the body's number of bytes as Content-Length, received {_short(', '.join(lengths))}."
            )
        digits = text.lstrip("0") or "0"  # int() refuses thousands of digits
        if len(digits) > 15 or int(digits) > self.server.most:
            raise _Refusal(
                413, f"Expected a Content-Length of at most {self.server.most:,} bytes, received {_short(text)}."
            )
        return int(digits)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that this server does not know, always with a 4xx."""
        code = int(code) if code < 500 else 405 if code == 501 else 400
        self.answer(
            code, {"error": f"Expected POST / with JSON or GET /health, received another request: {message or code}."}
        )
        self.drain()

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.close_connection = True
        with suppress(OSError):  # the sender is gone
            self.connection.settimeout(10)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def drain(self) -> None:
        """Keep reading for a while: closing while the sender is still sending would discard the answer."""
        self.upload.left = min(self.upload.left, 5)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read(PIECE):
                pass


def serve(handler: EndpointHandler, port: int) -> ThreadingHTTPServer:
    """Create a server, not yet started: GET /health, and POST / with the platform's JSON; one video at a time."""
    return _Server(handler, port)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        _open_videos(int(sys.argv[2]))
    else:
        serve(EndpointHandler(), int(os.environ.get("PORT", "8000"))).serve_forever()
