# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files that say something else than they hold, inputs that never end, and readers that cross a fork."""

import io
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from helpers.paths import CLIPS
from helpers.videos import H264, decode_all, number, picture, remux, rgb, write
from hf_rlt.models import video_index as indexing
from hf_rlt.models.video_reader import VideoReader, index_video, read_frames

RIGHT = {  # number of frames that decoding the whole file returns
    "cam.MTS": 100,
    "elst_empty_video.mp4": 35,
    "field_coded_h264.ts": 40,
    "h264_b.avi": 36,
    "h264_bf2.wmv": 100,
    "mpeg4_times_moved.mp4": 30,
    "pts_equal_dts.mkv": 100,
    "stsz_count_1e8_audio.mp4": 35,
    "three_clocks.ts": 288,
    "tkhd_empty_audio.mp4": 35,
    "two_sizes.ts": 100,
    "yuv411.mkv": 50,
}


def check_each_alone(source, every=1):
    """Each frame alone, a few together, and strided clips are those that decoding the whole file returns."""
    index = index_video(source)
    pictures, _ = decode_all(source, None if index._keys is None else (index.height, index.width))
    assert index.num_frames == len(pictures)
    last = len(pictures) - 1
    groups = [[i] for i in range(0, last + 1, every)]
    groups += [[last // 2, 0, last, last // 2], list(range(last // 3, last, 4)), list(range(last + 1))]
    for group in groups:
        frames = read_frames(source, group, index=index)
        for i, frame in zip(group, frames, strict=True):
            if pictures[i].shape == frame.shape:
                assert np.array_equal(frame, pictures[i]), (i, group)
    return index


@pytest.mark.parametrize("name", RIGHT)
def test_fault(name):
    path = CLIPS / "faults" / name
    if not path.exists():
        pytest.skip(f"no clip {name}")
    assert check_each_alone(path, every=11).num_frames == RIGHT[name]


def test_every_fault_is_covered():
    if not (CLIPS / "faults").exists():
        pytest.skip("no clips")
    assert {path.name for path in (CLIPS / "faults").iterdir()} == set(RIGHT)


# Order and number of frames


@pytest.mark.parametrize("name", ["a.avi", "a.wmv"])
@pytest.mark.parametrize("copied", [None, "b.mp4", "b.mov", "b.mkv"])
def test_containers_that_store_decoding_times_only(tmp_path, name, copied):
    path = write(tmp_path / name, 40)
    if copied:
        path = remux(path, tmp_path / copied, lambda i, packet: packet)
    index = check_each_alone(path, every=3)
    frames = read_frames(path, range(40))
    assert [number(frame) for frame in frames] == list(range(40))
    assert len(np.unique(np.diff(index.pts))) <= 2  # even, but for rounding


def test_presentation_times_that_are_decoding_times(tmp_path):
    def retime(i, packet):
        packet.pts = packet.dts = 40 * i
        return packet

    check_each_alone(remux(write(tmp_path / "whole.mkv", 40), tmp_path / "a.mkv", retime), every=3)


@pytest.mark.parametrize("moved", [(13, 5), (22, -9), (30, 11)])
def test_one_wrong_time_moves_no_other_frame(tmp_path, moved):
    number_of, places = moved

    def retime(i, packet):
        packet.dts = 40 * i - 1000  # or the muxer would refuse times of showing before those of decoding
        if i == number_of:
            packet.pts += 40 * places - 20
        return packet

    check_each_alone(remux(write(tmp_path / "whole.mkv", 48), tmp_path / "a.mkv", retime), every=2)


@pytest.mark.parametrize("sizes", [[(64, 48)] * 3, [(64, 48), (96, 64)]], ids=["one size", "two sizes"])
def test_joined_transport_streams(tmp_path, sizes):
    parts = [write(tmp_path / f"{i}.ts", 20, size=size).read_bytes() for i, size in enumerate(sizes)]
    data = b"".join(parts)
    index = index_video(data)
    assert index.num_frames == 20 * len(sizes)
    assert (np.diff(index.pts) >= 0).all()
    for i in range(0, index.num_frames, 7):
        frame = read_frames(data, [i], index=index)[0]
        if sizes[i // 20] == sizes[0]:
            assert number(frame) == i % 20


def test_what_follows_damage_is_read_though_its_clock_starts_again(tmp_path):
    first = bytearray(write(tmp_path / "a.ts", 24).read_bytes())
    middle = len(first) // 2 // 188 * 188
    first[middle : middle + 188 * 20] = b""
    data = bytes(first) + write(tmp_path / "b.ts", 24).read_bytes()
    index = index_video(data)
    expected = [number(frame) for frame in decode_all(io.BytesIO(data))[0]]
    assert index.num_frames == len(expected)
    for i in range(index.num_frames - 24, index.num_frames):
        assert number(read_frames(data, [i], index=index)[0]) == expected[i] == i - index.num_frames + 24


def test_frames_blended_on_those_before_are_not_sought(tmp_path):
    with av.open(str(tmp_path / "a.apng"), "w", format="apng") as container:
        stream = container.add_stream("apng", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        for i in range(12):
            pixels = np.dstack([picture(i), np.full((48, 64), 40 + 10 * i, dtype=np.uint8)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode(None))
    check_each_alone(tmp_path / "a.apng")


def test_a_frame_is_the_same_alone_and_among_others_whatever_is_damaged(tmp_path):
    whole = write(tmp_path / "a.mp4", 48, options=H264 | {"crf": "30"}).read_bytes()
    begin = whole.index(b"mdat") + 4
    end = begin - 8 + int.from_bytes(whole[begin - 8 : begin - 4], "big")
    for seed in range(20):
        rng, data = np.random.default_rng(seed), bytearray(whole)
        data[int(rng.integers(begin, end))] ^= 1 << int(rng.integers(8))
        index, alone = index_video(bytes(data)), {}
        for group in (*([i] for i in range(10, 40, 3)), range(10, 40), range(0, 48, 4)):
            try:
                frames = read_frames(bytes(data), list(group), index=index)
            except ValueError:
                continue
            for i, frame in zip(group, frames, strict=True):
                assert np.array_equal(alone.setdefault(i, frame), frame), (seed, i)


# Identity of a remembered index


def test_a_file_overwritten_in_place_with_equal_size_and_time_is_indexed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "_SETTLED", 0)
    indexing.cache.clear()
    path, other = write(tmp_path / "a.mp4", 30), write(tmp_path / "b.mp4", 40)
    size = max(path.stat().st_size, other.stat().st_size) + 8
    for file in (path, other):  # of equal sizes by a box that nothing reads
        free = size - file.stat().st_size
        file.write_bytes(file.read_bytes() + free.to_bytes(4, "big") + b"free" + bytes(free - 8))
    first, stat = index_video(path), path.stat()
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert (first.num_frames, index_video(path).num_frames) == (30, 40)


# Claims and empty boxes


def with_sound(path):
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        for i in range(8):
            silence.pts = 1024 * i
            container.mux(sound.encode(silence))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return bytearray(path.read_bytes())


def test_a_sound_track_that_claims_many_samples_costs_no_memory(tmp_path):
    data = with_sound(tmp_path / "a.mp4")
    expected = read_frames(bytes(data), [3, 29])
    box = data.rindex(b"stsz")
    data[box + 8 : box + 16] = (1).to_bytes(4, "big") + (100_000_000).to_bytes(4, "big")  # all of one byte
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.array_equal(read_frames(bytes(data), [3, 29]), expected)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("kind", [b"elst", b"tkhd"])
def test_empty_boxes(tmp_path, kind):
    data = with_sound(tmp_path / "a.mp4")
    expected, box = read_frames(bytes(data), [3, 29]), data.rindex(kind) - 4
    size = int.from_bytes(data[box : box + 4], "big")
    data[box : box + size] = (8).to_bytes(4, "big") + kind + (size - 8).to_bytes(4, "big") + b"free" + bytes(size - 16)
    assert np.array_equal(read_frames(bytes(data), [3, 29]), expected)


# Inputs that never end, or are none


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
        for path, kind in (("/dev/zero", "a device"), ("pipe.mp4", "a named pipe"), ("socket.mp4", "a socket")):
            with pytest.raises(ValueError, match=f"{path}: expected a regular file, found {kind}"):
                index_video(tmp_path / path)
    with open("/dev/zero", "rb") as file, pytest.raises(ValueError, match="expected a regular file, found a device"):
        index_video(file)
    os.symlink(write(tmp_path / "a.mp4", 5), tmp_path / "link.mp4")
    assert index_video(tmp_path / "link.mp4").num_frames == 5


@pytest.mark.parametrize("protocol", ["udp", "tcp", "rtmp", "ftp", "concat", "lavfi", "file", "rtsp", "data"])
def test_addresses_are_not_opened(protocol):
    with pytest.raises(ValueError, match=r"expected a file or an http\(s\) address: download it"):
        index_video(f"{protocol}://127.0.0.1:9/a.mp4")


def test_files_that_cannot_be_read_as_bytes_from_their_start(tmp_path):
    path = write(tmp_path / "a.mp4", 5)
    with path.open(errors="replace") as file, pytest.raises(ValueError, match=r"a\.mp4: expected a binary file"):
        index_video(file)
    closed = io.BytesIO(path.read_bytes())
    closed.close()
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb"):
        for source in (pipe, closed):
            with pytest.raises(ValueError, match=r"expected a (regular|seekable)"):
                index_video(source)
    with pytest.raises(ValueError, match="zero byte"):
        index_video(f"{path}\0.mp4")


def test_text_is_no_video(tmp_path):
    (tmp_path / "a.txt").write_text("FFmpeg would draw this as a terminal does.\n" * 50)
    with pytest.raises(ValueError, match="not a video that can be opened"):
        index_video(tmp_path / "a.txt")


# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("size", [(64, 48), (640, 360)], ids=["one thread", "threads"])
def test_a_reader_used_across_a_fork(tmp_path, size):
    path = write(tmp_path / "a.mp4", 30, size=size)
    with VideoReader(path) as reader:
        expected = reader.read([3, 25])
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if np.array_equal(reader.read([3, 25]), expected) else 1)
        for i in range(0, 30, 4):
            assert number(reader.read([i])[0]) == i
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_that_ends_in_the_ordinary_way_ends(tmp_path):
    path = write(tmp_path / "a.mp4", 30, size=(640, 360))
    code = "import os, sys\nfrom hf_rlt.models.video_reader import VideoReader\n"
    code += f"r = VideoReader({str(path)!r}); r.read([3])\n"
    code += "child = os.fork()\nif child == 0: sys.exit(0)\nsys.exit(os.waitpid(child, 0)[1])"
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0, started


# Colours


@pytest.mark.parametrize("kind", ["yuv411p", "yuv440p", "yuv410p", "yuv420p10le", "yuv422p10le", "yuv444p", "yuv420p"])
def test_colours_are_ffmpegs(tmp_path, kind):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, kind
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=kind)))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mkv")) as container:
        expected = [rgb(frame) for frame in container.decode(video=0)]
    assert np.array_equal(read_frames(tmp_path / "a.mkv", [2, 0, 1]), np.stack(expected)[[2, 0, 1]])
