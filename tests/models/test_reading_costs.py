# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What reading costs, counted: files opened, packets and bytes read, frames decoded; and that saving is not believing."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from helpers.videos import decode_all, number, remux, write
from hf_rlt import RLTVideoProcessor
from hf_rlt.models import video_index as indexing
from hf_rlt.models import video_reader as reading
from hf_rlt.models import video_stream
from hf_rlt.models.sampling import strided_indices
from hf_rlt.models.video_reader import VideoReader, index_video, read_frames

NO_B_FRAMES = {"bf": "0", "g": "12", "sc_threshold": "0"}


@dataclass
class Counts:
    opened: int = 0
    packets: int = 0
    seeks: int = 0
    frames: int = 0


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
    found, open_stream, decode = Counts(), reading.open_stream, reading.decode

    @contextmanager
    def counting_open(*args):
        found.opened += 1
        with open_stream(*args) as (container, stream):
            yield Watched(container, found), stream

    def counting_decode(*args, **kwargs):
        for item in decode(*args, **kwargs):
            found.frames += 1
            yield item

    monkeypatch.setattr(reading, "open_stream", counting_open)
    monkeypatch.setattr(reading, "decode", counting_decode)
    return found


@pytest.fixture(autouse=True)
def nothing_remembered():
    indexing.cache.clear()
    yield
    indexing.cache.clear()


def settle(path):
    """Makes a file as old as those that are remembered, by making new ones settle at once."""
    past = time.time() - 60
    os.utime(path, (past, past))
    return path


@pytest.fixture
def settled(monkeypatch):
    monkeypatch.setattr(indexing, "_SETTLED", 0)


