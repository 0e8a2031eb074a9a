# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What Hugging Face Inference Endpoints runs: a video file as base64 in, labels and scores out.

{"inputs": "AAAAIGZ0eXBpc29t...", "parameters": {"top_k": 5, "threshold": 0.1}}  ->  [{"label": "...", "score": 0.9}, ...]

Stands beside a model's weights and needs nothing but that folder and its requirements.txt. `python handler.py` answers the
same requests without the platform's server, for a container of your own (port 8000, or the environment's PORT).
"""

import base64
import io
import json
import math
import os
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import av
import torch

# What a video may be packed in. None of them can name another file or address, as playlists do.
CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,ogg,gif,flv,asf,mxf,ivf,obu,h264,hevc,m4v,mpegvideo"
LIMITS = ("MEGABYTES", "SECONDS", "FRAMES", "PIXELS")


class EndpointHandler:
    """Classifies one video per call; refuses, before it decodes pictures, what is larger than its limits.

    Attributes:
        MAX_MEGABYTES: size of the file in MiB. The environment's HF_RLT_MAX_MEGABYTES replaces it, and so for the others.
        MAX_SECONDS: from the first to the last frame.
        MAX_FRAMES: as counted in the file, whatever its header says.
        MAX_PIXELS: of one frame, as the file's start has it.

    Args:
        path: the model's folder; that of this file if empty.

    Raises:
        ImportError: if transformers is too old for the model.
        ValueError: if a limit in the environment is not a number above 0.
    """

    MAX_MEGABYTES = 64.0
    MAX_SECONDS = 600.0
    MAX_FRAMES = 18_000.0
    MAX_PIXELS = 3840.0 * 2160.0

    def __init__(self, path: str = "") -> None:
        from transformers.utils.versions import require_version

        require_version("transformers>=5.18", "requirements.txt beside handler.py says what the model needs.")
        from transformers import AutoModelForVideoClassification, AutoVideoProcessor

        folder = path or str(Path(__file__).resolve().parent)
        self.limits = self.read_limits()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
        self.model = AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True).to(device).eval()

    @classmethod
    def read_limits(cls) -> dict[str, float]:
        """Returns the limits by the names in LIMITS, the class's own or the environment's."""
        return {name: _limit(name, getattr(cls, f"MAX_{name}")) for name in LIMITS}

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns `[{"label": str, "score": float}, ...]`, the best first.

        Args:
            data: "inputs", the base64 of a video file (a data URL's prefix and line breaks are tolerated), and optionally
                "parameters": `top_k`, how many labels (5), and `threshold`, a number or "none", instead of the model's.

        Raises:
            ValueError: one sentence with what was expected and received. The platform answers with it and status 400.
        """
        settings = _parameters(data.get("parameters"))
        video = self._file(data.get("inputs"))
        try:
            check_limits(io.BytesIO(video), self.limits)
        except ValueError as error:
            raise ValueError(f"inputs: {error}") from error
        top_k = min(settings.pop("top_k"), self.model.config.num_labels)
        try:
            inputs = self.processor(
                video, num_frames=self.model.config.num_frames, do_sample_frames=True, return_tensors="pt", **settings
            )
        except (ValueError, OSError) as error:
            raise ValueError(f"inputs: {str(error).removeprefix('<bytes>: ')}") from error
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.model.device, self.model.dtype)).logits[0]
        scores, labels = logits.float().softmax(-1).topk(top_k)
        names = self.model.config.id2label
        return [{"label": names[k], "score": s} for s, k in zip(scores.tolist(), labels.tolist(), strict=True)]

    def _file(self, text: Any) -> bytes:
        """Returns the bytes of the file in a request; raises before decoding if there are too many."""
        if not isinstance(text, str) or not text:
            found = "an empty one" if text == "" else "nothing" if text is None else f"type {type(text).__name__}"
            raise ValueError(f"inputs: expected a string with the base64 of a video file, received {found}.")
        if text[:5].lower() == "data:":
            prefix, _, text = text.partition(",")
            if not prefix[-7:].lower() == ";base64":
                raise ValueError(f"inputs: expected a data URL with ;base64, received {_short(prefix)}.")
        text = "".join(text.split())
        _compare(self.limits, "MEGABYTES", len(text) * 3 / 4 / 2**20, "inputs: the file holds {} MiB")
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise ValueError(
                f"inputs: expected the base64 of a video file, received {_short(text)} ({error}): send the file itself, "
                "addresses are not fetched."
            ) from error


