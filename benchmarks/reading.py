# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Reading clips out of video files: ours beside transformers with PyAV, torchcodec and decord2.

Each measurement opens the file anew, as when it is read once. Readers take turns, so that what else the machine does falls
on all of them; those that are not installed are left out by name.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import av
import numpy as np
import typer

from hf_rlt.errors import one_line
from hf_rlt.models.sampling import strided_indices
from hf_rlt.models.video_reader import VideoIndex, index_video, read_frames

from .common.options import OUTPUT, FrameStride, Output, Repeats
from .common.record import Column, Row, column, report, save, say, table

OURS, KNOWN, TRANSFORMERS = "hf_rlt", "hf_rlt, index known", "transformers, PyAV"
TORCHCODEC: dict[str, dict[str, Any]] = {
    "torchcodec": {},
    "torchcodec, all threads": {"num_ffmpeg_threads": 0},
    "torchcodec, approximate": {"seek_mode": "approximate"},
}
DECORD = "decord2"
CLIPS = [1, 5]
READERS = (OURS, KNOWN, TRANSFORMERS, *TORCHCODEC, DECORD)

Read = Callable[[str, np.ndarray], np.ndarray]
"""From a path and ascending frame indices, without repeats, to `(frames, H, W, 3)` uint8."""


def readers() -> tuple[dict[str, Read], list[str]]:
    """Find the readers by name, each with its own defaults, and the names of those that are not installed."""
    found: dict[str, Read] = {OURS: _ours, TRANSFORMERS: _transformers}
    absent: list[str] = []
    try:
        from torchcodec.decoders import VideoDecoder

        found.update({name: _torchcodec(VideoDecoder, options) for name, options in TORCHCODEC.items()})
    except (ImportError, OSError, RuntimeError):  # without a fitting FFmpeg it cannot be imported either
        absent += TORCHCODEC
    try:
        import decord

        found[DECORD] = lambda path, indices: decord.VideoReader(path).get_batch(indices).asnumpy()
    except (ImportError, OSError):
        absent.append(DECORD)
    return found, absent


def _ours(path: str, indices: np.ndarray, index: VideoIndex | None = None) -> np.ndarray:
    return read_frames(path, indices, index=index, use_cache=False)


def _transformers(path: str, indices: np.ndarray) -> np.ndarray:
    from transformers.video_utils import load_video

    return load_video(path, backend="pyav", sample_indices_fn=lambda metadata, **_: indices)[0]


def _torchcodec(decoder: Any, options: dict[str, Any]) -> Read:
    def read(path: str, indices: np.ndarray) -> np.ndarray:
        return decoder(path, dimension_order="NHWC", **options).get_frames_at(indices.tolist()).data.numpy()

    return read


def reading(
    files: Annotated[list[Path], typer.Argument(help="Videos.")],
    clips: Annotated[list[int], typer.Option(help="Clips of each video. May be repeated.", min=1)] = CLIPS,
    num_frames: Annotated[int, typer.Option(help="Frames per clip.", min=1)] = 16,
    frame_stride: FrameStride = 4,
    repeats: Repeats = 5,
    output: Output = OUTPUT,
) -> None:
    """Time from file to frames, beside transformers with PyAV, torchcodec and decord2 where installed."""
    found, absent = readers()
    rows = []
    for file in files:
        index = index_video(file, use_cache=False)
        about = _about(file, index)
        for count in clips:
            say(f"{about['file']}: {count} x {num_frames} frames")
            places = [0.5] if count == 1 else np.linspace(0, 1, count).tolist()
            chosen = [strided_indices(index.num_frames, num_frames, frame_stride, place) for place in places]
            wanted = np.unique(np.concatenate(chosen))
            turns: dict[str, Read] = {OURS: _ours, KNOWN: partial(_ours, index=index), **found}
            measured = _compare(turns, str(file), wanted, repeats)
            rows.append({**about, "clips": count, "frames_read": len(wanted), "readers": measured})
    settings = {"num_frames": num_frames, "frame_stride": frame_stride, "rounds": repeats}
    report(save(output, "reading", rows, {**settings, "absent": absent}))


