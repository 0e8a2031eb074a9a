# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which frames make a clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rlt.sampling import fps_indices, strided_indices, uniform_indices


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
    for call in (
        lambda: strided_indices(0, 1, 1),
        lambda: strided_indices(1, 0, 1),
        lambda: strided_indices(1, 1, 0),
        lambda: uniform_indices(0, 1),
        lambda: uniform_indices(1, -1),
        lambda: fps_indices(np.zeros(0), 1, 1),
        lambda: fps_indices(np.zeros(1), 1, 0),
        lambda: fps_indices(np.zeros(1), 1, float("nan")),
    ):
        with pytest.raises(ValueError, match="must be positive, received"):
            call()
