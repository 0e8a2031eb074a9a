# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files that are damaged or say something else than they hold. tests/reading has many more, and compares all frames."""

import io
import resource

import av
import numpy as np
import pytest

from helpers.videos import decode_all, number, picture, remux, write
from hf_rlt.models.errors import HfRltError
from hf_rlt.models.video_reader import VideoIndex, index_video, read_frames


@pytest.mark.parametrize(("packet_number", "expected"), [(17, range(20, 60)), (16, [15])], ids="PB")
def test_damage_is_told_wherever_a_frame_needs_what_is_damaged(tmp_path, packet_number, expected):
    """Half of frame 20, a P-frame, or of frame 15, a B-frame that no other is decoded from, is lost."""
    source = write(tmp_path / "whole.mkv", options={"x264-params": "keyint=60:bframes=3:b-adapt=0:scenecut=0"})
    clean = decode_all(source)[0]

    def damage(i, packet):
        if i != packet_number:
            return packet
        changed = type(packet)(bytes(packet)[: packet.size // 2])
        changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
        changed.is_keyframe = packet.is_keyframe
        return changed

    path, refused = remux(source, tmp_path / "a.mkv", damage), []
    index = index_video(path)
    assert index.num_frames == 60
    for i in range(60):
        try:
            assert np.array_equal(read_frames(path, [i], index=index)[0], clean[i]), i
        except HfRltError as error:
            assert f"frame {i} of 60 " in str(error)  # noqa: PT017
            refused.append(i)
    assert set(expected) <= set(refused) <= set(range(13, 60))


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


def test_a_misleading_index_is_not_believed(tmp_path):
    path = write(tmp_path / "a.mp4")
    index = index_video(path)
    known = index.time_base, index.height, index.width, index.fps
    wrong_keys = VideoIndex(index.pts, *known, np.arange(60))
    assert [number(frame) for frame in read_frames(path, [30, 57], index=wrong_keys)] == [30, 57]
    too_long = VideoIndex(np.append(index.pts, index.pts[-1] + 640), *known, index._keys)
    with pytest.raises(HfRltError, match=r"a\.mp4: frame 60 of 61 cannot be decoded, 60 frames"):
        read_frames(path, [60], index=too_long)


@pytest.fixture(scope="module")
def with_sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.mp4"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8192), dtype=np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        for stream, frame in ((sound, silence), (sound, None), (video, None)):
            container.mux(stream.encode(frame))
    return path.read_bytes()


def test_a_sound_track_that_claims_many_samples_costs_no_memory(with_sound):
    data, expected = bytearray(with_sound), read_frames(with_sound, [3, 29])
    box = data.rindex(b"stsz")
    data[box + 8 : box + 16] = (1).to_bytes(4, "big") + (100_000_000).to_bytes(4, "big")  # all of one byte
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.array_equal(read_frames(bytes(data), [3, 29]), expected)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("kind", [b"elst", b"tkhd"])
def test_empty_boxes(with_sound, kind):
    data, box = bytearray(with_sound), with_sound.rindex(kind) - 4
    size = int.from_bytes(data[box : box + 4], "big")
    data[box : box + size] = (8).to_bytes(4, "big") + kind + (size - 8).to_bytes(4, "big") + b"free" + bytes(size - 16)
    assert np.array_equal(read_frames(bytes(data), [3, 29]), read_frames(with_sound, [3, 29]))
