# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Selection by difference against a literal reference, against VideoMAE, and as a model of the library."""

import copy

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VJEPA2Config, VJEPA2ForVideoClassification

from helpers.family_tests import FamilyTests
from helpers.reference_baselines import by_difference, embedded, proportional_rlt
from helpers.tiny import TINY, TINY_VJEPA2, moving_clips, randomise
from hf_rlt import (
    RLTVideoMAEConfig,
    RLTVideoMAEForVideoClassification,
    RLTVJEPA2ForVideoClassification,
    fill_runs,
)
from hf_rlt.baselines import (
    ByDifferenceVideoMAEConfig,
    ByDifferenceVideoMAEForVideoClassification,
    ByDifferenceVJEPA2ForVideoClassification,
)

SELECTING = ByDifferenceVideoMAEForVideoClassification
NOISE = torch.randn(3, 8, 3, 32, 32, generator=torch.Generator().manual_seed(5))  # no two differences are equal


class TestByDifference(FamilyTests):
    family = "by_difference_videomae"
    settings = {**TINY, "num_tokens": 25, "budget_groups": 3}  # noqa: RUF012
    test_pixels_of_dropped_tubelets_are_never_read = None  # the choice reads all of them

    @torch.no_grad()
    def test_runs_are_found_by_the_rule_of_the_configuration(self):
        model, ones = self.make(), torch.ones(4, 64, dtype=torch.int64)
        output, base = model(self.clips), model.base_model(self.clips)
        assert torch.equal(model.config.run_rule.find(self.clips), ones)
        assert (output.run_lengths > 0).sum(1).tolist() == [25] * 4
        again = model(self.clips, run_lengths=ones)
        assert torch.equal(again.logits, output.logits)
        assert torch.equal(again.run_lengths, base.run_lengths)
        assert model.base_model(self.clips, return_last_hidden_state=False).last_hidden_state is None


class TestByDifferenceVJEPA2(TestByDifference):
    family = "by_difference_vjepa2"
    settings = {**TINY_VJEPA2, "num_tokens": 25, "budget_groups": 3}  # noqa: RUF012


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """Stock VideoMAE, and its folder."""
    model = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY)))
    folder = tmp_path_factory.mktemp("stock")
    model.save_pretrained(folder)
    return model, folder


@pytest.mark.parametrize(
    ("tokens", "groups", "counts"),
    [
        (37, 1, [([1, 2, 3], 21)]),
        (28, 3, [([1], 4), ([2], 4), ([3], 4)]),
        (0.4375, 2, [([1], 6), ([2, 3], 6)]),
        (16, 1, []),
        (64, 1, [([1, 2, 3], 48)]),
    ],
)
@torch.no_grad()
def test_tokens_are_the_literal_ones(stock, tokens, groups, counts):
    model, folder = stock
    ours = SELECTING.from_pretrained(folder, num_tokens=tokens, budget_groups=groups)
    found = ours.videomae(NOISE).run_lengths
    projection = model.videomae.embeddings.patch_embeddings.projection
    assert found.tolist() == [by_difference(projection, clip, counts) for clip in NOISE]
    rlt = RLTVideoMAEForVideoClassification.from_pretrained(folder)
    assert torch.equal(ours(NOISE).logits, rlt(NOISE, run_lengths=found).logits)