def check_limits(video: BinaryIO, limits: Mapping[str, float]) -> None:
    """Returns nothing; raises unless a video keeps to the limits. Reads its packets and decodes none of them.

    Args:
        video: the file.
        limits: see `EndpointHandler.read_limits`; MEGABYTES is not compared.

    Raises:
        ValueError: with what the video has, and the limit; or if it is none that can be opened.
    """
    options = {
        "format_whitelist": CONTAINERS,
        "protocol_whitelist": "none",
        "max_pixels": str(int(limits["PIXELS"])),  # or probing could decode a picture of any size
    }
    try:
        container = av.open(video, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:  # the last of seeking in less than it hoped for
        raise ValueError(
            "expected a video file (mp4, mov, webm, mkv, avi, gif, ...), received "
            f"{video.seek(0, io.SEEK_END):,} bytes that cannot be opened as one."
        ) from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover]
        if not streams:
            raise ValueError("expected a video, received a file without a video stream that can be decoded.")
        for stream in streams:
            ratio = float(stream.sample_aspect_ratio or 1)  # the reader widens by it
            pixels = stream.height * round(stream.width * (ratio if 1 / 8 <= ratio <= 8 else 1))
            if not pixels:  # probing was not allowed to decode one
                limit = f"the limit of {limits['PIXELS']:,.15g} pixels"
                raise ValueError(f"the video's frames have no known size, or more than {limit}.")
            _compare(limits, "PIXELS", pixels, f"a frame of {stream.width} x {stream.height} has {{}} pixels")
        _count(container, streams, limits)


def _count(container: Any, streams: list[Any], limits: Mapping[str, float]) -> None:
    seen = {stream.index: (0, math.inf, -math.inf) for stream in streams}
    try:
        for packet in container.demux(streams):
            if not packet.size:
                continue
            frames, first, last = seen[packet.stream.index]
            rate = packet.stream.average_rate or packet.stream.guessed_rate or 25
            time = float(frames / rate if packet.pts is None else packet.pts * packet.time_base)
            frames, first, last = seen[packet.stream.index] = (frames + 1, min(first, time), max(last, time))
            _compare(limits, "FRAMES", frames, "the video has at least {} frames")
            _compare(limits, "SECONDS", last - first, "the video lasts at least {} seconds")
    except av.error.FFmpegError:
        pass  # damaged from here on: the processor reads no further either


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
    if not value > 0:
        raise ValueError(f"HF_RLT_MAX_{name}: expected a number above 0, received {text!r}.")
    return value


def _parameters(given: Any) -> dict[str, Any]:
    """Returns `top_k`, and `threshold` if one is given."""
    given = {} if given is None else given
    if not isinstance(given, dict) or set(given) - {"top_k", "threshold"}:
        raise ValueError(f"parameters: expected an object with top_k and threshold, received {_short(given)}.")
    top_k, settings = given.get("top_k"), {}
    try:  # a request's query gives words, not numbers
        top_k = 5 if top_k is None else int(str(top_k))
    except ValueError:
        top_k = 0
    if top_k < 1:
        raise ValueError(f"parameters: expected top_k to be an integer above 0, received {_short(given['top_k'])}.")
    if "threshold" in given:
        settings["threshold"] = _threshold(given["threshold"])
    return {"top_k": top_k, **settings}


def _threshold(given: Any) -> float | None:
    if given is None or str(given).lower() == "none":
        return None
    try:
        value = float(str(given))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"parameters: expected threshold to be a number from 0 or none, received {_short(given)}.")
    return value


def _short(value: Any) -> str:
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def serve(handler: EndpointHandler, port: int) -> ThreadingHTTPServer:
    """Returns a server that is not yet started: GET /health, and POST / with JSON as the platform's; one video at a time."""
    most: int = int(handler.limits["MEGABYTES"] * 2**20 * 1.5) + 2**16
    turn = threading.Lock()

    class Request(BaseHTTPRequestHandler):
        timeout = 60  # seconds a sender may be silent

        def do_GET(self) -> None:
            self.answer(200, {"status": "ok"})

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            if not size.isdecimal() or int(size) > most:
                self.close_connection = True
                received = f"received {size or 'none'}"
                self.answer(413, {"error": f"Expected a Content-Length of at most {most:,} bytes, {received}."})
                return
            try:
                data = json.loads(self.rfile.read(int(size)))
                if not isinstance(data, dict):
                    raise ValueError(f"Expected a JSON object with inputs, received a {type(data).__name__}.")
                with turn:
                    result: Any = handler(data)
                status = 200
            except Exception as error:
                result, status = {"error": str(error)}, 400 if isinstance(error, ValueError) else 500
            self.answer(status, result)

        def answer(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer(("", port), Request)


if __name__ == "__main__":
    serve(EndpointHandler(), int(os.environ.get("PORT", "8000"))).serve_forever()
