# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Augmentation changes all frames of a clip alike."""

import numpy as np
import pytest
import torch

from hf_rlt import RLTVideoProcessor, find_runs
from hf_rlt.data import ClipAugmentation

SIZE = {"height": 48, "width": 48}
OFF = {"crop_scale": 1.0, "horizontal_flip": 0.0, "rand_augment_ops": 0, "erasing": 0.0}
ALONE = {"crop_scale": 0.08, "horizontal_flip": 1.0, "rand_augment_ops": 8, "erasing": 1.0}


@pytest.fixture(scope="module")
def processor():
    return RLTVideoProcessor(size={"shortest_edge": 48}, crop_size=SIZE, patch_size=16)


def picture(seed: int = 0, height: int = 60, width: int = 90) -> np.ndarray:
    """`(height, width, 3)` uint8: smooth, in all grey levels, different from left to right."""
    waves = np.random.default_rng(seed).uniform(0, 0.3, (3, 2))
    y, x = np.mgrid[:height, :width]
    channels = [127 + 120 * np.sin(a * x + b * y + 7 * x / width) for a, b in waves]
    return np.stack(channels, -1).astype(np.uint8)


def apply(transform: ClipAugmentation, frames: np.ndarray, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return transform(frames)


def processed(processor, frames: np.ndarray) -> torch.Tensor:
    return processor(frames, input_data_format="channels_last", return_tensors="pt")["pixel_values"][0]


@pytest.mark.parametrize("name", [*OFF, "all"])
def test_what_stands_still_stands_still(processor, name):
    transform = ClipAugmentation(processor, **(ALONE if name == "all" else {**OFF, name: ALONE[name]}))
    still = np.repeat(picture()[None], 4, axis=0)
    plain = processed(processor, still)
    changed = 0
    for seed in range(4):
        clip = apply(transform, still, seed)
        assert (clip.shape, clip.dtype) == ((4, 3, 48, 48), torch.float32)
        assert all(torch.equal(clip[0], frame) for frame in clip)
        assert int((find_runs(clip[None], 0.0) > 0).sum()) == 9  # one token for each place
        changed += not torch.allclose(clip, plain, atol=0.05)
    assert changed >= 3


def test_one_frame_does_not_decide_what_happens_to_another(processor):
    transform = ClipAugmentation(processor, **ALONE)
    first, second = picture(0), picture(1)
    half = np.stack([first, np.where(np.arange(90)[None, :, None] < 45, first, second)])
    for seed in range(4):
        together = apply(transform, np.stack([first, second, first, first]), seed)
        assert torch.equal(together[0], together[2])
        assert torch.equal(together[0], apply(transform, np.stack([first] * 4), seed)[0])
        still = apply(ClipAugmentation(processor, **{**OFF, "rand_augment_ops": 4}), half, seed)
        assert (still[0] == still[1]).float().mean() > 0.3  # what does not move beside something that does


def test_without_changes_it_is_the_processor_and_a_flip_mirrors(processor):
    frames = np.stack([picture(i) for i in range(4)])
    plain = processed(processor, frames)
    assert torch.allclose(ClipAugmentation(processor, **OFF)(frames), plain, atol=1e-5)
    mirrored = ClipAugmentation(processor, **{**OFF, "horizontal_flip": 1.0})(frames)
    assert torch.allclose(mirrored, plain.flip(-1), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizontal_flip": 1.5}, "horizontal_flip .* received 1.5"),
        ({"crop_scale": 0.0}, "crop_scale .* received 0.0"),
        ({"rand_augment_magnitude": 11}, "rand_augment_magnitude in .0, 10., received 11"),
    ],
)
def test_settings_out_of_range(processor, settings, message):
    with pytest.raises(ValueError, match=message):
        ClipAugmentation(processor, **settings)
