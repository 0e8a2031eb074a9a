# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Windows over a stream: the clips that the processor makes of the same frames in a file."""

import tracemalloc

import numpy as np
import pytest
import torch

from helpers.model_folders import save_family
from helpers.paths import SHARED
from helpers.tiny import TINY, TINY_VJEPA2
from helpers.videos import noise, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.inference.loading import load
from hf_rlt.models.video_reader import VideoReader
from hf_rlt.streaming import SlidingWindow, StreamClassifier

SIZES = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "patch_size": 8, "num_frames": 8}
SETTINGS = [
    {"frame_stride": 2},
    {"frame_stride": 1, "threshold": None},
    {"frame_stride": 3, "rule": "anchor"},
    {"frame_stride": 2, "max_tokens": 20},
    {"frame_stride": 2, "num_tokens": 0.5, "rule": "anchor"},
    {"fps": 4.0},
    {"fps": 25.0},  # above the video's own rate: frames repeat
    {"frame_stride": 1, "num_frames": 2},
    {"frame_stride": 1, "num_frames": 9, "tubelet_size": 4},
]


def processor_of(**changes):
    return RLTVideoProcessor(**{**SIZES, **changes})


def taken_frames(processor, times):
    """List the frames that a stream picks, from the definition: each strided one, or those on display at each instant."""
    if processor.fps is None:
        return list(range(0, len(times), processor.frame_stride))
    found, instant = [], 0
    while (at := times[0] + instant / processor.fps + 5e-7) < times[-1]:
        found.append(max(place for place, time in enumerate(times) if time <= at))
        instant += 1
    return found


def check_file(path, processor, hop):
    """Compare the windows of all frames of a file with clips of the file; return how many there were."""
    window = SlidingWindow(processor, hop)
    with VideoReader(path) as reader:
        times = reader.index.timestamps
        frames, found = reader.read(np.arange(len(times))), []
        for frame, time in zip(frames, times, strict=True):
            window.push(frame, float(time))
            if (clip := window.take()) is not None:
                found.append(clip)
        picked = taken_frames(processor, times)
        size = processor.num_frames // processor.tubelet_size * processor.tubelet_size
        starts = list(range(0, len(picked) - size + 1, window.hop * processor.tubelet_size))
        skipped = sum(clip.skipped for clip in found)  # one frame may fill several tubelets
        assert len(found) + skipped == len(starts)
        assert skipped == 0 or processor.fps == 25
        place = -1
        for clip in found:
            place += 1 + clip.skipped
            start = starts[place]
            indices = np.asarray(picked[start : start + size])
            pixels = processor.pixels(processor.decode(reader, indices=indices[None]))
            assert torch.equal(clip.pixel_values, pixels[0])
            assert torch.equal(clip.run_lengths, processor.run_rule.find(pixels)[0])
            assert clip.seconds == (times[indices[0]], times[indices[-1]])
    return len(found)


@pytest.mark.parametrize("hop", [1, None, "clip"])
@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_windows_are_the_clips_of_the_file(changes, hop, tmp_path):
    processor = processor_of(**changes)
    pts = np.cumsum(np.random.default_rng(0).integers(1, 20, 60)).tolist()  # a variable rate
    path = write_video(tmp_path / "clip.mp4", noise(60), pts=pts)
    hop = processor.num_frames // processor.tubelet_size if hop == "clip" else hop
    assert check_file(path, processor, hop) >= 2


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "clips" / "real").is_dir(), reason="reads real clips")
@pytest.mark.parametrize(
    "changes", [{"frame_stride": 2}, {"fps": 12.0}, {"frame_stride": 2, "rule": "anchor"}], ids=str
)
def test_windows_of_real_clips(changes):
    processor = RLTVideoProcessor(num_frames=16, **changes)
    for path in sorted((SHARED / "clips" / "real").iterdir()):
        assert check_file(path, processor, 2) > 0


def test_each_frame_is_computed_once(monkeypatch):
    processor, calls, compared = processor_of(frame_stride=1), [], []
    pixels, differences = RLTVideoProcessor.pixels, type(processor.run_rule).differences
    monkeypatch.setattr(
        RLTVideoProcessor, "pixels", lambda self, frames: calls.append(len(frames[0])) or pixels(self, frames)
    )
    monkeypatch.setattr(
        type(processor.run_rule), "differences", lambda self, clip: compared.append(1) or differences(self, clip)
    )
    window, taken = SlidingWindow(processor, 1), 0
    for frame in noise(40):
        window.push(frame)
        taken += window.take() is not None
    assert taken == 17
    assert sum(calls) == 40
    assert len(compared) == 19  # pairs of neighbours among 20 tubelets


def test_a_slow_reader_gets_the_newest_window_and_how_many_it_missed():
    window = SlidingWindow(processor_of(frame_stride=1), 2)
    assert window.take() is None
    for number, frame in enumerate(noise(23)):
        window.push(frame, number / 10)
    found = window.take()  # windows end with frames 7, 11, 15, 19
    assert found.skipped == 3
    assert found.seconds == (1.2, 1.9)
    assert window.take() is None
    window.push(noise(1)[0], 2.3)
    found = window.take()
    assert (found.skipped, found.seconds) == (0, (1.6, 2.3))


