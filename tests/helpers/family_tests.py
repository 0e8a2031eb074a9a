# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tests that every model family passes: derive a class whose name begins with Test, and give it `family` and `settings`."""

import json
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification

from helpers.paths import ROOT
from helpers.tiny import moving_clips, randomise
from hf_rlt.families import FAMILIES, family_of

# Opens a folder by the code that it carries, where the family is not registered.
STRANGER = """
import sys, torch
from transformers import AutoModelForVideoClassification
folder, clips, out = sys.argv[1:]
model = AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules"), type(model)
with torch.no_grad():
    torch.save(model(torch.load(clips)).logits, out)
"""


LABELS = torch.tensor([0, 3, 2, 2])


def label_tensor(soft):
    return F.one_hot(LABELS, 5).float() if soft else LABELS


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.requires_grad}


class FamilyTests:
    """Guarantees of a family.

    Attributes:
        family: model type.
        settings: fields of its configuration, for clips of 8 frames of 32 x 32 pixels.
        backends: attention backends to try; None is the model's own.
        stock: a classifier without RLT that it equals bit for bit when every token is computed, if there is one.
    """

    family: str
    settings: dict = {}  # noqa: RUF012
    backends = ("sdpa", "eager")
    stock: type | None = None
    clips = moving_clips()
    runs: torch.Tensor | None = None  # of packed clips; None: those that the rule finds

    def make(self, backend=None, **changes):
        classes = FAMILIES[self.family]
        config = classes.config(**{**self.settings, "num_labels": 5, **changes})
        if backend is not None:
            config._attn_implementation = backend
        return randomise(classes.classifier(config))

    def test_packed_equals_one_by_one_forward_and_backward(self):
        clips = self.clips
        for backend in self.backends:
            model = self.make(backend)
            runs = model.config.run_rule.find(clips) if self.runs is None else self.runs
            packed = model(clips, run_lengths=runs)
            packed.logits.square().sum().backward()
            together = gradients(model)
            model.zero_grad()
            alone = torch.cat([model(clips[i, None], run_lengths=runs[i, None]).logits for i in range(len(clips))])
            alone.square().sum().backward()
            torch.testing.assert_close(packed.logits, alone, atol=1e-4, rtol=1e-4)
            for name, gradient in gradients(model).items():
                torch.testing.assert_close(together[name], gradient, rtol=1e-3, atol=1e-3, msg=f"{backend} {name}")

    @torch.no_grad()
    def test_runs_are_found_by_the_rule_of_the_configuration(self):
        model, clips = self.make(), self.clips
        output, base, runs = model(clips), model.base_model(clips), model.config.run_rule.find(clips)
        assert torch.equal(base.run_lengths, runs)
        assert torch.equal(output.logits, model(clips, run_lengths=runs).logits)
        assert base.last_hidden_state.shape[:2] == base.run_lengths.shape
        assert model.base_model(clips, return_last_hidden_state=False).last_hidden_state is None
        assert torch.equal(model.classify_pooled(model.encode(clips).pooler_output), output.logits)

    @torch.no_grad()
    def test_pixels_of_dropped_tubelets_are_never_read(self):
        model, clips = self.make(), self.clips
        lengths = model(clips, run_lengths=self.runs).run_lengths
        dropped = (lengths == 0).view(4, 4, 4, 4)
        if not dropped.any():
            pytest.skip("reads every tubelet")
        dropped = dropped.repeat_interleave(2, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
        changed = torch.where(dropped[:, :, None], torch.full_like(clips, float("nan")), clips)
        for batch in (slice(None), slice(0, 1)):
            expected = model(clips[batch], run_lengths=lengths[batch]).logits
            assert torch.equal(model(changed[batch], run_lengths=lengths[batch]).logits, expected)

    @torch.no_grad()
    def test_order_of_clips_changes_nothing_but_the_order_of_results(self):
        model, clips, order = self.make(), self.clips, torch.tensor([2, 0, 3, 1])
        runs = model.config.run_rule.find(clips) if self.runs is None else self.runs
        output, permuted = (model(clips[each], run_lengths=runs[each]) for each in (slice(None), order))
        torch.testing.assert_close(permuted.logits, output.logits[order], atol=1e-5, rtol=1e-5)
        assert torch.equal(permuted.run_lengths, output.run_lengths[order])
        assert not torch.allclose(permuted.logits, output.logits, atol=1e-3)
        states = [model.base_model(clips[e], run_lengths=runs[e]).last_hidden_state for e in (order, slice(None))]
        torch.testing.assert_close(states[0], states[1][order], atol=1e-5, rtol=1e-5)

    def test_soft_labels_equal_hard_labels_and_problem_type_stays(self):
        model, clips = self.make(), self.clips
        hard, soft = model(clips, labels=LABELS).loss, model(clips, labels=label_tensor(True)).loss
        torch.testing.assert_close(soft, hard)
        torch.testing.assert_close(hard, F.cross_entropy(model(clips).logits, LABELS))
        mixed = torch.softmax(torch.randn(4, 5), -1)
        expected = F.cross_entropy(model(clips).logits, mixed)
        torch.testing.assert_close(model(clips, labels=mixed).loss, expected, atol=1e-6, rtol=1e-6)
        assert model.config.problem_type is None

    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("as_tensor", [False, True])
    def test_micro_batches_add_up_to_one_batch(self, soft, as_tensor):
        model, clips, labels = self.make(), self.clips, label_tensor(soft)
        runs = model.config.run_rule.find(clips) if self.runs is None else self.runs
        whole = model(clips, run_lengths=runs, labels=labels).loss
        whole.backward()
        expected = gradients(model)
        model.zero_grad()
        items = labels.numel()  # what Trainer counts
        items = torch.tensor(items) if as_tensor else items
        parts = []
        for part in (slice(0, 1), slice(1, 4)):
            given = {"run_lengths": runs[part], "labels": labels[part], "num_items_in_batch": items}
            parts.append(model(clips[part], **given).loss)
            parts[-1].backward()
        torch.testing.assert_close(sum(parts), whole)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, expected[name], atol=1e-4, rtol=1e-4, msg=name)

    def test_multi_label_stays_binary_cross_entropy(self):
        model, targets = self.make(problem_type="multi_label_classification"), torch.eye(4, 5)
        output = model(self.clips, labels=targets)
        torch.testing.assert_close(output.loss, F.binary_cross_entropy_with_logits(output.logits, targets))

    @torch.no_grad()
    def test_views_are_averaged(self):
        model, views = self.make(), self.clips.unflatten(0, (2, 2))
        each = model(views.flatten(0, 1)).logits.softmax(-1).unflatten(0, (2, 2)).mean(1)
        output = model(views)
        torch.testing.assert_close(output.logits.exp(), each, rtol=1e-4, atol=1e-5)
        assert output.run_lengths.shape[:2] == (2, 2)
        pooled = model.encode(views.flatten(0, 1)).pooler_output
        torch.testing.assert_close(model.classify_pooled(pooled, 2), output.logits, rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_dense_is_the_stock_model_bit_for_bit(self):
        if self.stock is None:
            pytest.skip("has no stock model")
        for backend in self.backends:
            model = self.make(backend, threshold=None)
            config = self.stock.config_class.from_dict(model.config.to_dict())
            config._attn_implementation = backend
            stock = self.stock(config).eval()
            stock.load_state_dict(model.state_dict())
            clips, labels = self.clips, torch.tensor([0, 1, 2, 3])
            expected, output = stock(clips, labels=labels), model(clips, labels=labels)
            assert torch.equal(output.logits, expected.logits)
            assert torch.equal(output.loss, expected.loss)
            states = [each.base_model(clips).last_hidden_state for each in (model, stock)]
            assert torch.equal(*states)
            model.config.threshold = 0.1
            ones = torch.ones_like(output.run_lengths)
            assert torch.equal(model(clips, run_lengths=ones).logits, expected.logits)
            assert not torch.equal(model(clips).logits, expected.logits)

    def test_saved_and_opened_by_the_auto_classes(self, tmp_path):
        model, classes = self.make(), FAMILIES[self.family]
        model.save_pretrained(tmp_path)
        assert type(AutoConfig.from_pretrained(tmp_path)) is classes.config
        assert type(AutoModel.from_pretrained(tmp_path)) is classes.model
        again = AutoModelForVideoClassification.from_pretrained(tmp_path)
        assert type(again) is classes.classifier
        torch.testing.assert_close(again(self.clips).logits, model(self.clips).logits, atol=1e-6, rtol=0)
        again(self.clips, labels=torch.arange(4)).loss.backward()
        assert all(each.requires_grad == (each.grad is not None) for each in again.parameters())
        assert family_of(json.loads((tmp_path / "config.json").read_text())["model_type"], "it") is classes

    def test_the_configuration_answers_what_is_asked_of_it(self):
        config = self.make().config
        assert config.clip_shape == (8, 3, 32, 32)
        assert config.grid == (4, 4, 4)
        assert len(config.token_counts(64)) == config.num_hidden_layers + 1
        assert len(config.block_tokens(64)) == config.num_hidden_layers
        assert config.choice_flops(64) >= 0
        assert config.method
        assert config.card_tags
        assert config.card_sentence.endswith(".")
        assert not {"method", "card_tags", "network"} & set(config.to_dict())

    @pytest.mark.slow
    def test_the_code_in_its_folder_gives_the_same_logits(self, tmp_path):
        if not FAMILIES[self.family].carries_code:
            pytest.skip("carries no code")
        model = self.make()
        model.save_pretrained(tmp_path / "saved")
        torch.save(self.clips, tmp_path / "clips.pt")
        paths = [str(tmp_path / name) for name in ("saved", "clips.pt", "logits.pt")]
        variables = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run([sys.executable, "-c", STRANGER, *paths], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        torch.testing.assert_close(torch.load(paths[2]), model(self.clips).logits, atol=1e-6, rtol=0)
