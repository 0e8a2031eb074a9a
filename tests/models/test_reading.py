# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf_rlt.models.video_reader` against a literal decode of the whole file."""

import io
import os
from itertools import pairwise
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest

from helpers.paths import CLIPS
from helpers.videos import decode_all, number, picture, remux, write
from hf_rlt.models import video_reader as reading
from hf_rlt.models.video_reader import index_video, read_frames

READABLE = [
    "alpha_vp9.webm",
    "anamorphic_sar.mp4",
    "anim.gif",
    "base.mp4",
    "fragmented.mp4",
    "gray.mp4",
    "h264_10bit.mp4",
    "interlaced_h264.mp4",
    "no_frame_count.mkv",
    "odd_size_444.mp4",
    "one_frame.mp4",
    "one_keyframe.mp4",
    "raw_annexb.h264",
    "rotate90.mp4",
    "seven_frames.mp4",
    "stream.ts",
    "vfr.mp4",
]
REFUSED = ["audio_only.m4a", "empty.mp4", "text_named.mp4", "truncated_no_moov.mp4"]
REAL = [
    "bbb_720p_onekey.mp4",
    "face_cut_cartoon_hevc_vfr.mov",
    "highway_static_60fps_first3s.mp4",
    "lab_discs_theora.ogv",
    "marathon_static_onekey.mp4",
    "surveillance_vtest_first64.avi",
    "webcam_face_vfr_vp8.webm",
]


def clip(name):
    found = [path for folder in ("odd", "real") if (path := CLIPS / folder / name).exists()]
    if not found:
        pytest.skip(f"no clip {name}")
    return found[0]


