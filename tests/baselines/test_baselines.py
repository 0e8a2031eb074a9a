# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Random masking, ToMe and STA against literal references, against VideoMAE, and as models of the library."""

import copy
import shutil

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from helpers.family_tests import FamilyTests
from helpers.flash import use_flash
from helpers.reference_baselines import embedded, sta, tome
from helpers.tiny import TINY, TINY_VJEPA2, moving_clips, randomise
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVJEPA2ForVideoClassification, find_runs
from hf_rlt.baselines import (
    RandomMaskingVideoMAEForVideoClassification,
    RandomMaskingVJEPA2ForVideoClassification,
    STAVideoMAEConfig,
    STAVideoMAEForVideoClassification,
    ToMeVideoMAEConfig,
    ToMeVideoMAEForVideoClassification,
)
from hf_rlt.models.packed_attention import with_key_bias

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="flex_attention on the CPU needs a C++ compiler."
)
MERGED = ToMeVideoMAEForVideoClassification
NOTHING = [
    (RandomMaskingVideoMAEForVideoClassification, {"token_keep_ratio": 1.0}),
    (MERGED, {"r": 0}),
    (MERGED, {"r": 0, "proportional_attention": True}),
    (STAVideoMAEForVideoClassification, {"r": 0}),
]
SOMETHING = [
    (RandomMaskingVideoMAEForVideoClassification, {"token_keep_ratio": 0.4}),
    (MERGED, {"r": 7}),
    (MERGED, {"r": 9, "proportional_attention": True, "threshold": 0.1}),
    (STAVideoMAEForVideoClassification, {"r": 3}),
]


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """Stock VideoMAE, and its folder."""
    torch.manual_seed(0)
    model = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY)))
    folder = tmp_path_factory.mktemp("stock")
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def noise():
    """Clips without two equal tubelets, so that no order depends on rounding."""
    return torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(5))


class TestRandomMasking(FamilyTests):
    family = "random_masking_videomae"
    settings = {**TINY, "threshold": 0.1, "token_keep_ratio": 1.0}  # noqa: RUF012


class TestRandomMaskingVJEPA2(FamilyTests):
    family = "random_masking_vjepa2"
    settings = {**TINY_VJEPA2, "threshold": 0.1, "token_keep_ratio": 1.0}  # noqa: RUF012


class TestToMe(FamilyTests):
    family = "tome_videomae"
    settings = {**TINY, "r": 7}  # noqa: RUF012
    clips = torch.randn(4, 8, 3, 32, 32, generator=torch.Generator().manual_seed(2))  # no ties


class TestToMeAfterRLT(TestToMe):
    settings = {**TINY, "r": 9, "proportional_attention": True, "threshold": 0.1}  # noqa: RUF012
    runs = find_runs(moving_clips(), 0.1, 2, 8)  # clips of unequal length


class TestSTA(TestToMe):
    family = "sta_videomae"
    settings = {**TINY, "r": 3}  # noqa: RUF012


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize(("kind", "settings"), NOTHING, ids=lambda value: getattr(value, "__name__", str(value)))
def test_that_keep_everything_they_are_videomae_bit_for_bit(stock, clips, kind, settings, backend):
    model, folder = stock
    model.set_attn_implementation(backend)
    ours = kind.from_pretrained(folder, attn_implementation=backend, **settings)
    assert torch.equal(ours(clips).logits, model(clips).logits)
    assert torch.equal(ours.videomae(clips).last_hidden_state, model.videomae(clips).last_hidden_state)
    model.set_attn_implementation("sdpa")


@pytest.fixture
def wide(stock):
    """Stock VideoMAE in float64."""
    return copy.deepcopy(stock[0]).double()


@pytest.mark.parametrize(("r", "proportional"), [(5, False), (5, True), (32, False), ([0, 20, 3], True)])
@torch.no_grad()
def test_tome_is_the_literal_one(stock, wide, noise, r, proportional):
    ours = MERGED.from_pretrained(stock[1], r=r, proportional_attention=proportional).double()
    found, logits = ours.videomae(noise.double()), ours(noise.double()).logits
    for clip in range(2):
        schedule = r if isinstance(r, list) else [r] * 3
        wanted, groups, left = tome(wide, embedded(wide, noise[clip].double()), schedule, proportional)
        torch.testing.assert_close(logits[clip], wanted)
        assert len(groups) == ours.config.token_counts(64)[-1]
        for group, token in zip(groups, left, strict=True):
            for place in group:
                torch.testing.assert_close(found.last_hidden_state[clip, place], token)


@torch.no_grad()
def test_tome_on_runs_is_the_literal_one_on_the_computed_tokens(stock, wide, clips):
    # No two tubelets alike, but rows that RLT is told are static: clips of unequal length without ties.
    pixels = torch.randn(clips.shape, generator=torch.Generator().manual_seed(3)).double()
    runs = find_runs(clips, 0.1, 2, 8)
    ours = MERGED.from_pretrained(stock[1], r=6, proportional_attention=True, threshold=0.1).double()
    logits = ours(pixels, run_lengths=runs).logits
    for clip in range(4):
        tokens = embedded(wide, pixels[clip])[runs[clip] > 0]
        spans = [float(length) for length in runs[clip] if length > 0]
        torch.testing.assert_close(logits[clip], tome(wide, tokens, [6, 6, 6], True, spans)[0])


