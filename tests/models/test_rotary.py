# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2's rotary positions against the definition."""

import math

import pytest
import torch

from helpers.tiny import TINY_VJEPA2, moving_clips
from hf_rlt import HfRltError, RLTVJEPA2Config, RLTVJEPA2Model
from hf_rlt.models.attention_rlt_vjepa2 import rotary_tables, rotate


def rotated(vector: list[float], place: int, side: int, interleave: bool, trained_side: int | None) -> list[float]:
    """Rotate one head's channels, part by part and channel by channel."""
    size = len(vector)
    part = size // 3 // 2 * 2
    scale = 1 if trained_side is None else (trained_side - 1) / (side - 1)
    positions = (place // side**2, place % side**2 // side * scale, place % side * scale)
    out = list(vector)
    for number, position in enumerate(positions):
        for channel in range(part):
            frequency = channel // 2 if interleave else channel % (part // 2)
            angle = position / 10000 ** (frequency / (part / 2))
            at = number * part + channel
            neighbour = -vector[at + 1] if channel % 2 == 0 else vector[at - 1]
            out[at] = vector[at] * math.cos(angle) + neighbour * math.sin(angle)
    return out


@pytest.mark.parametrize("trained_side", [None, 16])
@pytest.mark.parametrize("interleave", [False, True])
def test_rotation_is_that_of_the_definition(interleave, trained_side):
    places, states = torch.tensor([[0, 5, 17, 40]]), torch.randn(1, 2, 4, 32, dtype=torch.float64)
    rotary = rotary_tables(places[:, None], 4, 32, torch.float64, interleave, trained_side)
    found = rotate(states, rotary)
    for head in range(2):
        for number, place in enumerate(places[0].tolist()):
            wanted = rotated(states[0, head, number].tolist(), place, 4, interleave, trained_side)
            torch.testing.assert_close(found[0, head, number], torch.tensor(wanted, dtype=torch.float64))


def test_the_settings_of_2_1_count_and_leave_the_predictor_out():
    clips = moving_clips()
    model = RLTVJEPA2Model(RLTVJEPA2Config(**TINY_VJEPA2)).eval()
    with torch.no_grad():
        own = model(clips).last_hidden_state
        for name in ("interleave", "interpolate_rope"):
            setattr(model.config, name, True)
            assert (model(clips).last_hidden_state - own).abs().max() > 1e-3
            with pytest.raises(HfRltError, match="leave skip_predictor=True"):
                model(clips, skip_predictor=False)
            setattr(model.config, name, False)
