# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames make a clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rlt.models.sampling import fps_indices, strided_indices, uniform_indices, view_crops, view_positions


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9))
def test_strided_clips_are_centred_and_repeat_the_last_frame(total, num_frames, stride):
    indices = strided_indices(total, num_frames, stride)
    assert indices.shape == (num_frames,)
    assert indices.dtype == np.int64
    assert indices.min() >= 0
    assert indices.max() <= total - 1
    span = (num_frames - 1) * stride + 1
    if span <= total:
        assert (np.diff(indices) == stride).all()
        before, after = indices[0], total - 1 - indices[-1]
        assert 0 <= after - before <= 1
    else:
        assert indices.tolist() == [min(i * stride, total - 1) for i in range(num_frames)]


def test_strided_clips_from_a_given_start():
    assert strided_indices(100, 4, 3, position=1.0).tolist() == [90, 93, 96, 99]
    assert strided_indices(61, 16, 4).tolist() == list(range(0, 61, 4))


@given(st.integers(1, 300), st.integers(1, 40))
def test_uniform_takes_the_middles_of_equal_segments(total, num_frames):
    indices = uniform_indices(total, num_frames)
    assert indices.tolist() == [(2 * i + 1) * total // (2 * num_frames) for i in range(num_frames)]


@given(
    st.lists(st.integers(1, 50), min_size=0, max_size=40),
    st.integers(1, 12),
    st.sampled_from([0.5, 1, 2, 5, 10, 25, 100]),
    st.integers(-20, 20),
)
def test_fps_takes_the_frame_on_display(gaps, num_frames, fps, offset):
    timestamps = np.cumsum([offset, *gaps]) / 100
    indices = fps_indices(timestamps, num_frames, fps)
    assert indices.shape == (num_frames,)
    span = (num_frames - 1) / fps
    start = timestamps[0] + max(timestamps[-1] - timestamps[0] - span, 0) / 2
    for i, index in enumerate(indices):
        instant = start + i / fps
        expected = max(j for j, shown in enumerate(timestamps) if shown <= instant + 1e-6 or j == 0)
        assert index == expected


def test_fps_honours_unequal_distances():
    timestamps = np.array([0.0, 0.1, 0.2, 1.0, 2.0, 2.1])
    assert fps_indices(timestamps, 3, 1).tolist() == [0, 3, 4]
    constant = np.arange(100) / 30
    assert fps_indices(constant, 16, 30).tolist() == strided_indices(100, 16, 1).tolist()
    assert fps_indices(constant, 4, 7.5)[1:].tolist() == (fps_indices(constant, 4, 7.5)[:-1] + 4).tolist()


def test_numbers_that_are_not_positive_are_refused():
    nan, no, one = float("nan"), np.zeros(0), np.zeros(1)
    for take, wrong in {strided_indices: (1, 1, 0), uniform_indices: (1, -1), fps_indices: (one, 1, nan)}.items():
        with pytest.raises(ValueError, match="must be positive, received"):
            take(*wrong)
    with pytest.raises(ValueError, match="must be positive, received"):
        fps_indices(no, 1, 1)


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 6), st.floats(0, 1))
def test_a_position_moves_the_clip_from_the_beginning_to_the_end(total, num_frames, stride, position):
    free = max(total - (num_frames - 1) * stride - 1, 0)
    start = strided_indices(total, num_frames, stride, position)[0]
    assert abs(start - position * free) <= 0.5
    assert strided_indices(total, num_frames, stride, 0.0)[0] == 0
    assert strided_indices(total, num_frames, stride, 1.0)[-1] == total - 1 or free == 0
    times = np.arange(total) / 10
    first, last = (fps_indices(times, num_frames, 10.0, p) for p in (0.0, 1.0))
    assert first.tolist() == [min(i, total - 1) for i in range(num_frames)]
    assert last[-1] == total - 1 or total > num_frames
    spread = uniform_indices(total, num_frames, np.full(num_frames, position))
    assert spread.tolist() == uniform_indices(total, num_frames, position).tolist()
    assert spread.min() >= 0
    assert spread.max() <= total - 1


@pytest.mark.parametrize("position", [-0.1, 1.1, float("nan")])
def test_positions_out_of_range_are_refused(position):
    times = np.arange(50.0)
    for take, right in {strided_indices: (50, 4, 2), fps_indices: (times, 4, 1.0), uniform_indices: (50, 4)}.items():
        with pytest.raises(ValueError, match="position must be between 0 and 1"):
            take(*right, position)


def test_views_are_those_of_the_protocol():
    assert view_positions(1, "clip") == view_positions(1, "uniform") == [0.5]
    assert view_positions(5, "clip") == [0, 0.25, 0.5, 0.75, 1]
    assert view_positions(2, "uniform") == [0, 0.5]
    assert view_crops(224, 398, 224, 224, 3) == [(0, 0), (0, 87), (0, 174)]
    assert view_crops(398, 224, 224, 224, 3) == [(0, 0), (87, 0), (174, 0)]
    assert view_crops(240, 301, 224, 224, 1) == [(8, 38)]  # 38.5 and 8: as torchvision's centre crop rounds
    assert view_crops(224, 224, 224, 224, 3) == [(0, 0)] * 3
    with pytest.raises(ValueError, match="Expected frames of at least 224x224"):
        view_crops(200, 300, 224, 224, 3)