@pytest.mark.parametrize(("frames", "tokens"), [(8, 0.4375), (6, 28), (4, 0.75)])
@torch.no_grad()
def test_tokens_of_vjepa2_are_the_literal_ones_whatever_the_number_of_frames(tmp_path, frames, tokens):
    model = randomise(VJEPA2ForVideoClassification(VJEPA2Config(**TINY_VJEPA2)))
    model.save_pretrained(tmp_path)
    ours = ByDifferenceVJEPA2ForVideoClassification.from_pretrained(tmp_path, num_tokens=tokens)
    clips, total, later = NOISE[:, :frames], 8 * frames, list(range(1, frames // 2))
    count = (tokens if isinstance(tokens, int) else round(tokens * total)) - 16
    found = ours(clips)
    projection = model.vjepa2.encoder.embeddings.patch_embeddings.proj
    assert found.run_lengths.tolist() == [by_difference(projection, clip, [(later, count)]) for clip in clips]
    assert ours.config.token_counts(total)[0] == 16 + count
    rlt = RLTVJEPA2ForVideoClassification.from_pretrained(tmp_path)
    assert torch.equal(found.logits, rlt(clips, run_lengths=found.run_lengths).logits)
    whole = ByDifferenceVJEPA2ForVideoClassification.from_pretrained(tmp_path)
    assert torch.equal(whole(clips).logits, model(clips).logits)


@torch.no_grad()
def test_a_token_stands_for_the_dropped_ones_after_it(stock):
    model, folder = stock
    ours = SELECTING.from_pretrained(folder, num_tokens=30, proportional_attention=True)
    output, wide = ours.videomae(NOISE), copy.deepcopy(model).double()
    for clip in range(len(NOISE)):
        lengths = output.run_lengths[clip]
        tokens = embedded(wide, NOISE[clip].double())[lengths > 0]
        wanted = proportional_rlt(wide, tokens, [float(each) for each in lengths if each > 0])
        torch.testing.assert_close(ours(NOISE[clip, None]).logits[0].double(), wanted, rtol=1e-4, atol=1e-5)
    states = output.last_hidden_state
    assert torch.equal(states, fill_runs(states, output.run_lengths, 4))
    assert (states != 0).any(2).all()


@torch.no_grad()
def test_of_equal_differences_the_first_stay_and_what_stands_still_does_not_count(stock):
    ours = SELECTING.from_pretrained(stock[1], num_tokens=28)
    found = ours.videomae(moving_clips()).run_lengths.view(4, 4, 4, 4)
    assert (found[0, 0].flatten() == torch.tensor([1] * 12 + [4] * 4)).all()  # nothing moves: ties
    assert (found[0, 1] > 0).flatten().tolist() == [True] * 12 + [False] * 4
    assert (found[1, 1:, 0] == 1).all()  # of the first row, all that moves
    assert (found[1, 0, 1:] == 4).all()


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@torch.no_grad()
def test_with_all_tokens_it_is_videomae_bit_for_bit(stock, backend):
    model, folder = stock
    model.set_attn_implementation(backend)
    for tokens in (None, 64, 1.0):
        ours = SELECTING.from_pretrained(folder, attn_implementation=backend, num_tokens=tokens)
        assert torch.equal(ours(NOISE).logits, model(NOISE).logits)
    model.set_attn_implementation("sdpa")


def test_every_parameter_is_trained_and_the_selection_is_not(stock):
    ours = SELECTING.from_pretrained(stock[1], num_tokens=0.3).train()
    ours(NOISE, labels=torch.tensor([0, 1, 2])).loss.backward()
    gradient = {name: parameter.grad for name, parameter in ours.named_parameters()}
    rlt = RLTVideoMAEForVideoClassification.from_pretrained(stock[1]).train()
    runs = ours.videomae(NOISE).run_lengths
    rlt(NOISE, labels=torch.tensor([0, 1, 2]), run_lengths=runs).loss.backward()
    for name, parameter in rlt.named_parameters():
        assert torch.equal(gradient[name], parameter.grad), name


@torch.no_grad()
def test_what_is_kept_is_not_decided_by_the_rounding_of_products(stock):
    half = SELECTING.from_pretrained(stock[1], num_tokens=0.5, dtype=torch.bfloat16)
    rounded = copy.deepcopy(half).float()
    assert half.videomae(NOISE.bfloat16()).pooler_output.dtype == torch.bfloat16
    for tokens in range(20, 60, 5):
        half.config.num_tokens = rounded.config.num_tokens = tokens
        wanted = rounded.videomae(NOISE.bfloat16().float()).run_lengths
        assert torch.equal(half.videomae(NOISE.bfloat16()).run_lengths, wanted)
    whole = SELECTING.from_pretrained(stock[1], num_tokens=0.5)
    kept = whole.videomae(NOISE).run_lengths
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(whole.videomae(NOISE).run_lengths, kept)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 0.1}, "Expected threshold=None with selection by difference"),
        ({"rule": "anchor"}, "Expected rule='threshold'"),
        ({"max_tokens": 0.5}, "Expected max_tokens=None"),
        ({"num_tokens": 0.5, "budget": "batch"}, "Expected budget='clip'"),
        ({"num_tokens": 100}, "num_tokens to be at least 196"),
        ({"num_tokens": 0.5, "budget_groups": 8}, "budget_groups to be at most 7"),
    ],
)
def test_settings_that_do_not_fit(settings, words):
    with pytest.raises(Exception, match=words):
        ByDifferenceVideoMAEConfig(**settings)


def test_run_lengths_that_contradict_the_selection_are_refused(stock):
    ours = SELECTING.from_pretrained(stock[1], num_tokens=0.5)
    with pytest.raises(ValueError, match="chooses from all tokens of a clip"):
        ours(NOISE, run_lengths=ours.videomae(NOISE).run_lengths)


def test_a_clip_of_one_tubelet_in_time_is_whole():
    model = randomise(SELECTING(ByDifferenceVideoMAEConfig(**{**TINY, "num_frames": 2, "num_tokens": 16})))
    assert (model(NOISE[:, :2]).run_lengths == 1).all()


@pytest.mark.slow
@torch.no_grad()
def test_the_whole_model_compiles_as_one_graph(stock):
    ours = SELECTING.from_pretrained(stock[1], num_tokens=0.4)
    found = torch.compile(ours, backend="aot_eager", fullgraph=True)(NOISE).logits
    torch.testing.assert_close(found, ours(NOISE).logits, rtol=1e-4, atol=1e-5)


def test_an_rlt_checkpoint_is_opened_without_its_rule(tmp_path):
    RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**TINY, rule="anchor", max_tokens=0.5)).save_pretrained(
        tmp_path
    )
    config = ByDifferenceVideoMAEForVideoClassification.from_pretrained(tmp_path, num_tokens=0.3).config
    assert (config.threshold, config.rule, config.max_tokens, config.num_tokens) == (None, "threshold", None, 0.3)
    with pytest.raises(StrictDataclassError, match="Expected threshold=None"):
        ByDifferenceVideoMAEForVideoClassification.from_pretrained(tmp_path, num_tokens=0.3, threshold=0.1)