@pytest.mark.parametrize("break_", ["size", "backwards", "pause"])
def test_a_break_starts_anew(break_):
    window = SlidingWindow(processor_of(fps=10.0), 4)
    for number, frame in enumerate(noise(9)):
        window.push(frame, number / 10)
    assert window.take() is not None
    frames, start = noise(30, seed=1), {"size": 1.0, "backwards": 0.0, "pause": 500.0}[break_]
    frames = frames[:, :, :48] if break_ == "size" else frames
    times = [start + number / 10 for number in range(9)]
    for frame, time in zip(frames, times, strict=False):
        assert window.take() is None
        window.push(frame, time)
    found = window.take()
    assert found.seconds == pytest.approx((times[0], times[7]))


def test_a_change_of_size_without_times_loses_no_frame():
    window = SlidingWindow(processor_of(frame_stride=1), 4)
    for frame in [*noise(20), *noise(8, seed=1)[:, :, :48]]:
        window.push(frame)
    assert window.take().seconds == (20, 27)


@pytest.mark.parametrize("changes", [{"frame_stride": 2}, {"fps": 10.0}], ids=str)
def test_a_buffer_may_be_filled_anew(changes):
    frames, buffer = noise(40), np.zeros_like(noise(1)[0])
    whole, filled = SlidingWindow(processor_of(**changes)), SlidingWindow(processor_of(**changes))
    for number, frame in enumerate(frames):
        np.copyto(buffer, frame)
        whole.push(frame, number / 10)
        filled.push(buffer, number / 10)
    assert torch.equal(whole.take().pixel_values, filled.take().pixel_values)


def test_a_slow_camera_repeats_frames():
    window = SlidingWindow(processor_of(fps=10.0), 4)  # clips of 0.8 s of a camera with a frame each second
    for number, frame in enumerate(noise(5)):
        window.push(frame, float(number))
    assert window.take() is not None


def test_what_no_window_can_be_made_of_is_refused():
    with pytest.raises(ValueError, match='sampling="clip", received "uniform"'):
        SlidingWindow(processor_of(sampling="uniform"))
    for hop in (0, 5):
        with pytest.raises(ValueError, match=rf"Expected hop in \[1, 4\], received {hop}"):
            SlidingWindow(processor_of(), hop)
    with pytest.raises(ValueError, match="Expected the seconds of each frame to take frames at fps"):
        SlidingWindow(processor_of(fps=5.0)).push(noise(1)[0])
    frame = noise(1)[0]
    for wrong in (frame[:, :, 0], frame.astype(np.float32), np.concatenate([frame, frame[:, :, :1]], 2)):
        with pytest.raises(ValueError, match=r"Expected frames of shape \(height, width, 3\), uint8, received"):
            SlidingWindow(processor_of()).push(wrong)


@pytest.mark.slow
def test_an_hour_of_frames_takes_the_memory_of_a_clip():
    window, frames = SlidingWindow(processor_of(frame_stride=4), 2), noise(250)
    taken, levels = 0, []
    tracemalloc.start()
    for number in range(25 * 3600):
        window.push(frames[number % 250], number / 25)
        taken += window.take() is not None
        if number % 9000 == 8999:
            levels.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert taken == (25 * 3600 // 8 - 4) // 2 + 1
    assert max(levels) - min(levels) < 100_000


@pytest.mark.parametrize(("family", "settings"), [("rlt_videomae", TINY), ("rlt_vjepa2", TINY_VJEPA2)])
def test_predictions_are_those_of_the_clip_alone_and_in_a_batch(family, settings, tmp_path):
    network, processor = load(str(save_family(tmp_path / "model", family, settings, [f"act {k}" for k in range(5)])))
    classifier, clips, found = StreamClassifier(network, processor, 2), SlidingWindow(processor, 2), []
    windows = []
    for frame in noise(40):
        if (prediction := classifier.push(frame)) is not None:
            found.append(prediction)
        clips.push(frame)
        if (window := clips.take()) is not None:
            windows.append(window)
    assert len(found) == len(windows) > 2
    for prediction, window in zip(found, windows, strict=True):
        with torch.no_grad():
            logits = network(window.pixel_values[None], run_lengths=window.run_lengths[None]).logits[0]
        best = logits.softmax(-1).topk(5)
        assert [label for label, _ in prediction.scores] == [f"act {k}" for k in best.indices]
        assert [score for _, score in prediction.scores] == pytest.approx(best.values.tolist(), abs=1e-6)
        assert (prediction.tokens_computed, prediction.tokens) == (int((window.run_lengths > 0).sum()), 64)
        assert 0 <= prediction.latency < 60
    for one, other in zip(found, classifier.classify(windows), strict=True):
        assert [label for label, _ in one.scores] == [label for label, _ in other.scores]
        assert [score for _, score in one.scores] == pytest.approx([score for _, score in other.scores], abs=1e-5)
    with pytest.raises(ValueError, match="Expected a classifier, received a model without a trained head"):
        StreamClassifier(network.base_model, processor)
