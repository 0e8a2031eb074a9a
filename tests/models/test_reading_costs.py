# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What reading costs, counted: files opened, packets and bytes read, frames decoded; and when an index is cached."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.videos import number, write
from hf_rlt import RLTVideoProcessor
from hf_rlt.models import video_index, video_reader, video_stream
from hf_rlt.models.sampling import strided_indices
from hf_rlt.models.video_reader import VideoReader, index_video, read_frames


class Watched:
    """A container that counts what is read from it."""

    def __init__(self, container, counts):
        self._container, self._counts = container, counts

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self, stream):
        for packet in self._container.demux(stream):
            self._counts.packets += packet.size > 0
            yield packet

    def seek(self, *args, **kwargs):
        self._counts.seeks += 1
        return self._container.seek(*args, **kwargs)


@pytest.fixture
def counts(monkeypatch):
    found = SimpleNamespace(opened=0, packets=0, seeks=0, frames=0)
    open_stream, decode = video_reader.open_stream, video_reader.decode

    @contextmanager
    def counting_open(*args):
        found.opened += 1
        with open_stream(*args) as (container, stream):
            yield Watched(container, found), stream

    def counting_decode(*args, **kwargs):
        for item in decode(*args, **kwargs):
            found.frames += 1
            yield item

    monkeypatch.setattr(video_reader, "open_stream", counting_open)
    monkeypatch.setattr(video_reader, "decode", counting_decode)
    return found


@pytest.fixture
def settled(monkeypatch):
    """An empty cache, which also keeps indices of files that were just written."""
    monkeypatch.setattr(video_reader, "cache", type(video_index.cache)())
    monkeypatch.setattr(video_index, "_SETTLED", 0)


@pytest.fixture(scope="module", params=["a.mp4", "a.mkv", "a.ts"])
def clip(request, tmp_path_factory):
    """240 frames with a keyframe each 12."""
    return write(tmp_path_factory.mktemp("costs") / request.param, 240)


def test_an_index_reads_each_packet_once(clip, counts):
    index = index_video(clip)
    assert index.num_frames == 240
    assert (counts.opened, counts.packets, counts.frames, counts.seeks) == (1, 240, 0, 0)
    assert index.pts.nbytes + index._keys.nbytes <= 16 * 240


def test_frames_decoded_for_a_clip(clip, counts):
    wanted = strided_indices(240, 16, 4)
    with VideoReader(clip) as reader:
        _, before = reader.index, counts.packets
        frames = reader.read(wanted)
    assert [number(frame) for frame in frames] == wanted.tolist()
    assert counts.opened == 1
    assert counts.frames <= wanted[-1] - wanted[0] + 1 + 12
    assert counts.packets - before <= wanted[-1] - wanted[0] + 1 + 2 * 12 + 4
    assert counts.seeks <= (2 if clip.suffix == ".ts" else 1)  # which seeks by decoding time


def test_frames_decoded_for_several_clips(clip, counts):
    clips = [strided_indices(240, 16, 4, position) for position in (0, 0.25, 0.5, 0.75, 1)]
    read_frames(clip, np.concatenate(clips))
    assert counts.opened == (2 if clip.suffix == ".ts" else 1)  # which gets back to its start no other way
    assert counts.frames <= 240  # clips overlap; no frame is decoded twice
    counts.frames = 0
    read_frames(clip, [3, 100, 230])
    assert counts.frames <= 3 * 12 + 8


def test_a_known_index_costs_nothing(clip, counts):
    index = index_video(clip)
    counts.packets = counts.opened = 0
    read_frames(clip, [0], index=index)
    assert (counts.opened, counts.seeks) == (1, 0)
    assert counts.packets <= 6


def test_the_processor_opens_a_file_once(tmp_path, counts):
    path = write(tmp_path / "a.mp4", 120)
    processor = RLTVideoProcessor(frame_stride=2, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    assert processor.decode(path, [0.0, 0.5, 1.0]).shape == (3, 16, 48, 64, 3)
    assert counts.opened == 1
    processor(path, return_tensors="pt")
    assert counts.opened == 2


def test_a_child_process_decodes_in_one_thread(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", 12, size=(640, 480))
    with video_stream.open_stream(path) as (_, stream):
        assert stream.codec_context.thread_count == 0
    monkeypatch.setattr(video_stream.multiprocessing, "parent_process", object)
    with video_stream.open_stream(path) as (_, stream):
        assert stream.codec_context.thread_count == 1
        assert stream.codec_context.thread_type == video_stream.av.codec.context.ThreadType.FRAME


def test_an_index_is_cached(tmp_path, counts, settled):
    path = write(tmp_path / "a.mp4")
    first = index_video(path)
    assert index_video(str(path)) is first
    assert counts.opened == 1
    assert index_video(path, use_cache=False) is not first
    assert index_video(path.read_bytes()) is not index_video(path.read_bytes())
    with pytest.raises(ValueError, match="read-only"):
        first.pts[0] = 5


@pytest.mark.parametrize("change", ["content", "time", "other file", "content of equal size and time"])
def test_another_file_of_the_same_name_is_indexed_again(tmp_path, settled, change):
    path, other = write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4", 30)
    size = path.stat().st_size + 20_000
    for file in (path, other):  # made of one size by a box that nothing reads
        free = size - file.stat().st_size
        file.write_bytes(file.read_bytes() + free.to_bytes(4, "big") + b"free" + bytes(free - 8))
    first, stat = index_video(path), path.stat()
    if change == "time":
        os.utime(path, (1_700_000_000, 1_700_000_000))
    elif change == "other file":
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        os.replace(other, path)
    else:
        with path.open("r+b") as file:
            file.write(other.read_bytes())
        if change != "content":
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert index_video(path) is not first
    assert index_video(path).num_frames == (60 if change == "time" else 30)


def test_a_file_that_may_still_be_written_is_not_cached(tmp_path):
    path = write(tmp_path / "a.mp4")
    assert index_video(path) is not index_video(path)


def test_the_cache_is_bounded(tmp_path, monkeypatch, settled):
    paths = [write(tmp_path / f"{i}.mp4", 20) for i in range(4)]
    size = video_index._nbytes(index_video(paths[0]))
    monkeypatch.setattr(video_index, "CACHE_BYTES", 2 * size)
    kept = [index_video(path) for path in paths]
    assert [index_video(paths[i]) is kept[i] for i in (3, 2, 1)] == [True, True, False]
    monkeypatch.setattr(video_index, "CACHE_BYTES", size - 1)
    assert index_video(paths[0]) is not index_video(paths[0])