def patterns(n):
    last = n - 1
    return {
        "stride": list(range(n // 3, n, 4)),
        "reverse": list(range(last, -1, -max(1, n // 7))),
        "repeats": [n // 2, 0, n // 2, last, last],
        "last": [last],
        "first": [0],
        "none": [],
    }


def check_all(source, size=None, turns=0):
    pictures, times = decode_all(source, size, turns)
    index = index_video(source)
    assert index.num_frames == len(pictures)
    assert (index.height, index.width) == pictures[0].shape[:2]
    assert index.pts.dtype == np.int64
    if None not in times:
        assert index.pts.tolist() == times
    for name, indices in patterns(len(pictures)).items():
        frames = read_frames(source, indices, index=index)
        assert frames.dtype == np.uint8
        assert frames.shape == (len(indices), *pictures[0].shape), name
        assert all(np.array_equal(frame, pictures[i]) for frame, i in zip(frames, indices, strict=True)), name
    return index


@pytest.fixture
def decoded(monkeypatch):
    """A list that grows by one for each decoded frame."""
    count, decode = [], reading.decode

    def counting(*args, **kwargs):
        for item in decode(*args, **kwargs):
            count.append(item)
            yield item

    monkeypatch.setattr(reading, "decode", counting)
    return count


# Clips from elsewhere


@pytest.mark.parametrize("name", READABLE)
def test_odd_clip(name):
    size = {"anamorphic_sar.mp4": (288, 256), "odd_size_444.mp4": (143, 254)}.get(name)
    check_all(clip(name), size, turns=1 if name == "rotate90.mp4" else 0)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_odd_clip_is_refused(name, kind):
    path = clip(name)
    with pytest.raises(ValueError, match=name if kind == "path" else "<bytes>") as error:
        index_video(path if kind == "path" else path.read_bytes())
    assert "\n" not in str(error.value)
    assert type(error.value) is ValueError


def test_every_odd_clip_is_covered():
    clip("base.mp4")
    assert {p.name for p in (CLIPS / "odd").iterdir()} == {*READABLE, *REFUSED, "corrupt_bytes.mp4"}


def test_damaged_frames_are_refused_and_the_others_right():
    path = clip("corrupt_bytes.mp4")
    pictures, _ = decode_all(path)
    index, refused = index_video(path), 0
    for i in range(0, index.num_frames, 5):
        try:
            assert np.array_equal(read_frames(path, [i], index=index)[0], pictures[i])
        except ValueError as error:
            assert f"corrupt_bytes.mp4: frame {i} of 96 is damaged" in str(error)  # noqa: PT017
            refused += 1
    assert 0 < refused < 20


def test_rotation_turns_the_picture_counterclockwise():
    upright, turned = (read_frames(clip(name), [3])[0] for name in ("base.mp4", "rotate90.mp4"))
    assert np.array_equal(turned, np.rot90(upright))


@pytest.mark.parametrize("name", REAL)
def test_real_clip(name):
    path = clip(name)
    wanted = [5, 33, 17, 33]
    pictures = {}
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i in wanted:
                pictures[i] = frame.to_ndarray(format="rgb24")
            last, time = frame, frame.pts
        count = i + 1
    index = index_video(path)
    assert (index.num_frames, index.pts[-1]) == (count, time)
    frames = read_frames(path, [*wanted, count - 1], index=index)
    assert all(np.array_equal(frame, pictures[i]) for frame, i in zip(frames[:-1], wanted, strict=True))
    assert np.array_equal(frames[-1], last.to_ndarray(format="rgb24"))


# Clips made here


def test_frames_are_the_numbered_ones(tmp_path):
    path = write(tmp_path / "a.mp4")
    index = check_all(path)
    indices = [59, 3, 3, 27, 14, 0]
    assert [number(frame) for frame in read_frames(path, indices)] == indices
    assert (index.num_frames, index.fps, index.duration) == (60, 25.0, pytest.approx(2.4))
    assert np.allclose(index.timestamps, np.arange(60) / 25)


OPEN_GOP = {"x264-params": "keyint=12:bframes=3:b-adapt=0:scenecut=0:open-gop=1"}
CODECS = {
    "open_gop.mp4": ("libx264", OPEN_GOP),
    "open_gop.ts": ("libx264", OPEN_GOP),
    "open_gop.mkv": ("libx265", {"x265-params": "keyint=12:bframes=3:log-level=none:open-gop=1"}),
    "refresh.mp4": ("libx264", {"x264-params": "keyint=12:bframes=0:intra-refresh=1"}),
    "one_key.mp4": ("libx264", {"bf": "3", "g": "1000"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "alt_ref.webm": ("libvpx", {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "realtime"}),
    "vp9.webm": ("libvpx-vp9", {"g": "20", "lag-in-frames": "16", "deadline": "realtime", "cpu-used": "8"}),
    "intra.mkv": ("ffv1", {}),
}


@pytest.mark.parametrize("name", CODECS)
def test_codecs(tmp_path, name):
    codec, options = CODECS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"av has no {codec}")
    check_all(write(tmp_path / name, codec=codec, options=options))


def test_variable_rate(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(10, 200, 50))
    index = check_all(write(tmp_path / "a.mkv", 50, times.tolist()))
    assert np.allclose(index.timestamps, (times - times[0]) / 1000, atol=1e-3)
    assert index.fps == pytest.approx(49_000 / (times[-1] - times[0]), rel=1e-3)


def test_frames_before_the_edit_list_do_not_count(tmp_path):
    path = write(tmp_path / "a.mp4", times=[40 * i - 400 for i in range(60)])
    with av.open(str(path)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    index = check_all(path)
    assert index.num_frames < 60
    assert number(read_frames(path, [index.num_frames - 1])[0]) == 59


def test_cut_file_counts_only_whole_frames(tmp_path):
    whole = write(tmp_path / "a.mkv").read_bytes()
    for share in (0.3, 0.55, 0.8, 0.97):
        data = whole[: int(len(whole) * share)]
        n = index_video(data).num_frames
        assert 10 < n < 60
        expected = [number(frame) for frame in decode_all(io.BytesIO(data))[0][:n]]
        assert [number(frame) for frame in read_frames(data, range(n))] == expected


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
def test_cut_mp4_counts_only_whole_frames(tmp_path, flags):
    whole = write(
        tmp_path / "a.mp4", options={"bf": "0", "g": "12"}, container_options={"movflags": flags}
    ).read_bytes()
    for share in (0.5, 0.77):
        data = whole[: int(len(whole) * share)]
        n = index_video(data).num_frames
        assert 10 < n < 60
        assert [number(frame) for frame in read_frames(data, range(n))] == list(range(n))


def test_cut_transport_stream_is_never_silently_wrong(tmp_path):
    whole = write(tmp_path / "a.ts").read_bytes()
    for share in (0.31, 0.5, 0.72):
        data = whole[: int(len(whole) * share)]
        expected = [number(frame) for frame in decode_all(io.BytesIO(data))[0]]
        index = index_video(data)
        assert index.num_frames == len(expected)
        for i in range(0, len(expected), 3):
            try:
                assert number(read_frames(data, [i], index=index)[0]) == expected[i]
            except ValueError as error:
                assert "<bytes>: frame" in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_a_start_without_keyframe(tmp_path, name):
    source = write(tmp_path / "whole.mp4")
    path = remux(source, tmp_path / name, lambda i, packet: packet if i >= 5 else None)
    pictures, _ = decode_all(path)
    index = index_video(path)
    for i in range(0, index.num_frames, 5):
        try:
            frame = read_frames(path, [i], index=index)[0]
        except ValueError as error:
            assert f"{name}: frame {i}" in str(error)  # noqa: PT017
        else:
            assert np.array_equal(frame, pictures[i])


def test_lost_frames_are_noticed(tmp_path):
    source = write(tmp_path / "whole.mkv", options={"bf": "0", "g": "12"})
    path = remux(source, tmp_path / "a.mkv", lambda i, packet: None if i == 15 else packet)
    index = index_video(path)
    assert index.num_frames == 59
    assert number(read_frames(path, [40], index=index)[0]) == 41


TIMES = {
    "equal": lambda i: 240 if i == 7 else 40 * i,
    "swapped": lambda i: {10: 480, 12: 400}.get(i, 40 * i),
    "jump": lambda i: 40 * i - (790 if i >= 30 else 0),
}


@pytest.mark.parametrize("change", TIMES)
def test_times_that_do_not_ascend(tmp_path, change):
    def retime(i, packet):
        packet.pts, packet.dts = 3000 + TIMES[change](i), 40 * i
        return packet

    source = write(tmp_path / "whole.mkv", codec="mpeg4", options={"g": "12", "qmin": "2", "qmax": "2"})
    path = remux(source, tmp_path / "a.mkv", retime)
    pictures, times = decode_all(path)
    assert not all(a < b for a, b in pairwise(times))
    index = index_video(path)
    assert index.num_frames == len(pictures)
    assert (np.diff(index.pts) >= 0).all()
    indices = [8, 41, 10, 12, 11, 31]
    frames = read_frames(path, indices, index=index)
    assert all(np.array_equal(frame, pictures[i]) for frame, i in zip(frames, indices, strict=True))


def test_size_change_is_scaled_to_the_first_size(tmp_path):
    parts = [write(tmp_path / f"{i}.h264", 12, size=size).read_bytes() for i, size in enumerate([(64, 48), (96, 64)])]
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join(parts))
    index = check_all(path, size=(48, 64))
    assert (index.num_frames, index.height, index.width) == (24, 48, 64)


def test_cover_pictures_and_second_streams_are_not_the_video(tmp_path):
    path = write(tmp_path / "video.mp4", 20)
    with av.open(str(path)) as old, av.open(str(tmp_path / "a.mp4"), "w") as new:
        cover = new.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 200, 100, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in cover.encode(av.VideoFrame(200, 100, "yuvj420p")):
            new.mux(packet)
        new.mux(cover.encode(None))
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    index = index_video(tmp_path / "a.mp4")
    assert (index.num_frames, index.height, index.width) == (20, 48, 64)
    assert [number(frame) for frame in read_frames(tmp_path / "a.mp4", [13, 2])] == [13, 2]


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
    assert [number(f) for f in read_frames(data.replace(b"TITLE-ASCII", b"TITLE-\xe9\xff\xfe\xe8\xe9"), [4, 1])] == [
        4,
        1,
    ]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_only_the_needed_frames_are_decoded(tmp_path, decoded, name):
    path = write(tmp_path / name, 240)
    index = index_video(path)
    assert decoded == []
    read_frames(path, [236, 50], index=index)
    assert len(decoded) <= 12 + 12 + 8
    decoded.clear()
    read_frames(path, range(100, 110), index=index)
    assert len(decoded) <= 24 + 4


def test_frames_called_keyframes_that_are_none(tmp_path):
    def call_keyframe(i, packet):
        packet.is_keyframe = True
        return packet

    source = write(tmp_path / "whole.mkv", codec="mpeg4", options={"g": "12"})
    check_all(remux(source, tmp_path / "a.mp4", call_keyframe))


def test_a_misleading_index_is_not_believed(tmp_path, decoded):
    path = write(tmp_path / "a.mp4")
    index = index_video(path)
    wrong_keys = reading.VideoIndex(index.pts, index.time_base, index.height, index.width, index.fps, np.arange(60))
    assert [number(frame) for frame in read_frames(path, [30, 57], index=wrong_keys)] == [30, 57]
    pts = np.append(index.pts, index.pts[-1] + 640)
    too_long = reading.VideoIndex(pts, index.time_base, index.height, index.width, index.fps, index._keys)
    with pytest.raises(ValueError, match=r"a\.mp4: frame 60 of 61 cannot be decoded, 60 frames"):
        read_frames(path, [60], index=too_long)


def test_all_kinds_of_source(tmp_path):
    path = write(tmp_path / "with: colon é %03d.mp4", 20)
    expected = read_frames(path, [7, 19])
    with path.open("rb") as file:
        file.seek(100)
        for source in (str(path), path, path.read_bytes(), io.BytesIO(path.read_bytes()), file, file):
            assert np.array_equal(read_frames(source, [7, 19]), expected)
        assert not file.closed


PLAYLISTS = {
    "self.ffconcat": "ffconcat version 1.0\nfile 'self.ffconcat'\n",
    "of.ffconcat": "ffconcat version 1.0\nfile 'a.mp4'\n",
    "of.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\na.mp4\n#EXT-X-ENDLIST\n",
    "of.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_what_names_other_files_is_refused(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    write(Path("a.mp4"), 20)
    Path(name).write_text(PLAYLISTS[name])
    if (name, kind) == ("of.m3u8", "bytes"):
        pytest.skip("FFmpeg knows m3u8 by its name alone")
    with pytest.raises(ValueError, match=r"playlist .* are not read") as error:
        index_video(name if kind == "path" else Path(name).read_bytes())
    assert str(error.value).startswith(name if kind == "path" else "<bytes>")


def test_wrong_arguments(tmp_path):
    path = write(tmp_path / "a.mp4", 20)
    for wrong in (20, -1):
        with pytest.raises(IndexError, match=rf"a\.mp4: no frame {wrong}, .* 0 to 19"):
            read_frames(path, [0, wrong])
    with pytest.raises(ValueError, match="integers"):
        read_frames(path, [0.5])
    with pytest.raises(ValueError, match="flat"):
        read_frames(path, [[0]])
    with pytest.raises(FileNotFoundError, match="absent"):
        index_video(tmp_path / "absent.mp4")
    with pytest.raises(OSError, match=str(tmp_path)):
        index_video(tmp_path)
    with pytest.raises(ValueError, match="BytesIO"):
        index_video(io.BytesIO(b"no video"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_files_are_closed(tmp_path):
    good, bad = write(tmp_path / "a.mp4", 20), tmp_path / "bad.mp4"
    bad.write_bytes(good.read_bytes()[:500])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_frames(good, [3, 17])
        with pytest.raises(IndexError):
            read_frames(good, [99])
        with pytest.raises(ValueError, match=r"bad\.mp4"):
            read_frames(bad, [0])
    assert len(os.listdir("/proc/self/fd")) == before