def _about(file: Path, index: VideoIndex) -> dict[str, Any]:
    with av.open(str(file), metadata_errors="replace") as container:
        codec = container.streams.video[0].codec_context.name
    keys = None if index._keys is None else len(index._keys)
    about = {"file": file.name, "codec": codec, "height": index.height, "width": index.width, "fps": index.fps}
    return {**about, "frames": index.num_frames, "keyframes": keys}


def _compare(turns: dict[str, Read], path: str, wanted: np.ndarray, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure each reader; the first round compares its frames with ours instead, see `_difference`."""
    ours = _ours(path, wanted)
    measured: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in turns}
    for turn in range(rounds + 1):
        # In another order each round: what one leaves behind, such as memory to use again, does not favour the next.
        for name, read in random.Random(turn).sample(list(turns.items()), len(turns)):
            if "problem" in measured[name]:
                continue
            start = time.perf_counter()
            try:
                frames = read(path, wanted)
            except Exception as error:  # a reader of somebody else's may fail in its own ways, now and then: a result
                measured[name] = {"problem": one_line(error), "round": turn}
                continue
            if turn:
                measured[name]["seconds"].append(time.perf_counter() - start)
            else:
                measured[name].update(_difference(ours, frames))
    return measured


def _difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Return the share of frames that are `equal` bit for bit and the largest `difference` in grey levels."""
    if ours.shape != theirs.shape:
        return {"shape": list(theirs.shape)}
    largest = [int(np.abs(a.astype(np.int16) - b).max()) for a, b in zip(ours, theirs, strict=True)]
    return {"equal": largest.count(0) / len(largest), "difference": max(largest)}


def milliseconds(row: Row, name: str) -> float | None:
    """Return the median of a reader's rounds; None if it read nothing."""
    seconds = row["readers"].get(name, {}).get("seconds")
    return 1000 * median(seconds) if seconds else None


def markdown(record: Row) -> str:
    """Make the tables: milliseconds, and how far the frames of the other readers are from ours."""
    rows, settings = record["rows"], record["settings"]
    clip, absent = f"{settings['num_frames']} frames, {settings['frame_stride']} apart", settings["absent"]
    text = table(rows, _columns())
    text += f"\nMilliseconds from the path to the frames, medians of {settings['rounds']}; each clip {clip}. "
    text += f"Not installed: {', '.join(absent)}.\n" if absent else "\n"
    text += "\nTheir frames against ours: share that is the same bit for bit, largest difference in grey levels.\n\n"
    others = [Column(name, partial(_cell, name)) for name in READERS[2:]]
    return text + table(rows, [column("file", "file"), column("clips", "clips"), *others])


def _columns() -> list[Column]:
    def time_of(name: str) -> Column:
        return Column(name, lambda row: "" if (ms := milliseconds(row, name)) is None else f"{ms:.0f}")

    def gain(row: Row) -> str:
        ours, theirs = milliseconds(row, OURS), milliseconds(row, TRANSFORMERS)
        return f"{theirs / ours:.1f} x" if ours and theirs else ""

    size = Column("size", lambda row: f"{row['width']} x {row['height']}")
    about = [column("file", "file"), column("codec", "codec"), size, column("FPS", "fps", "{:.0f}")]
    about += [column(name, name) for name in ("frames", "keyframes", "clips")]
    return [*about, *map(time_of, READERS), Column("over transformers", gain)]


def _cell(name: str, row: Row) -> str:
    measured = row["readers"].get(name)
    if measured is None or "equal" not in measured:
        return "" if measured is None else "fails" if "problem" in measured else "other size"
    return f"{100 * measured['equal']:.0f} %, {measured['difference']}"
