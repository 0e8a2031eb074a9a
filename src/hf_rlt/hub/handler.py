# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Handle requests to Hugging Face Inference Endpoints: a video file as base64 in, labels and scores out.

{"inputs": "AAAAIGZ0eXBpc29t...", "parameters": {"top_k": 5, "threshold": 0.1}}  ->  [{"label": "...", "score": 0.9}, ...]

This file lies beside a model's weights and needs nothing but that folder and its requirements.txt.
"""

import base64
import binascii
import importlib
import inspect
import io
import json
import math
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from types import ModuleType
from typing import Any

import av

# Defaults of the limits on a request. The environment's HF_RLT_MAX_MEGABYTES changes the first, and so on.
LIMITS = {
    "MEGABYTES": 64.0,  # of the file, in MiB
    "SECONDS": 600.0,  # from the first to the last frame
    "FRAMES": 18_000.0,  # as counted in the file, whatever its header says
    "PIXELS": 3840.0 * 2160.0,  # of any frame
    "TOTAL_PIXELS": 1e10,  # of all frames that are decoded to reach the clip
    "DECODING_SECONDS": 6.0,  # for opening and decoding the video, without the model
}
# Accepted container formats, the ones that videos come in: each demuxer is code that an upload could attack.
CONTAINERS = "mov matroska avi mpegts mpeg ogg gif flv asf mxf ivf obu h264 hevc m4v mpegvideo"
MAX_ASPECT = 16  # a thin frame would become huge when its shorter side is resized
READING_ERRORS = (ValueError, OSError, MemoryError, av.error.FFmpegError)


class EndpointHandler:
    """Classifies one video per call, and refuses videos that exceed its limits.

    Args:
        path: the model's folder; if empty, the folder of this file.

    Raises:
        ImportError: if transformers is too old for the model.
    """

    def __init__(self, path: str = "") -> None:
        from transformers.utils.versions import require_version

        require_version("transformers>=5.18", "requirements.txt beside handler.py says what the model needs.")
        import torch  # not at the top: the process that opens videos does not need it
        from transformers import AutoModelForVideoClassification, AutoVideoProcessor

        folder = path or str(Path(__file__).resolve().parent)
        self.limits = self.read_limits()
        self.turn = threading.Lock()  # one video at a time, so that the limits bound the total memory and time
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True).to(device).eval()
        self.processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
        self.processor.num_frames = self.model.config.num_frames
        self.opener = _Opener(Path(inspect.getfile(type(self.processor))).parent, self.limits)

    @staticmethod
    def read_limits() -> dict[str, float]:
        """Return the limits by the names in LIMITS, from the environment or else the defaults."""
        limits = dict(LIMITS)
        for name in LIMITS:
            text = os.environ.get(f"HF_RLT_MAX_{name}", str(LIMITS[name]))
            limits[name] = min(_as_number(text, float), 1e15)  # timers do not accept infinity
            if not limits[name] > 0:  # catches NaN, too
                raise ValueError(f"HF_RLT_MAX_{name}: expected a number above 0, received {text!r}.")
        return limits

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Return `[{"label": str, "score": float}, ...]`, highest score first.

        Args:
            data: "inputs", the base64 of a video file (line breaks and a data URL's prefix are allowed), and optionally
                "parameters": `top_k`, the number of labels (5), and `threshold`, a number or "none".

        Raises:
            ValueError: with one sentence, which the platform returns with status 400.
        """
        if not isinstance(data, dict):
            raise ValueError(f"Expected a JSON object with inputs, received {short(data)}.")
        top_k, changes = _parameters(data.get("parameters"))
        with self.turn:
            return self._scores(self._decode(self._file(data.get("inputs"))), top_k, changes)

    def _file(self, text: Any) -> bytes:
        """Return the bytes of the file in a request; raise ValueError before decoding them if there are too many."""
        if not isinstance(text, str) or not text:
            raise ValueError(f"inputs: expected a string with the base64 of a video file, received {short(text)}.")
        if text[:5].lower() == "data:":
            text = text.partition(",")[2]
        try:
            coded = "".join(text.split()).encode("ascii")
            _compare(self.limits, "MEGABYTES", len(coded) * 3 / 4 / 2**20, "inputs: the file holds {} MiB")
            return base64.b64decode(coded, validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise ValueError(f"inputs: expected the base64 of a file, received {short(text)} ({error}).") from error

    def _decode(self, video: bytes) -> Any:
        upload, most = _Upload(video, self.limits), decoder_pixels(self.limits)
        try:
            self.opener.check(video)
            return self.processor.decode(upload, resized=True, max_pixels=most, on_frame=upload.count)
        except READING_ERRORS as error:
            text = " ".join(str(error).removeprefix("inputs: ").split()) or type(error).__name__
            raise ValueError(f"inputs: {text}") from error

    def _scores(self, frames: Any, top_k: int, changes: dict[str, Any]) -> list[dict[str, Any]]:
        import torch

        pixels = self.processor.pixels(frames, do_resize=False)
        run_lengths = replace(self.processor.run_rule, **changes).find(pixels).to(self.model.device)
        with torch.inference_mode():
            logits = self.model(pixels.to(self.model.device, self.model.dtype), run_lengths=run_lengths).logits[0]
        scores, labels = logits.float().softmax(-1).topk(min(top_k, len(logits)))
        names = self.model.config.id2label
        return [{"label": names[k], "score": s} for s, k in zip(scores.tolist(), labels.tolist(), strict=True)]


class _Upload(io.BytesIO):
    """A video that may be read until it has taken too much time or too many pixels."""

    name = "inputs"  # its name in error messages

    def __init__(self, video: bytes, limits: dict[str, float]) -> None:
        super().__init__(video)
        self.limits, self.began, self.pixels = limits, time.monotonic(), 0

    def read(self, size: int | None = -1) -> bytes:
        """Read a small piece, to look at the clock often: a decoder may read a whole file without any frame."""
        self._check_time()
        return super().read(size and min(size, 4096))

    def count(self, frame: Any) -> None:
        """Count a decoded frame, which may be larger than the first one."""
        self._check_time()
        _check_size(self.limits, frame.width, frame.height)
        self.pixels += frame.width * frame.height
        _compare(self.limits, "TOTAL_PIXELS", self.pixels, "the video's frames up to its clip have at least {} pixels")

    def _check_time(self) -> None:
        seconds = time.monotonic() - self.began
        _compare(self.limits, "DECODING_SECONDS", seconds, "reading the video takes at least {} seconds")


class _Opener:
    """A process that opens each video first: FFmpeg trusts headers, and 2 kB can make it take 5 GB and 9 s."""

    def __init__(self, reader: Path, limits: dict[str, float]) -> None:
        self.seconds = limits["DECODING_SECONDS"]
        self.memory = math.ceil(128 + limits["MEGABYTES"] + limits["PIXELS"] * 24 / 2**20)  # 16 frames, 12 bits a pixel
        self.arguments = [str(reader), str(self.memory), json.dumps({**limits, "DECODING_SECONDS": math.inf})]
        self.process: Any = None

    def check(self, video: bytes) -> None:
        """Raise ValueError as `check_limits` does, or if opening the video exceeds the limits of memory or time."""
        if self.process is None or self.process.poll() is not None:
            command, pipe = [sys.executable, str(Path(__file__).resolve()), *self.arguments], subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
        answer, process = b"", self.process
        timer = threading.Timer(min(self.seconds, threading.TIMEOUT_MAX), process.kill)
        timer.start()
        with suppress(OSError):  # the process has ended
            process.stdin.write(len(video).to_bytes(8, "big") + video)
            process.stdin.flush()
            answer = process.stdout.readline()
        timer.cancel()
        if not answer:
            process.kill()
            process.communicate()
            raise ValueError(
                f"the video could not be opened within {self.seconds:,.15g} seconds and {self.memory} MiB: re-encode it, "
                "or raise HF_RLT_MAX_DECODING_SECONDS."
            )
        if message := json.loads(answer):
            raise ValueError(message)


def _open_videos(folder: str, megabytes: str, limits: str) -> None:
    """Answer each video on standard input with a line: what is wrong with it, or an empty string."""
    package = sys.modules["carried"] = ModuleType("carried")
    package.__path__ = [folder]  # of the model's code, whose `__init__`, if any, would import torch
    reader, maxima = importlib.import_module("carried.video_stream"), json.loads(limits)
    threading.Thread(target=_end_beyond, args=(_memory() + int(megabytes) * 2**20,), daemon=True).start()
    while head := sys.stdin.buffer.read(8):
        upload, answer = _Upload(sys.stdin.buffer.read(int.from_bytes(head, "big")), maxima), ""
        try:
            with reader.open_stream(upload, reader.Limits(decoder_pixels(maxima))) as (container, stream):
                check_limits(container, stream, len(upload.getbuffer()), maxima)
        except READING_ERRORS as error:
            answer = str(error) or type(error).__name__
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _end_beyond(most: int) -> None:
    """End this process once it has more memory. A system limit would not do: FFmpeg may survive a failed allocation."""
    while _memory() <= most:
        time.sleep(0.005)
    os._exit(1)


def _memory() -> int:
    """Return how many bytes this process has allocated, written to or not; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def check_limits(container: Any, stream: Any, size: int, limits: dict[str, float]) -> None:
    """Raise ValueError if an open video of `size` bytes exceeds the limits by its headers or packets; decode nothing."""
    form = container.format.name
    if form.split(",")[0] not in CONTAINERS.split():
        raise ValueError(f"expected a video file (mp4, mov, webm, mkv, avi, gif, ...), received the format {form}.")
    ratio = float(stream.sample_aspect_ratio or 1)  # the reader widens frames by this
    pixels = stream.height * round(stream.width * (ratio if 1 / 8 <= ratio <= 8 else 1))
    if not pixels:  # probing was not allowed to decode a frame
        raise ValueError(f"a frame has no known size, or more than the limit of {limits['PIXELS']:,.15g} pixels.")
    _check_size(limits, stream.width, stream.height, pixels)
    frames, total, first, last = 0, 0, math.inf, -math.inf
    rate = stream.average_rate or stream.guessed_rate or 25
    with suppress(av.error.FFmpegError, IndexError):  # damaged from here on
        for packet in container.demux(stream):
            if not packet.size and packet.dts is None:
                continue  # the end of the stream, not a skipped frame
            when = float(frames / rate if packet.pts is None else packet.pts * packet.time_base)
            frames, total, first, last = frames + 1, total + packet.size, min(first, when), max(last, when)
            _compare(limits, "FRAMES", frames, "the video has at least {} frames")
            _compare(limits, "SECONDS", last - first, "the video lasts at least {} seconds")
            if total > 2 * size + 2**16:  # frames that share the same bytes cost their sender nothing
                raise ValueError(f"the file has {size:,} bytes, its frames have more than {total:,}: re-encode it.")


def decoder_pixels(limits: dict[str, float]) -> int:
    """Return the limit for FFmpeg, which also counts decoders' padding, up to 256 pixels per side."""
    return int(limits["PIXELS"] + 256 * (MAX_ASPECT**0.5 + MAX_ASPECT**-0.5) * limits["PIXELS"] ** 0.5 + 256**2)


def _check_size(limits: dict[str, float], width: int, height: int, pixels: int = 0) -> None:
    _compare(limits, "PIXELS", pixels or width * height, f"a frame of {width} x {height} has {{}} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(f"expected frames at most {MAX_ASPECT} times as long as wide, received {width} x {height}.")


def _compare(limits: dict[str, float], name: str, value: float, sentence: str) -> None:
    if value > limits[name]:
        found = sentence.format(f"{value:,.0f}" if value >= 1000 else f"{value:.4g}")
        raise ValueError(f"{found}, the limit is {limits[name]:,.15g}: send less, or raise HF_RLT_MAX_{name}.")


def _parameters(given: Any) -> tuple[int, dict[str, Any]]:
    """Return `top_k`, and the threshold if there is one, of a request's parameters."""
    given = {} if given is None else given
    if not isinstance(given, dict) or set(given) - {"top_k", "threshold"}:
        raise ValueError(f"parameters: expected an object with top_k and threshold, received {short(given)}.")
    top_k = 5 if given.get("top_k") is None else _as_number(given["top_k"], int)
    dense = str(given.get("threshold", "none")).lower() == "none"
    threshold = None if dense else _as_number(given["threshold"], float)
    if not top_k >= 1 or not (threshold is None or 0 <= threshold < math.inf):
        expected = "top_k to be an integer above 0, threshold a number from 0 or none"
        raise ValueError(f"parameters: expected {expected}, received {short(given)}.")
    return int(top_k), {"threshold": threshold} if "threshold" in given else {}


def _as_number(given: Any, kind: type) -> float:
    """Return a number, which may be given as a string, as in a query; NaN for anything else."""
    try:
        return kind(str(given)) if isinstance(given, (int, float, str)) else math.nan
    except ValueError:
        return math.nan


if __name__ == "__main__":
    _open_videos(*sys.argv[1:])
