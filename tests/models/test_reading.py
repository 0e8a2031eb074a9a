# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf_rlt.models.video_reader`: what it takes and refuses, and what an index says. tests/reading compares its frames."""

import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from helpers.videos import number, picture, write
from hf_rlt.models.errors import HfRltError
from hf_rlt.models.video_reader import VideoReader, index_video, read_frames
from hf_rlt.models.video_stream import Limits


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """20 frames of 64 x 48, with a keyframe each 12 and B-frames."""
    return write(tmp_path_factory.mktemp("clip") / "a.mp4", 20)


def test_index_and_frames(tmp_path):
    path = write(tmp_path / "a.mp4")
    index, indices = index_video(path), [59, 3, 3, 27, 14, 0]
    frames = read_frames(path, indices, index=index)
    assert (frames.dtype, frames.shape) == (np.uint8, (6, 48, 64, 3))
    assert [number(frame) for frame in frames] == indices
    assert read_frames(path, []).shape == (0, 48, 64, 3)
    assert (index.num_frames, index.height, index.width) == (60, 48, 64)
    assert (index.fps, index.duration, index.pts.dtype) == (25.0, pytest.approx(2.4), np.int64)
    assert np.allclose(index.timestamps, np.arange(60) / 25)


def test_variable_rate(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(10, 200, 50))
    index = index_video(write(tmp_path / "a.mkv", 50, times.tolist()))
    assert np.allclose(index.timestamps, (times - times[0]) / 1000, atol=1e-3)
    assert index.fps == pytest.approx(49_000 / (times[-1] - times[0]), rel=1e-3)


@pytest.mark.parametrize(("a", "b", "turns"), [(0, 1, -1), (-1, 0, 2), (0, -1, 1)], ids=["90", "180", "270"])
def test_frames_are_turned_upright(clip, a, b, turns):
    """An MP4's matrix takes a point (x, y) to (ax - by, bx + ay), with y pointing down."""
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 44
    for i, value in enumerate((a, b, 0, -b, a)):
        data[at + 4 * i : at + 4 * i + 4] = (value << 16).to_bytes(4, "big", signed=True)
    assert np.array_equal(read_frames(bytes(data), [3])[0], np.rot90(read_frames(clip, [3])[0], turns))


def test_frames_are_transformed_one_by_one(clip):
    with VideoReader(clip) as reader:
        means = reader.read([7, 2], transform=lambda frame: frame.mean((0, 1)))
        assert np.allclose(means, reader.read([7, 2]).mean((1, 2)))


def test_limits_stop_reading(clip):
    seen = []
    with VideoReader(clip, limits=Limits(max_pixels=10_000, on_frame=seen.append)) as reader:
        reader.read([3])
    assert {type(frame) for frame in seen} == {av.VideoFrame}
    with pytest.raises(HfRltError, match=r"more than 100 pixels|cannot be opened|no frame"):
        VideoReader(clip, limits=Limits(max_pixels=100)).read([3])


def test_metadata_that_is_not_utf8(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        container.metadata["title"] = "TITLE-ASCII"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        for i in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode(None))
    data = (tmp_path / "a.avi").read_bytes()
    assert b"TITLE-ASCII" in data
    frames = read_frames(data.replace(b"TITLE-ASCII", b"TITLE-\xe9\xff\xfe\xe8\xe9"), [4, 1])
    assert [number(frame) for frame in frames] == [4, 1]


def test_all_kinds_of_source(tmp_path, clip):
    path = tmp_path / "with: colon é %03d.mp4"
    path.write_bytes(clip.read_bytes())
    os.symlink(path, tmp_path / "link.mp4")
    expected = read_frames(clip, [7, 19])
    with path.open("rb") as file:
        file.seek(100)
        sources = (str(path), path, path.read_bytes(), io.BytesIO(path.read_bytes()), file, file, tmp_path / "link.mp4")
        for source in sources:
            assert np.array_equal(read_frames(source, [7, 19]), expected)
        assert not file.closed


def sound(path: Path) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


