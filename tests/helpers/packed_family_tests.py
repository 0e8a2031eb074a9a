# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tests that every family passes whose encoder is transformers', on the packed layout."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers.family_tests import FamilyTests, gradients
from helpers.flash import use_flash, use_varlen
from helpers.tiny import FRAMES, GRID, SIDE, moving_clips
from hf_rlt.errors import HfRltError
from hf_rlt.export import TokenModel, padded_inputs

TOKENS = GRID[0] * GRID[1] * GRID[2]
PRECISIONS = [(torch.float32, False), (torch.bfloat16, False), (torch.float32, True)]  # of weights; whether autocast
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="flex_attention on the CPU needs a C++ compiler."
)
close = torch.testing.assert_close


def tubelet(clip, place):
    """Cut the `(s, C, p, p)` tubelet at a place of a clip."""
    time, row, column = place // 16, place // 4 % 4, place % 4
    return clip[2 * time : 2 * time + 2, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]


class PackedFamilyTests(FamilyTests):
    """Guarantees of a family.

    Attributes:
        lora: settings of LoRA on its encoder.
        poolings: calls of attention that end in one token per clip, after all others.
        poolers: other calls of attention, after the encoder's.
    """

    lora: dict = {"target_modules": ["query", "value"]}  # noqa: RUF012
    poolings = 0
    poolers = 0

    def with_stock(self, backend, **changes):
        """Make a dense model, and stock with its weights."""
        if self.stock is None:
            pytest.skip("has no stock model")
        model = self.make(backend, threshold=None, **changes)
        config = self.stock.config_class.from_dict(model.config.to_dict())
        config._attn_implementation = backend
        stock = self.stock(config).eval()
        stock.load_state_dict(model.state_dict())
        return model, stock

    @pytest.mark.parametrize(("dtype", "autocast"), PRECISIONS)
    @pytest.mark.parametrize("backend", ["sdpa", "eager"])
    def test_dense_is_stock_bit_for_bit_in_every_precision_gradients_too(self, backend, dtype, autocast):
        model, stock = (each.to(dtype) for each in self.with_stock(backend))
        outputs, states = [], []
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            for each in (model, stock):
                outputs.append(each(self.clips.to(dtype), labels=torch.arange(4)))
                states.append(each.base_model(self.clips.to(dtype)).last_hidden_state)
                outputs[-1].logits.square().sum().backward()
        assert outputs[0].logits.dtype == outputs[1].logits.dtype
        assert torch.equal(outputs[0].logits, outputs[1].logits)
        assert torch.equal(*states)
        theirs = dict(stock.named_parameters())
        assert all(torch.equal(gradient, theirs[name].grad) for name, gradient in gradients(model).items())

    @torch.no_grad()
    def test_hidden_states_and_attentions_of_a_dense_batch_are_stocks(self):
        model, stock = self.with_stock("eager")
        asked = {"output_hidden_states": True, "output_attentions": True}
        for pair in ((stock, model), (stock.base_model, model.base_model)):
            expected, output = (each(self.clips, **asked) for each in pair)
            for field in ("hidden_states", "attentions"):
                assert len(output[field]) == len(expected[field])
                assert all(torch.equal(a, b) for a, b in zip(output[field], expected[field], strict=True))

    @torch.no_grad()
    def test_packed_base_model_equals_the_computed_tokens_of_each_clip(self):
        model = self.make().base_model
        packed, runs = model(self.clips), model.config.run_rule.find(self.clips)
        alone = [model(clip[None], run_lengths=run[None]) for clip, run in zip(self.clips, runs, strict=True)]
        assert packed.last_hidden_state.shape == (4, TOKENS, model.config.hidden_size)
        for field in ("last_hidden_state", "pooler_output"):
            close(packed[field], torch.cat([each[field] for each in alone]), atol=1e-5, rtol=1e-5)
        still = packed.last_hidden_state[0].view(GRID[0], -1, model.config.hidden_size)
        assert torch.equal(still, still[:1].expand_as(still))

    @torch.no_grad()
    def test_any_run_lengths_are_taken(self):
        model = self.make()
        runs = (torch.rand(4, TOKENS, generator=torch.Generator().manual_seed(0)) < 0.5).long()
        output = model(self.clips, run_lengths=runs.int())
        assert torch.equal(output.run_lengths, runs)
        alone = [model(self.clips[i, None], run_lengths=runs[i, None]).logits for i in range(4)]
        close(output.logits, torch.cat(alone), atol=1e-5, rtol=1e-5)

    def test_computed_tubelets_in_place_of_clips_change_no_bit(self):
        for model in (self.make(), self.make(threshold=None), self.make(num_tokens=20)):
            runs = model.config.run_rule.find(self.clips)
            places = [(clip, place) for clip in range(4) for place in range(TOKENS) if runs[clip, place]]
            tubelets = torch.stack([tubelet(self.clips[clip], place) for clip, place in places])
            both = (self.clips, {}), (None, {"tubelets": tubelets})
            outputs = [model(clips, torch.arange(4), runs, **given) for clips, given in both]
            found = [torch.autograd.grad(output.loss, model.classifier.weight)[0] for output in outputs]
            assert torch.equal(outputs[0].logits, outputs[1].logits)
            assert torch.equal(*found)
            views = model(run_lengths=runs.unflatten(0, (2, 2)), tubelets=tubelets)
            assert torch.equal(views.logits, model(self.clips.unflatten(0, (2, 2))).logits)
            states = [model.base_model(clips, runs, **given).last_hidden_state for clips, given in both]
            assert torch.equal(*states)

    @torch.no_grad()
    def test_the_exported_part_equals_it_on_padded_clips(self):
        for changes in ({}, {"proportional_attention": True}, {"threshold": None}, {"num_tokens": 20}):
            model = self.make("eager", **changes)
            expected = model(self.clips)
            kept = [(clip, place) for clip in range(4) for place in range(TOKENS) if expected.run_lengths[clip, place]]
            cut = torch.stack([tubelet(self.clips[clip], place) for clip, place in kept])
            for tokens in (None, TOKENS, TOKENS + 9):
                given = tubelets, places, runs = padded_inputs(cut, expected.run_lengths, tokens)
                for clip in range(4):
                    computed = expected.run_lengths[clip].nonzero()[:, 0].tolist()
                    for slot, place in enumerate(computed):
                        assert torch.equal(
                            tubelets[clip, slot], tubelet(self.clips[clip], place).transpose(0, 1).flatten()
                        )
                    assert places[clip].tolist() == computed + [0] * (len(places[clip]) - len(computed))
                    rest = [0] * (len(runs[clip]) - len(computed))
                    assert runs[clip].tolist() == expected.run_lengths[clip][computed].tolist() + rest
                close(TokenModel(model)(*given), expected.logits, atol=1e-5, rtol=1e-5)
            given[0][given[2] == 0] = 1e6  # padding is never seen
            close(TokenModel(model)(*given), expected.logits, atol=1e-5, rtol=1e-5)

    def test_tubelets_that_do_not_fit_are_refused(self):
        model, tubelets = self.make(), torch.zeros(16, 2, 3, 8, 8)
        runs = torch.zeros(1, TOKENS, dtype=torch.int64)
        runs[:, :16] = 4
        model(tubelets=tubelets, run_lengths=runs)
        for given, message in (
            ({}, "received no run_lengths"),
            ({"run_lengths": runs, "pixel_values": self.clips[:1]}, "received pixel_values too"),
            ({"run_lengths": runs[:, 1:]}, "Expected run_lengths of shape"),
            ({"run_lengths": runs[0]}, "Expected run_lengths as a tensor of 2 dimensions, received \\(64,\\)"),
            ({"run_lengths": runs.tolist()}, "Expected run_lengths as a tensor of 2 dimensions, received list"),
            ({"run_lengths": runs, "tubelets": tubelets.flatten(1)}, "Expected tubelets as a tensor of 5 dimensions"),
            (
                {"run_lengths": runs.clamp(max=1).roll(1, 0).cumsum(1)},
                "Expected run lengths from 0 to 4|Expected tubelets of",
            ),
        ):
            with pytest.raises(HfRltError, match=message):
                model(**{"tubelets": tubelets, **given})
        for wrong in (tubelets[1:], tubelets[:, :1], tubelets[..., :4]):
            with pytest.raises(
                HfRltError, match=r"Expected tubelets of shape \(16, 2, 3, 8, 8\), one for each run length"
            ):
                model(tubelets=wrong, run_lengths=runs)

    def test_tubelets_of_frames_that_patches_do_not_fill(self):
        size = {"crop_size": 36} if "crop_size" in self.settings else {"image_size": 36}
        model = self.make(**size)
        clips = torch.nn.functional.pad(self.clips, (0, 4, 0, 4), value=3.0)
        runs = model.config.run_rule.find(clips)
        places = [(clip, place) for clip in range(4) for place in range(TOKENS) if runs[clip, place]]
        tubelets = torch.stack([tubelet(clips[clip], place) for clip, place in places])
        assert torch.equal(model(tubelets=tubelets, run_lengths=runs).logits, model(clips, run_lengths=runs).logits)

    @torch.no_grad()
    def test_a_frame_too_many_is_cut_off(self):
        for model in (self.make(), self.make(threshold=None)):
            longer = torch.cat([self.clips, torch.full_like(self.clips[:, :1], 9.0)], dim=1)
            assert torch.equal(model(longer).logits, model(self.clips).logits)

    @torch.no_grad()
    def test_flash_attention_receives_the_packed_sequence(self, monkeypatch):
        model = self.make()
        expected = model(self.clips)
        kept = (expected.run_lengths > 0).sum(1)
        calls = use_flash(monkeypatch, model)
        close(model(self.clips).logits, expected.logits, atol=1e-5, rtol=1e-5)
        config, tokens, single = model.config, [0, *kept.cumsum(0).tolist()], list(range(5))
        size = config.hidden_size // config.num_attention_heads + (8 if config.proportional_attention else 0)
        assert len(calls) == config.num_hidden_layers + self.poolers + self.poolings
        for place, call in enumerate(calls):
            queries = single if place >= len(calls) - self.poolings else tokens
            assert call["shape"] == (1, config.num_attention_heads, queries[-1], size)
            assert call["dropout"] == 0.0
            assert call["is_causal"] is False
            longest = 1 if queries is single else int(kept.max())
            for side, bounds, most in (("q", queries, longest), ("k", tokens, int(kept.max()))):
                assert call[f"cu_seq_lens_{side}"].dtype == torch.int32
                assert call[f"cu_seq_lens_{side}"].tolist() == bounds
                assert type(call[f"max_length_{side}"]) is int
                assert call[f"max_length_{side}"] == most

    @pytest.mark.parametrize("autocast", [False, True])
    @pytest.mark.parametrize("proportional", [False, True])
    def test_torch_varlen_equals_the_loop_gradients_too(self, proportional, autocast, monkeypatch):
        model = self.make("sdpa", proportional_attention=proportional).train()
        found = []
        for packed in (False, True):
            calls = use_varlen(monkeypatch, model) if packed else []
            model.zero_grad()
            with torch.autocast("cpu", enabled=autocast):
                logits = model(self.clips).logits
            logits.float().square().sum().backward()
            found.append((logits, gradients(model)))
        assert len(calls) == model.config.num_hidden_layers + self.poolers + self.poolings
        tolerance = {"atol": 0.05, "rtol": 0.05} if autocast else {"atol": 1e-5, "rtol": 1e-5}
        close(found[1][0], found[0][0], **tolerance)
        for one, other in zip(*(each[1].values() for each in found), strict=True):
            close(one, other, atol=(0.05 if autocast else 1e-5) * max(1.0, float(other.abs().max())), rtol=0)

    def test_torch_varlen_leaves_dropout_equal_clips_and_states_to_sdpa(self, monkeypatch):
        for changes, kwargs, expected in (
            ({"attention_probs_dropout_prob": 0.1}, {}, 0),
            ({"num_tokens": 20}, {}, 0),
            ({}, {"output_hidden_states": True}, self.poolers + self.poolings),  # they come after the states
        ):
            model = self.make("sdpa", **changes).train()
            outcomes = []
            for packed in (False, True):
                calls = use_varlen(monkeypatch, model) if packed else []
                torch.manual_seed(0)
                outcomes.append(model(self.clips, **kwargs).logits)
            assert len(calls) == expected
            close(*outcomes, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_clips_of_equal_length_are_a_batch_for_flash_attention(self, monkeypatch):
        model = self.make(num_tokens=20)
        expected = model(self.clips).logits
        calls = use_flash(monkeypatch, model)
        close(model(self.clips).logits, expected, atol=1e-5, rtol=1e-5)
        assert {call["shape"][0] for call in calls} == {4}
        assert not any("cu_seq_lens_q" in call for call in calls)

    @pytest.mark.slow
    @needs_compiler
    @torch.no_grad()
    def test_flex_attention_equals_sdpa(self):
        for changes in ({}, {"num_tokens": 20}):
            model = self.make("flex_attention", **changes)
            packed = model(self.clips).logits
            model.config._attn_implementation = "sdpa"
            close(packed, model(self.clips).logits, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_proportional_attention_is_repeated_keys(self, monkeypatch):
        model = self.make("sdpa", proportional_attention=True)
        runs = model.config.run_rule.find(self.clips)
        expected = [model(self.clips[i, None], run_lengths=runs[i, None]).logits for i in range(4)]
        plain = self.make("sdpa", proportional_attention=False)
        assert not torch.allclose(plain(self.clips[2:3]).logits, expected[2], atol=1e-3)
        calls = []

        def repeated(module, query, key, value, attention_mask, scaling=None, **kwargs):
            calls.append(module)
            counts = runs[clip][runs[clip] > 0]
            keys, values = (each.repeat_interleave(counts, dim=2) for each in (key, value))
            return F.scaled_dot_product_attention(query, keys, values, scale=scaling).transpose(1, 2), None

        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", repeated)
        for clip in range(4):
            logits = model(self.clips[clip, None], run_lengths=runs[clip, None]).logits
            close(logits, expected[clip], atol=1e-5, rtol=1e-5)
        assert len(calls) == 4 * (model.config.num_hidden_layers + self.poolers + self.poolings)

    @torch.no_grad()
    def test_hidden_states_and_attentions_are_batch_first(self):
        model = self.make("eager")
        packed, config = model(self.clips), model.config
        assert packed.hidden_states is None
        assert packed.attentions is None
        output = model(self.clips, output_hidden_states=True, output_attentions=True)
        close(output.logits, packed.logits, atol=1e-5, rtol=1e-5)
        states = [model.base_model(self.clips, output_hidden_states=on).last_hidden_state for on in (True, False)]
        close(*states, atol=1e-5, rtol=1e-5)
        layers, heads = config.num_hidden_layers, config.num_attention_heads
        assert [each.shape for each in output.hidden_states] == [(4, TOKENS, config.hidden_size)] * (layers + 1)
        assert [each.shape for each in output.attentions] == [(4, heads, TOKENS, TOKENS)] * layers
        for attention in output.attentions:
            close(attention.sum(-1), torch.ones(4, heads, TOKENS))
            dropped = (output.run_lengths == 0)[:, None, None].expand_as(attention)
            assert attention[dropped].abs().max() == 0
        single = model(self.clips[1:2], output_hidden_states=True)
        for state, alone in zip(output.hidden_states, single.hidden_states, strict=True):
            close(state[1:2], alone, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_what_is_captured_stands_by_view(self):
        views, model = moving_clips(6).unflatten(0, (2, 3)), self.make("eager")
        output = model(views, labels=torch.tensor([0, 1]), output_hidden_states=True, output_attentions=True)
        heads = model.config.num_attention_heads
        close(output.loss, F.cross_entropy(output.logits, torch.tensor([0, 1])))
        assert output.run_lengths.shape == (2, 3, TOKENS)
        assert output.hidden_states[0].shape == (2, 3, TOKENS, model.config.hidden_size)
        assert output.attentions[0].shape == (2, 3, heads, TOKENS, TOKENS)
        given = model(views, run_lengths=output.run_lengths)
        close(given.logits, output.logits, atol=1e-5, rtol=1e-5)

    def test_whole_clips_are_dropped(self, monkeypatch):
        """With the same decisions, a packed batch in training equals its clips one by one."""
        model, clips = self.make(drop_path_rate=0.5).train(), self.clips
        decisions = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0.0]])  # 2 blocks x 2 branches
        drawn, chosen = [], slice(None)

        def bernoulli_(tensor, probability):
            values = decisions[len(drawn), chosen]
            drawn.append((probability, tensor.shape))
            return tensor.copy_(values)

        monkeypatch.setattr(torch.Tensor, "bernoulli_", bernoulli_)
        packed = model(clips).logits
        assert drawn == [(0.75, (4,)), (0.75, (4,)), (0.5, (4,)), (0.5, (4,))]
        drawn.clear()
        close(model(clips, output_hidden_states=True).logits, packed, atol=1e-5, rtol=1e-5)
        for b in range(4):
            drawn.clear()
            chosen = slice(b, b + 1)
            close(model(clips[b : b + 1]).logits, packed[b : b + 1], atol=1e-5, rtol=1e-5)
        close(model.eval()(clips).logits, self.make()(clips).logits)

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_gradient_checkpointing_changes_no_gradient(self, reentrant):
        model, labels = self.make().train(), torch.arange(4)
        model(self.clips, labels=labels).loss.backward()
        expected = gradients(model)
        model.zero_grad()
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        blocks = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
        assert len(blocks) >= model.config.num_hidden_layers + self.poolers + self.poolings
        assert all(each.gradient_checkpointing for each in blocks)
        model(self.clips, labels=labels).loss.backward()
        for name, gradient in gradients(model).items():
            close(gradient, expected[name], atol=1e-6, rtol=1e-6, msg=name)

    def test_lora_with_a_saved_classifier_trains_only_that(self):
        peft = pytest.importorskip("peft")
        config = peft.LoraConfig(r=2, modules_to_save=["classifier"], **self.lora)
        model = peft.get_peft_model(self.make(), config).train()
        model(pixel_values=self.clips, labels=torch.arange(4)).loss.backward()
        trained = {name for name, p in model.named_parameters() if p.grad is not None}
        assert trained == {name for name, p in model.named_parameters() if p.requires_grad}
        assert trained == {name for name, _ in model.named_parameters() if "lora_" in name or "modules_to_save" in name}
        assert sum("lora_A" in name for name in trained) == 2 * model.config.num_hidden_layers

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @torch.no_grad()
    def test_a_half_precision_model_works_and_compares_in_float32(self, dtype):
        model, clips = self.make(), self.clips
        expected = model(clips).logits
        model.to(dtype)
        output = model(clips.to(dtype))
        assert output.logits.dtype == dtype
        assert torch.equal(output.run_lengths, model.config.run_rule.find(clips.to(dtype).float()))
        close(output.logits.float(), expected, atol=0.1, rtol=0.1)

    @torch.no_grad()
    def test_decisions_are_not_rounded_to_half_precision(self):
        clips = torch.zeros(1, FRAMES, 3, SIDE, SIDE)
        clips[:, 2:, :, :, :16], clips[:, 2:, :, :, 16:] = 0.10002, 0.09998  # the same number in bfloat16
        model = self.make()
        expected = torch.tensor([[[1, 1, 4, 4]] * 4, [[3, 3, 0, 0]] * 4, [[0] * 4] * 4, [[0] * 4] * 4])
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype):
                assert torch.equal(model(clips).run_lengths.view(4, 4, 4), expected)
