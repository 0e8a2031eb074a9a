# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The processor's pixels are the base class's bit for bit, and cost one copy: bytes are counted, nothing is timed."""

import math
import struct
import tracemalloc
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.op_counts import OpCounts
from helpers.paths import REAL
from helpers.stock_processor import StockProcessor
from helpers.videos import write_video
from hf_rlt import RLTVideoProcessor

WEBCAM = REAL / "webcam_face_vfr_vp8.webm"
FRAMES = 4
COPIES = ("copy_", "clone", "_to_copy", "stack", "cat", "contiguous", "index", "index_select")
SETTINGS = {
    "plain": {},
    "upsampled": {"size": {"shortest_edge": 300}, "crop_size": {"height": 280, "width": 300}},
    "bicubic": {"resample": 3, "size": {"height": 80, "width": 90}, "do_center_crop": False},
    "nearest": {"resample": 0},
    "padded by the crop": {"size": {"shortest_edge": 32}, "crop_size": {"height": 64, "width": 48}},
    "not resized": {"do_resize": False, "crop_size": {"height": 48, "width": 32}},
    "not rescaled": {"do_rescale": False},
    "not normalised": {"do_normalize": False},
    "bytes left as they are": {"do_rescale": False, "do_normalize": False},
}


def both(**changes) -> tuple[RLTVideoProcessor, StockProcessor]:
    sizes = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}, **changes}
    return RLTVideoProcessor(patch_size=16, **sizes), StockProcessor(**sizes)


def shapes(layout: str, dtype=np.uint8) -> list[np.ndarray]:
    """Draw pictures of a moving gradient with some noise, of two sizes."""
    rng, videos = np.random.default_rng(0), []
    for height, width in ((90, 120), (70, 64), (90, 120)):
        grid = np.add.outer(np.arange(height), np.arange(width))[None, :, :, None]
        moving = grid + 3 * np.arange(FRAMES)[:, None, None, None] + rng.integers(0, 30, (FRAMES, height, width, 3))
        video = (moving % 256).astype(dtype)
        videos.append(video if layout == "last" else np.ascontiguousarray(video.transpose(0, 3, 1, 2)))
    return videos


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(
    ("kind", "layout"), [*product(("arrays", "tensors", "floats"), ("last", "first")), ("pictures", "last")]
)
def test_pixels_are_those_of_the_base_class(changes, layout, kind):
    videos = shapes(layout, np.float32 if kind == "floats" else np.uint8)
    if kind == "tensors":
        videos = [torch.from_numpy(video) for video in videos]
    if kind == "pictures":
        videos = [[Image.fromarray(frame) for frame in video] for video in videos]
    ours, literal = both(**changes)
    for video in videos:  # one by one: the base class cannot take several layouts, nor every mixture of sizes
        wanted = literal(video, return_tensors="pt")["pixel_values_videos"]
        received = ours(video, return_tensors="pt")["pixel_values"]
        assert received.dtype == wanted.dtype
        assert received.is_contiguous()
        assert torch.equal(received, wanted)
    together = ours(videos)["pixel_values"]
    assert all(
        torch.equal(clip, literal(video, return_tensors="pt")["pixel_values_videos"][0])
        for clip, video in zip(together, videos, strict=True)
    )


def test_what_was_given_is_left_as_it_was():
    ours, _ = both(do_resize=False, do_center_crop=False, do_rescale=False, do_normalize=False)
    video = shapes("last")[0]
    before = video.copy()
    out = ours([video], return_tensors="pt", threshold=None, patch_size=10)["pixel_values"]
    out += 1
    np.testing.assert_array_equal(video, before)


@pytest.mark.skipif(not WEBCAM.exists(), reason=f"needs {WEBCAM.name}")
def test_pixels_are_resized_from_the_reader_s_bytes_and_copied_once():
    processor = RLTVideoProcessor(num_frames=16)
    clips = list(processor.decode(WEBCAM, [0, 0.5, 1]))
    with OpCounts() as ops:
        out = processor(clips, return_tensors="pt", input_data_format="channels_last")
    pixels = out["pixel_values"].nbytes
    resized = 3 * math.prod((16, 3, 224, 298))
    moved = {name: count for name, count in ops.written.items() if name in COPIES}
    assert ops.written["_upsample_bilinear2d_aa"] == resized
    # Pixels into the batch; what find_runs compares, the last frame of each tubelet but the first, once more.
    assert moved.pop("copy_") == pixels
    assert moved.pop("_to_copy") == pixels * 7 // 16
    assert sum(moved.values()) < 2 * out["run_lengths"].nbytes


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("turned", [False, True], ids=["upright", "turned"])
def test_a_file_gives_the_pixels_of_its_frames(changes, turned, tmp_path):
    processor, _ = both(**changes)
    path = write_video(tmp_path / "a.mp4", shapes("last")[0].repeat(8, 0))
    if turned:
        path = rotated(path)
    frames = processor.decode(path)[0]
    assert (frames.shape[1] > frames.shape[2]) is turned
    wanted = processor(frames, return_tensors="pt")
    received = processor(str(path), return_tensors="pt")
    assert torch.equal(received["pixel_values"], wanted["pixel_values"])
    assert torch.equal(received["run_lengths"], wanted["run_lengths"])
    resized = processor.decode(path, [0.5], resized=True)
    again = processor(resized[0], do_resize=False, return_tensors="pt", input_data_format="channels_last")
    assert torch.equal(again["pixel_values"], wanted["pixel_values"])


def rotated(path: Path) -> Path:
    """Make a copy that players turn by 90 degrees, which its frames then are when they are read."""
    out = path.with_name("turned.mp4")
    with av.open(str(path)) as source, av.open(str(out), "w") as sink:
        old = source.streams.video[0]
        new = sink.add_stream_from_template(old)
        for packet in source.demux(old):
            if packet.dts is not None:
                packet.stream = new
                sink.mux(packet)
    content = bytearray(out.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # the matrix of a version 0 track header, 36 bytes of 16.16 fixed numbers
    one = 1 << 16
    content[place : place + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    out.write_bytes(content)
    return out


def test_a_clip_is_never_in_memory_in_its_own_size(tmp_path):
    path = write_video(tmp_path / "large.mp4", np.zeros((64, 480, 640, 3), np.uint8))
    processor = RLTVideoProcessor(num_frames=16)
    processor(str(path), return_tensors="pt")  # what is loaded at the first use does not count
    tracemalloc.start()
    processor(str(path), return_tensors="pt")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    frame = 480 * 640 * 3
    assert 16 * 224 * 298 * 3 <= peak < 16 * 224 * 298 * 3 + 4 * frame