NO_VIDEO = {
    "sound.m4a": (None, "no video stream to decode, found: audio aac"),
    "empty.mp4": (b"", "not a video that can be opened"),
    "text.mp4": (b"FFmpeg would draw this as a terminal does.\n" * 50, "not a video that can be opened"),
    "self.ffconcat": (b"ffconcat version 1.0\nfile 'self.ffconcat'\n", "playlist .* are not read"),
    "of.ffconcat": (b"ffconcat version 1.0\nfile 'a.mp4'\n", "playlist .* are not read"),
    "of.m3u8": (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\na.mp4\n#EXT-X-ENDLIST\n", "playlist .* are not read"),
    "of.sdp": (
        b"v=0\no=- 0 0 IN IP4 ::\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n",
        "playlist .* not read",
    ),
}


@pytest.mark.parametrize("name", NO_VIDEO)
@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_what_is_no_video_or_names_other_files_is_refused(tmp_path, monkeypatch, clip, name, kind):
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(clip.read_bytes())
    content, message = NO_VIDEO[name]
    content = sound(tmp_path / "sound.m4a") if content is None else content
    Path(name).write_bytes(content)
    if (name, kind) == ("of.m3u8", "bytes"):
        message = "cannot|can be"  # FFmpeg knows m3u8 by its name alone
    with pytest.raises(HfRltError, match=message) as error:
        index_video(name if kind == "path" else content)
    assert str(error.value).startswith(name if kind == "path" else "<bytes>")
    assert "\n" not in str(error.value)


def test_a_file_without_its_index_is_refused(tmp_path, clip):
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:500])
    with pytest.raises(HfRltError, match=r"cut\.mp4: not a video that can be opened .*Re-encode"):
        index_video(tmp_path / "cut.mp4")


def test_wrong_arguments(tmp_path, clip):
    for wrong in (20, -1):
        with pytest.raises(IndexError, match=rf"a\.mp4: no frame {wrong}, .* 0 to 19"):
            read_frames(clip, [0, wrong])
    for indices, message in (([0.5], "integers"), ([[0]], "flat")):
        with pytest.raises(HfRltError, match=message):
            read_frames(clip, indices)
    with pytest.raises(FileNotFoundError, match="absent"):
        index_video(tmp_path / "absent.mp4")
    with pytest.raises(OSError, match=str(tmp_path)):
        index_video(tmp_path)
    with pytest.raises(HfRltError, match="zero byte"):
        index_video(f"{clip}\0.mp4")


@pytest.mark.parametrize("protocol", ["udp", "tcp", "rtmp", "ftp", "concat", "lavfi", "file", "rtsp", "data"])
def test_addresses_are_not_opened(protocol):
    """FFmpeg opens none of them: addresses are fetched by fsspec, which does not know most of these."""
    with pytest.raises(HfRltError, match=rf"{protocol}://127.0.0.1:9/a.mp4: could not be downloaded \("):
        index_video(f"{protocol}://127.0.0.1:9/a.mp4")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
        for path, kind in (("/dev/zero", "a device"), ("pipe.mp4", "a named pipe"), ("socket.mp4", "a socket")):
            with pytest.raises(HfRltError, match=f"{path}: expected a regular file, found {kind}"):
                index_video(tmp_path / path)
    with open("/dev/zero", "rb") as file, pytest.raises(HfRltError, match="expected a regular file, found a device"):
        index_video(file)


def test_files_that_cannot_be_read_as_bytes_from_their_start_are_refused(clip):
    with clip.open(errors="replace") as file, pytest.raises(HfRltError, match=r"a\.mp4: expected a binary file"):
        index_video(file)
    closed = io.BytesIO(clip.read_bytes())
    closed.close()
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb"):
        for source in (pipe, closed):
            with pytest.raises(HfRltError, match=r"expected a (regular|seekable)"):
                index_video(source)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_files_are_closed(tmp_path, clip):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(clip.read_bytes()[:500])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_frames(clip, [3, 17])
        with pytest.raises(IndexError):
            read_frames(clip, [99])
        with pytest.raises(HfRltError, match=r"bad\.mp4"):
            read_frames(bad, [0])
    assert len(os.listdir("/proc/self/fd")) == before


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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_that_ends_in_the_ordinary_way_ends(tmp_path):
    path = write(tmp_path / "a.mp4", 30, size=(640, 360))
    code = "import os, sys\nfrom hf_rlt.models.video_reader import VideoReader\n"
    code += f"r = VideoReader({str(path)!r}); r.read([3])\n"
    code += "child = os.fork()\nif child == 0: sys.exit(0)\nsys.exit(os.waitpid(child, 0)[1])"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