@pytest.mark.parametrize("r", [1, 6])
@torch.no_grad()
def test_sta_is_the_literal_one(stock, wide, noise, r):
    ours = STAVideoMAEForVideoClassification.from_pretrained(stock[1], r=r).double()
    logits, states = ours(noise.double()).logits, ours.videomae(noise.double()).last_hidden_state
    for clip in range(2):
        wanted, places, left = sta(wide, embedded(wide, noise[clip].double()), 4, r)
        torch.testing.assert_close(logits[clip], wanted)
        assert len(places) == 64 - 7 * r == ours.config.token_counts(64)[-1]
        torch.testing.assert_close(states[clip, places], left)
        others = sorted(set(range(64)) - set(places))
        assert (states[clip, others] == 0).all()


@pytest.mark.parametrize("threshold", [None, 0.1])
@pytest.mark.parametrize(
    ("masked", "whole", "shape"),
    [
        (RandomMaskingVideoMAEForVideoClassification, RLTVideoMAEForVideoClassification, TINY),
        (RandomMaskingVJEPA2ForVideoClassification, RLTVJEPA2ForVideoClassification, TINY_VJEPA2),
    ],
    ids=["VideoMAE", "V-JEPA 2"],
)
def test_random_masking_is_rlt_on_the_kept_tokens(clips, threshold, masked, whole, shape):
    rlt = randomise(whole(whole.config_class(**shape)))
    ours = masked(masked.config_class(**shape, token_keep_ratio=0.3, threshold=threshold)).eval()
    ours.load_state_dict(rlt.state_dict())
    torch.manual_seed(1)
    output = ours(clips)
    runs = find_runs(clips, threshold, 2, 8)
    computed, kept = (runs > 0).sum(1), output.run_lengths > 0
    assert kept.sum(1).tolist() == [round(0.3 * n) for n in computed.tolist()]
    assert (output.run_lengths[kept] == runs[kept]).all()
    assert torch.equal(output.logits, rlt(clips, run_lengths=output.run_lengths).logits)
    torch.manual_seed(1)
    assert torch.equal(ours(clips).logits, output.logits)
    assert not torch.equal(ours(clips).logits, output.logits)


def test_key_bias_through_wider_heads_is_the_additive_bias():
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 16, generator=generator).unbind()
    bias = torch.rand(2, 1, 1, 9, generator=generator) * 3
    attend = torch.nn.functional.scaled_dot_product_attention
    wanted = attend(query, key, value, attn_mask=bias, scale=0.25)
    wide = attend(*with_key_bias(query, key, value, bias, 0.25), scale=0.25)
    torch.testing.assert_close(wide[..., :16], wanted, rtol=1e-5, atol=1e-6)
    assert (wide[..., 16:] == 0).all()
    # Half precision: the logits of sizes up to 8 are as good as the dtype of the products allows.
    half = [each.bfloat16() for each in (query, key, value)]
    q, k, _ = with_key_bias(*half, bias, 0.25)
    carried = (q[..., 16:].float() @ k[..., 16:].float().transpose(2, 3)) * 0.25
    torch.testing.assert_close(carried, bias.expand_as(carried), rtol=1e-4, atol=1e-4)


