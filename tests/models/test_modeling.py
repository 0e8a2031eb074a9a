# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The model: equal to VideoMAE when dense, equal to clips one by one when packed."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from transformers import VideoMAEConfig, VideoMAEModel

from helpers.flash import use_flash
from helpers.tiny import FRAMES, GRID, SIDE, TINY, moving_clips, randomise
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoMAEModel, find_runs

TOKENS = GRID[0] * GRID[1] * GRID[2]
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="flex_attention on the CPU needs a C++ compiler."
)


@pytest.fixture
def make_model(tiny_config):
    def make(cls=RLTVideoMAEForVideoClassification, **changes):
        return randomise(cls(tiny_config(**changes)))

    return make


def runs_of(clips, threshold=0.1):
    return find_runs(clips, threshold, TINY["tubelet_size"], TINY["patch_size"])


def one_by_one(model, clips, lengths=None, **kwargs):
    lengths = runs_of(clips) if lengths is None else lengths
    pairs = zip(clips, lengths, strict=True)
    return torch.cat([model(clip[None], run_lengths=length[None], **kwargs)[0] for clip, length in pairs])


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(left, right, tolerance=1e-4):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], atol=tolerance, rtol=tolerance, msg=lambda m, n=name: n + m)


class TestDense:
    @torch.no_grad()
    def test_hidden_states_and_attentions_of_a_dense_batch_are_videomaes(self, make_model, clips):
        config = VideoMAEConfig(**TINY)
        config._attn_implementation = "eager"
        stock = randomise(VideoMAEModel(config))
        model = make_model(RLTVideoMAEModel, threshold=None, attn_implementation="eager")
        model.load_state_dict(stock.state_dict())
        asked = {"output_hidden_states": True, "output_attentions": True}
        expected, got = stock(clips, **asked), model(clips, **asked)
        for field in ("hidden_states", "attentions"):
            assert len(got[field]) == len(expected[field])
            assert all(torch.equal(a, b) for a, b in zip(got[field], expected[field], strict=True))


