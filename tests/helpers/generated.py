# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Generated clips, for tests with hypothesis."""

import numpy as np
import torch
from hypothesis import strategies as st

from helpers import reference

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]


@st.composite
def clips_and_sizes(draw):
    """Clips of small integers (exact in every dtype), some of whose tubelets repeat; sides need not divide."""
    tubelet = draw(st.integers(1, 4))
    patch = draw(st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 4))))
    height_p, width_p = reference.pair(patch)
    tubelets = draw(st.integers(1, 5))
    frames = tubelets * tubelet + draw(st.integers(0, tubelet - 1))
    height = height_p * draw(st.integers(1, 3)) + draw(st.integers(0, height_p - 1))
    width = width_p * draw(st.integers(1, 3)) + draw(st.integers(0, width_p - 1))
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**20)))
    clips = generator.integers(0, 4, (batch, frames, channels, height, width))
    for frame in range(1, frames):  # pixels stay with some probability, whole patches often enough
        stay = generator.random((batch, 1, height // height_p + 1, width // width_p + 1)) < 0.6
        stay = stay.repeat(height_p, 2).repeat(width_p, 3)[:, :, :height, :width]
        clips[:, frame] = np.where(stay, clips[:, frame - 1], clips[:, frame])
    dtype = draw(st.sampled_from(DTYPES))
    return torch.from_numpy(clips).to(dtype), tubelet, patch