# Counts


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_an_index_reads_each_packet_once(tmp_path, counts, name):
    index = index_video(write(tmp_path / name, 600))
    assert index.num_frames == 600
    assert (counts.opened, counts.packets, counts.frames, counts.seeks) == (1, 600, 0, 0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_frames_decoded_for_a_clip(tmp_path, counts, name):
    path = write(tmp_path / name, 240)  # a keyframe each 12
    wanted = strided_indices(240, 16, 4)
    with VideoReader(path) as reader:
        _, before = reader.index, counts.packets
        frames = reader.read(wanted)
    assert [number(frame) for frame in frames] == wanted.tolist()
    assert counts.opened == 1
    assert counts.frames <= wanted[-1] - wanted[0] + 1 + 12
    assert counts.packets - before <= wanted[-1] - wanted[0] + 1 + 2 * 12 + 4
    assert counts.seeks <= (2 if name == "a.ts" else 1)  # which seeks by decoding time


def test_frames_decoded_for_several_clips(tmp_path, counts):
    path = write(tmp_path / "a.mp4", 240)
    clips = [strided_indices(240, 16, 4, position) for position in (0, 0.25, 0.5, 0.75, 1)]
    read_frames(path, np.concatenate(clips))
    assert counts.opened == 1
    assert counts.frames <= 240  # clips overlap; no frame is decoded twice
    counts.frames = 0
    read_frames(path, [3, 100, 230])
    assert counts.frames <= 3 * 12


def test_a_gap_that_the_decoder_has_bridged_is_not_sought(tmp_path, counts):
    path = write(tmp_path / "a.mp4", 60)
    read_frames(path, [21, 26])  # keyframe 24 follows within what is decoded to hand out frame 21
    assert counts.seeks == 1
    counts.seeks = 0
    read_frames(path, [13, 26])
    assert counts.seeks == 2


def test_a_known_index_costs_nothing(tmp_path, counts):
    path = write(tmp_path / "a.mp4", 240)
    index = index_video(path)
    counts.packets = counts.opened = 0
    read_frames(path, [0], index=index)
    assert (counts.opened, counts.seeks) == (1, 0)
    assert counts.packets <= 6


def test_the_processor_opens_a_file_once(tmp_path, counts):
    path = write(tmp_path / "a.mp4", 120)
    processor = RLTVideoProcessor(frame_stride=2, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    assert processor.decode(path, [0.0, 0.5, 1.0]).shape == (3, 16, 48, 64, 3)
    assert counts.opened == 1
    processor(path, return_tensors="pt")
    assert counts.opened == 2


def test_an_index_is_16_bytes_a_frame(tmp_path):
    index = index_video(write(tmp_path / "a.mp4", 600))
    assert index.pts.nbytes + index._keys.nbytes <= 16 * 600


# Remembered indices


def test_an_index_is_remembered(tmp_path, counts, settled):
    path = write(tmp_path / "a.mp4")
    first = index_video(path)
    assert index_video(str(path)) is first
    assert counts.opened == 1
    assert index_video(path, use_cache=False) is not first
    with pytest.raises(ValueError, match="read-only"):
        first.pts[0] = 5
    read_frames(path, [7])
    assert counts.opened == 3


@pytest.mark.parametrize("change", ["content", "time", "other file"])
def test_another_file_of_the_same_name_is_indexed_again(tmp_path, settled, change):
    path = write(tmp_path / "a.mp4")
    first = index_video(path)
    if change == "content":
        write(path, 30)
    elif change == "time":
        settle(path)
    else:
        stat, other = path.stat(), tmp_path / "b.mp4"
        other.write_bytes(path.read_bytes())
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        os.replace(other, path)
    assert index_video(path) is not first
    assert index_video(path).num_frames == (30 if change == "content" else 60)


def test_a_file_that_may_still_be_written_is_not_remembered(tmp_path):
    path = write(tmp_path / "a.mp4")
    assert index_video(path) is not index_video(path)


def test_what_is_remembered_is_bounded(tmp_path, monkeypatch, settled):
    paths = [write(tmp_path / f"{i}.mp4", 20) for i in range(4)]
    size = indexing._nbytes(index_video(paths[0]))
    monkeypatch.setattr(indexing, "CACHE_BYTES", 2 * size)
    kept = [index_video(path) for path in paths]
    assert index_video(paths[3]) is kept[3]
    assert index_video(paths[2]) is kept[2]
    assert index_video(paths[1]) is not kept[1]
    monkeypatch.setattr(indexing, "CACHE_BYTES", size - 1)
    assert index_video(paths[0]) is not index_video(paths[0])


def test_bytes_and_binary_files_are_not_remembered(tmp_path, settled):
    data = write(tmp_path / "a.mp4").read_bytes()
    assert index_video(data) is not index_video(data)


# Damage


@pytest.mark.parametrize(("packet_number", "expected"), [(17, range(20, 60)), (16, [15])], ids="PB")
def test_damage_is_told_wherever_a_frame_needs_what_is_damaged(tmp_path, packet_number, expected):
    """Half of frame 20, a P-frame, or of frame 15, a B-frame that no other is decoded from, is lost."""
    source = write(tmp_path / "whole.mkv", options={"x264-params": "keyint=60:bframes=3:b-adapt=0:scenecut=0"})
    clean = decode_all(source)[0]

    def damage(i, packet):
        if i == packet_number:
            changed = type(packet)(bytes(packet)[: packet.size // 2])
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.is_keyframe = packet.is_keyframe
            return changed
        return packet

    path, refused = remux(source, tmp_path / "a.mkv", damage), []
    index = index_video(path)
    assert index.num_frames == 60
    for i in range(60):
        try:
            frame = read_frames(path, [i], index=index)[0]
        except ValueError as error:
            assert f"frame {i} of 60 " in str(error)  # noqa: PT017
            refused.append(i)
        else:
            assert np.array_equal(frame, clean[i]), i
    assert set(expected) <= set(refused) <= set(range(13, 60))


def test_a_child_process_decodes_in_one_thread(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", 12, size=(640, 480))
    with video_stream.open_stream(path) as (_, stream):
        assert stream.codec_context.thread_count == 0
    monkeypatch.setattr(video_stream.multiprocessing, "parent_process", object)
    with video_stream.open_stream(path) as (_, stream):
        assert stream.codec_context.thread_count == 1
        assert stream.codec_context.thread_type == video_stream.av.codec.context.ThreadType.FRAME