def test_flash_attention_gets_lengths_of_every_block_and_the_bias(stock, monkeypatch):
    pixels = torch.randn(3, 8, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    runs = find_runs(moving_clips(3), 0.1, 2, 8)
    model = MERGED.from_pretrained(stock[1], r=5, proportional_attention=True)
    wanted = model(pixels, run_lengths=runs).logits
    calls = use_flash(monkeypatch, model)
    torch.testing.assert_close(model(pixels, run_lengths=runs).logits, wanted, rtol=1e-4, atol=1e-5)
    expected = [[0, *torch.tensor([n - 5 * block for n in (16, 28, 40)]).cumsum(0).tolist()] for block in range(3)]
    assert [call["bounds"] for call in calls] == expected


@pytest.mark.parametrize(("kind", "settings"), SOMETHING, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("reentrant", [True, False])
def test_they_train_with_checkpointing_and_drop_path(stock, kind, settings, reentrant):
    _, folder = stock
    pixels = torch.randn(3, 8, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    gradients = []
    for checkpointing in (False, True):
        model = kind.from_pretrained(folder, drop_path_rate=0.3, **settings).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        torch.manual_seed(3)
        model(pixels, labels=torch.tensor([0, 1, 2])).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(gradient is not None for gradient in gradients[0])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_schedules():
    def counts(**settings):
        return ToMeVideoMAEConfig(num_hidden_layers=12, **settings)

    assert counts(r=65).token_counts(1568)[-1] == 788  # the figure of the description
    assert sum(counts(r=65, inflection=-1.0).schedule()) == pytest.approx(65 * 12, abs=12)
    falling = counts(r=65, inflection=-1.0).schedule()
    assert (falling[0], falling[-1]) == (130, 0)
    assert falling == sorted(falling, reverse=True)
    assert counts(r=65, inflection=1.0).schedule() == falling[::-1]
    assert counts(r=1000).token_counts(1568)[:4] == [1568, 784, 392, 196]
    assert STAVideoMAEConfig(r=64).token_counts(1568)[-1] == 672  # the figure of the description
    assert STAVideoMAEConfig(r=64).stages() == {0: 8, 4: 4, 8: 2}


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (ToMeVideoMAEConfig, {"r": -1}, "r >= 0"),
        (ToMeVideoMAEConfig, {"r": [1, 2]}, "each of 12 blocks"),
        (ToMeVideoMAEConfig, {"r": 3, "inflection": 1.5}, "inflection in"),
        (ToMeVideoMAEConfig, {"r": [1] * 12, "inflection": 0.5}, "0 with a list"),
        (ToMeVideoMAEConfig, {"use_mean_pooling": False}, "use_mean_pooling=True"),
        (STAVideoMAEConfig, {"r": -1}, "r >= 0"),
        (STAVideoMAEConfig, {"proportional_attention": True}, "proportional_attention=False"),
        (STAVideoMAEConfig, {"threshold": 0.1}, "threshold=None"),
        (STAVideoMAEConfig, {"num_frames": 12}, "4 divides"),
        (STAVideoMAEConfig, {"num_hidden_layers": 2}, "at least 3 blocks"),
        (RandomMaskingVideoMAEForVideoClassification.config_class, {"token_keep_ratio": 0.0}, "token_keep_ratio"),
    ],
)
def test_settings_that_do_not_fit(kind, settings, words):
    with pytest.raises(Exception, match=words):
        kind(**settings)


def test_what_cannot_be_done_is_said(stock, clips):
    _, folder = stock
    accumulated = STAVideoMAEForVideoClassification.from_pretrained(folder, r=3)
    with pytest.raises(ValueError, match="STA needs every token of a clip"):
        accumulated(clips, run_lengths=find_runs(clips, 0.1, 2, 8))
    with pytest.raises(ValueError, match="nothing would be left"):
        STAVideoMAEForVideoClassification.from_pretrained(folder, r=10)(clips)
    merged = MERGED.from_pretrained(folder, r=3, threshold=0.1)
    with pytest.raises(ValueError, match="pass clips one by one"):
        merged(clips, output_hidden_states=True)
    merged.set_attn_implementation("eager")
    output = merged(clips[:1], output_hidden_states=True, output_attentions=True)
    assert [state.shape[1] for state in output.hidden_states] == merged.config.token_counts(16)
    assert [tuple(each.shape) for each in output.attentions] == [(1, 4, n, n) for n in (16, 13, 10)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("kind", "settings"), SOMETHING, ids=lambda value: getattr(value, "__name__", str(value)))
def test_half_precision_is_near(stock, noise, kind, settings, dtype):
    _, folder = stock
    settings = {**settings, "threshold": None}
    whole, half = kind.from_pretrained(folder, **settings), kind.from_pretrained(folder, dtype=dtype, **settings)
    torch.manual_seed(0)
    wanted = whole(noise).logits
    torch.manual_seed(0)
    found = half(noise.to(dtype)).logits
    assert found.dtype == dtype
    assert half.videomae(noise.to(dtype)).pooler_output.dtype == dtype
    # Rounding in the blocks before can change which tokens are alike, so this is no equality.
    assert (found.float() - wanted).abs().mean() < 0.35 * wanted.abs().mean()


@pytest.mark.parametrize(("kind", "settings"), SOMETHING[1:], ids=["ToMe", "RLT+ToMe", "STA"])
def test_nothing_waits_for_the_device_within_the_blocks(stock, clips, kind, settings, monkeypatch):
    """Lengths go to the host once, before the blocks, or not at all if all are equal; numbers come to the device once."""
    _, folder = stock
    model = kind.from_pretrained(folder, **settings)
    seen = {"tolist": 0, "item": 0, "tensor": 0}

    def counting(name, function):
        def call(*arguments, **options):
            seen[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(torch.Tensor, "tolist", counting("tolist", torch.Tensor.tolist))
    monkeypatch.setattr(torch.Tensor, "item", counting("item", torch.Tensor.item))
    monkeypatch.setattr(torch, "tensor", counting("tensor", torch.tensor))
    model(clips)
    assert seen == {"tolist": int(model.config.threshold is not None), "item": 0, "tensor": 1}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "settings"), SOMETHING[1:], ids=["ToMe", "RLT+ToMe", "STA"])
def test_compiled_is_the_same(stock, clips, kind, settings):
    _, folder = stock
    model = kind.from_pretrained(folder, **settings)
    with torch.no_grad():
        wanted = model(clips).logits
        found = torch.compile(model, backend="aot_eager")(clips).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