class TestPacked:
    @pytest.mark.slow
    @needs_compiler
    @torch.no_grad()
    def test_flex_attention_equals_sdpa(self, make_model, clips):
        model = make_model(attn_implementation="flex_attention", length_embedding=True)
        packed = model(clips).logits
        model.config._attn_implementation = "sdpa"
        torch.testing.assert_close(packed, model(clips).logits, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_packed_base_model_equals_the_computed_tokens_of_each_clip(self, make_model, clips):
        model = make_model(RLTVideoMAEModel, use_mean_pooling=False)
        packed = model(clips)
        assert packed.last_hidden_state.shape == (4, TOKENS, 48)
        torch.testing.assert_close(packed.last_hidden_state, one_by_one(model, clips), atol=1e-5, rtol=1e-5)
        assert torch.equal(packed.pooler_output, packed.last_hidden_state[:, 0])
        assert torch.equal(packed.run_lengths, runs_of(clips))
        still = packed.last_hidden_state[0].view(GRID[0], -1, 48)
        assert torch.equal(still, still[:1].expand_as(still))

    @torch.no_grad()
    def test_computed_tokens_equal_videomae_with_the_other_tokens_removed(self, make_model, clips):
        """VideoMAE's own masking (`bool_masked_pos`) on one clip is an independent implementation of dropping."""
        config = VideoMAEConfig(**TINY)
        stock = randomise(VideoMAEModel(config))
        model = make_model(RLTVideoMAEModel)
        model.load_state_dict(stock.state_dict())
        lengths = runs_of(clips)
        states = model(clips).last_hidden_state
        for clip, length, state in zip(clips, lengths, states, strict=True):
            expected = stock(clip[None], bool_masked_pos=(length == 0)[None]).last_hidden_state[0]
            torch.testing.assert_close(state[length > 0], expected, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_flash_attention_receives_the_packed_sequence(self, make_model, clips, monkeypatch):
        model = make_model()
        expected, lengths = model(clips).logits, (runs_of(clips) > 0).sum(1)
        calls = use_flash(monkeypatch, model)
        torch.testing.assert_close(model(clips).logits, expected, atol=1e-5, rtol=1e-5)
        assert len(calls) == TINY["num_hidden_layers"]
        for call in calls:
            assert call["shape"] == (1, 4, int(lengths.sum()), 12)
            assert call["dropout"] == 0.0
            assert call["is_causal"] is False
            for side in "qk":
                assert call[f"cu_seq_lens_{side}"].dtype == torch.int32
                assert call[f"cu_seq_lens_{side}"].tolist() == [0, *lengths.cumsum(0).tolist()]
                assert type(call[f"max_length_{side}"]) is int
                assert call[f"max_length_{side}"] == int(lengths.max())

    @torch.no_grad()
    def test_pixels_of_dropped_tubelets_are_never_read(self, make_model, clips):
        model, lengths = make_model(), runs_of(clips)
        dropped = (lengths == 0).view(4, *GRID).repeat_interleave(2, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
        assert dropped.any()
        changed = torch.where(dropped[:, :, None], torch.full_like(clips, float("nan")), clips)
        for batch in (slice(None), slice(0, 1)):
            expected = model(clips[batch], run_lengths=lengths[batch]).logits
            assert torch.equal(model(changed[batch], run_lengths=lengths[batch]).logits, expected)

    @torch.no_grad()
    def test_any_run_lengths_are_taken(self, make_model, clips):
        model = make_model()
        random = (torch.rand(4, TOKENS, generator=torch.Generator().manual_seed(0)) < 0.5).long()
        output = model(clips, run_lengths=random.int())
        assert torch.equal(output.run_lengths, random)
        torch.testing.assert_close(output.logits, one_by_one(model, clips, random), atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_a_frame_too_many_is_cut_off(self, make_model, clips):
        model = make_model()
        longer = torch.cat([clips, torch.full_like(clips[:, :1], 9.0)], dim=1)
        assert torch.equal(model(longer).logits, model(clips).logits)


class TestCaptured:
    @torch.no_grad()
    def test_hidden_states_and_attentions_are_batch_first(self, make_model, clips):
        model, lengths = make_model(attn_implementation="eager", length_embedding=True), runs_of(clips)
        packed = model(clips)
        assert packed.hidden_states is None
        assert packed.attentions is None
        output = model(clips, output_hidden_states=True, output_attentions=True)
        torch.testing.assert_close(output.logits, packed.logits, atol=1e-5, rtol=1e-5)
        states = [model.videomae(clips, output_hidden_states=on).last_hidden_state for on in (True, False)]
        torch.testing.assert_close(*states, atol=1e-5, rtol=1e-5)
        assert [tuple(state.shape) for state in output.hidden_states] == [(4, TOKENS, 48)] * 4
        assert [tuple(attention.shape) for attention in output.attentions] == [(4, 4, TOKENS, TOKENS)] * 3
        for attention in output.attentions:
            torch.testing.assert_close(attention.sum(-1), torch.ones(4, 4, TOKENS))
            dropped = (lengths == 0)[:, None, None].expand_as(attention)
            assert attention[dropped].abs().max() == 0
        single = model(clips[1:2], output_hidden_states=True)
        for state, alone in zip(output.hidden_states, single.hidden_states, strict=True):
            torch.testing.assert_close(state[1:2], alone, atol=1e-5, rtol=1e-5)


class TestDropPath:
    RATE = 0.5

    def test_whole_clips_are_dropped(self, make_model, clips, monkeypatch):
        """With the same decisions, a packed batch in training equals its clips one by one."""
        model = make_model(drop_path_rate=self.RATE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
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
        captured = model(clips, output_hidden_states=True).logits
        torch.testing.assert_close(captured, packed, atol=1e-5, rtol=1e-5)
        for b in range(4):
            drawn.clear()
            chosen = slice(b, b + 1)
            torch.testing.assert_close(model(clips[b : b + 1]).logits, packed[b : b + 1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.eval()(clips).logits, make_model()(clips).logits)

    def test_it_has_the_right_expectation(self, make_model):
        layer = make_model(drop_path_rate=0.25).train().videomae.encoder.layer[2]
        torch.manual_seed(0)
        ids = torch.arange(4000).repeat_interleave(2)
        dropped = layer._drop_clips(torch.ones(1, 8000, 3), ids, 4000)[0].view(4000, 6)
        assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
        assert set(dropped.unique().tolist()) == {0.0, (torch.ones(()) / 0.75).item()}
        assert dropped.mean().item() == pytest.approx(1.0, abs=0.04)


class TestLoss:
    LABELS = torch.tensor([0, 3, 2, 2])

    def labels(self, soft):
        return F.one_hot(self.LABELS, 5).float() if soft else self.LABELS

    def test_soft_labels_equal_hard_labels_and_problem_type_stays(self, make_model, clips):
        model = make_model()
        hard, soft = model(clips, labels=self.LABELS).loss, model(clips, labels=self.labels(True)).loss
        torch.testing.assert_close(soft, hard)
        torch.testing.assert_close(hard, F.cross_entropy(model(clips).logits, self.LABELS))
        mixed = torch.softmax(torch.randn(4, 5), -1)
        torch.testing.assert_close(
            model(clips, labels=mixed).loss, F.cross_entropy(model(clips).logits, mixed), atol=1e-6, rtol=1e-6
        )
        assert model.config.problem_type is None

    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("as_tensor", [False, True])
    def test_micro_batches_add_up_to_one_batch(self, make_model, clips, soft, as_tensor):
        model, labels = make_model(), self.labels(soft)
        whole = model(clips, labels=labels).loss
        whole.backward()
        expected = gradients(model)
        model.zero_grad()
        items = labels.numel()  # what Trainer counts
        items = torch.tensor(items) if as_tensor else items
        parts = []
        for part in (slice(0, 1), slice(1, 4)):
            loss = model(clips[part], labels=labels[part], num_items_in_batch=items).loss
            loss.backward()
            parts.append(loss)
        torch.testing.assert_close(sum(parts), whole)
        assert_same_gradients(gradients(model), expected)

    def test_multi_label_stays_binary_cross_entropy(self, make_model, clips):
        model = make_model(problem_type="multi_label_classification")
        targets = (torch.rand(4, 5) < 0.5).float()
        output = model(clips, labels=targets)
        torch.testing.assert_close(output.loss, F.binary_cross_entropy_with_logits(output.logits, targets))


class TestViews:
    @torch.no_grad()
    def test_what_is_captured_stands_by_view(self, make_model):
        views, model = moving_clips(6).unflatten(0, (2, 3)), make_model(attn_implementation="eager")
        output = model(views, labels=torch.tensor([0, 1]), output_hidden_states=True, output_attentions=True)
        torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, torch.tensor([0, 1])))
        assert output.run_lengths.shape == (2, 3, TOKENS)
        assert output.hidden_states[0].shape == (2, 3, TOKENS, 48)
        assert output.attentions[0].shape == (2, 3, 4, TOKENS, TOKENS)
        given = model(views, run_lengths=output.run_lengths)
        torch.testing.assert_close(given.logits, output.logits, atol=1e-5, rtol=1e-5)


class TestTraining:
    @pytest.mark.parametrize("reentrant", [False, True])
    def test_gradient_checkpointing_changes_no_gradient(self, make_model, clips, reentrant):
        model, labels = make_model(length_embedding=True), torch.tensor([0, 1, 2, 3])
        model.train()
        model(clips, labels=labels).loss.backward()
        expected = gradients(model)
        model.zero_grad()
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        assert model.videomae.encoder.layer[0].gradient_checkpointing
        model(clips, labels=labels).loss.backward()
        assert len(expected) == len(list(model.parameters()))
        assert_same_gradients(gradients(model), expected, tolerance=1e-6)

    def test_lora_with_a_saved_classifier_trains_only_that(self, make_model, clips):
        peft = pytest.importorskip("peft")
        config = peft.LoraConfig(r=2, target_modules=["query", "value"], modules_to_save=["classifier"])
        model = peft.get_peft_model(make_model(), config).train()
        model(pixel_values=clips, labels=torch.tensor([0, 1, 2, 3])).loss.backward()
        trained = {name for name, p in model.named_parameters() if p.grad is not None}
        assert trained == {name for name, _ in model.named_parameters() if "lora_" in name or "modules_to_save" in name}


class TestHalfPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @torch.no_grad()
    def test_a_half_precision_model_works_and_compares_in_float32(self, make_model, clips, dtype):
        model = make_model(length_embedding=True)
        expected = model(clips).logits
        model.to(dtype)
        output = model(clips.to(dtype))
        assert output.logits.dtype == dtype
        assert torch.equal(output.run_lengths, runs_of(clips.to(dtype).float()))
        torch.testing.assert_close(output.logits.float(), expected, atol=0.1, rtol=0.1)

    @torch.no_grad()
    def test_decisions_are_not_rounded_to_half_precision(self, make_model):
        clips = torch.zeros(1, FRAMES, 3, SIDE, SIDE)
        clips[:, 2:, :, :, :16], clips[:, 2:, :, :, 16:] = 0.10002, 0.09998  # the same number in bfloat16
        model = make_model()
        expected = torch.tensor([[[1, 1, 4, 4]] * 4, [[3, 3, 0, 0]] * 4, [[0] * 4] * 4, [[0] * 4] * 4])
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype):
                assert torch.equal(model(clips).run_lengths.view(4, 4, 4), expected)


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
