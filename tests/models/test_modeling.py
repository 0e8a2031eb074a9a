# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLT-VideoMAE: what the tests of every family (`test_families.py`) do not say."""

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEModel

from helpers.tiny import GRID, TINY, randomise
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoMAEModel, find_runs

TOKENS = GRID[0] * GRID[1] * GRID[2]


@pytest.fixture
def make_model(tiny_config):
    def make(cls=RLTVideoMAEForVideoClassification, **changes):
        return randomise(cls(tiny_config(**changes)))

    return make


class TestPacked:
    @torch.no_grad()
    def test_computed_tokens_equal_videomae_with_the_other_tokens_removed(self, make_model, clips):
        """VideoMAE's own masking (`bool_masked_pos`) on one clip is an independent implementation of dropping."""
        config = VideoMAEConfig(**TINY)
        stock = randomise(VideoMAEModel(config))
        model = make_model(RLTVideoMAEModel)
        model.load_state_dict(stock.state_dict())
        lengths = find_runs(clips, 0.1, TINY["tubelet_size"], TINY["patch_size"])
        states = model(clips).last_hidden_state
        for clip, length, state in zip(clips, lengths, states, strict=True):
            expected = stock(clip[None], bool_masked_pos=(length == 0)[None]).last_hidden_state[0]
            torch.testing.assert_close(state[length > 0], expected, atol=1e-5, rtol=1e-5)


class TestDropPath:
    def test_it_has_the_right_expectation(self, make_model):
        layer = make_model(drop_path_rate=0.25).train().videomae.encoder.layer[2]
        torch.manual_seed(0)
        ids = torch.arange(4000).repeat_interleave(2)
        dropped = layer._drop_clips(torch.ones(1, 8000, 3), ids, 4000)[0].view(4000, 6)
        assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
        assert set(dropped.unique().tolist()) == {0.0, (torch.ones(()) / 0.75).item()}
        assert dropped.mean().item() == pytest.approx(1.0, abs=0.04)


class TestErrors:
    def test_messages_say_what_was_expected(self, make_model, clips):
        model = make_model()
        ones = torch.ones(4, TOKENS, dtype=torch.int64)
        for given, changes, sentence in [
            (clips[:, :6], {}, r"8 frames.*received 6 frames"),
            (clips[..., :24], {}, r"\(3, 32, 32\).*\(3, 32, 24\)"),
            (clips[0], {}, r"batch, frames.*\(8, 3, 32, 32\)"),
            (clips, {"run_lengths": ones[:, :63]}, r"\(4, 64\).*\(4, 63\)"),
            (clips, {"run_lengths": ones.float()}, "float32"),
            (clips, {"run_lengths": ones * torch.tensor([1, 1, 0, 1])[:, None]}, "Clip 2 of 4"),
            (clips, {"run_lengths": torch.where(torch.arange(TOKENS) == 3, 5, ones)}, "from 0 to 4, received 1 to 5"),
            (clips, {"bool_masked_pos": ones.bool()}, "bool_masked_pos"),
            (clips, {"labels": torch.zeros(4)}, r"\(4, 5\).*\(4,\)"),
        ]:
            with pytest.raises(ValueError, match=sentence):
                model(given, **changes)

    def test_configuration_refuses_what_makes_no_sense(self, tiny_config):
        for wrong in ({"threshold": float("nan")}, {"threshold": "0.1"}, {"drop_path_rate": 1.0}):
            with pytest.raises(Exception, match=next(iter(wrong))):
                tiny_config(**wrong)
