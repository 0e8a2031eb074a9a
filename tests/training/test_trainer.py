# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Optimiser groups, accumulation, balanced batches, logs, saving; LoRA and torch.compile."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import TrainerCallback

from helpers.tiny import TINY, randomise
from helpers.training import training_arguments
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.data import EvalDataset, from_folder
from hf_rlt.training import trainer as training
from hf_rlt.training.checkpoints import CheckpointError, checkpoint_folders, checkpoint_problem, newest_checkpoint
from hf_rlt.training.trainer import RLTTrainer, parameter_groups


def test_learning_rates_fall_block_by_block_and_biases_and_norms_do_not_decay(model, trainer):
    options = {"weight_decay": 0.05, "learning_rate": 1.0, "optim": "adamw_torch"}
    made = trainer(model, layer_decay=0.5, **options).create_optimizer()
    found = {id(p): (group["lr"], group["weight_decay"]) for group in made.param_groups for p in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in made.param_groups) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        depth = 3 if name.startswith(("fc_norm", "classifier")) else 0 if "embeddings" in name else None
        if depth is None:
            depth = int(name.split("encoder.layer.")[1].split(".")[0]) + 1
        decays = parameter.ndim > 1
        assert found[id(parameter)] == (0.5 ** (3 - depth), 0.05 if decays else 0.0), name


def test_groups_of_wrapped_and_frozen_parameters():
    weights = {name: torch.nn.Parameter(torch.zeros(1)) for name in "abcd"}
    weights["d"].requires_grad = False
    names = (
        "_orig_mod.base_model.model.videomae.embeddings.run_length_embeddings.modules_to_save.default.weight",
        "module.videomae.encoder.layer.11.output.dense.weight",
        "base_model.model.classifier.bias",
        "videomae.encoder.layer.0.output.dense.weight",
    )
    named = list(zip(names, weights.values(), strict=True))
    groups = parameter_groups(named, names[:2], 2.0, 0.1, 0.5, num_layers=12)
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(2 * 0.5**13, 0.1), (1.0, 0.1), (2.0, 0.0)]
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"Expected layer_decay in .* received {wrong}"):
            parameter_groups(named, [], 1.0, 0.1, wrong, 12)


class SoftClips(Dataset):
    """Random clips with soft labels, one of them to be left out."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.clips = torch.randn(count, 8, 3, 32, 32, generator=generator)
        self.clips[::2, 2:] = self.clips[::2, 1:2]  # every second one stands still from the third frame on
        self.labels = torch.rand(count, 5, generator=generator).softmax(-1)
        self.labels[3] = -100

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict:
        return {"pixel_values": self.clips[index], "labels": self.labels[index]}


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulating_soft_labels_equals_one_large_batch(tmp_path, accumulation):
    start = randomise(RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**TINY, drop_path_rate=0.0)))
    data, results = SoftClips(16), {}
    for steps in (1, accumulation):
        args = training_arguments(
            tmp_path,
            per_device_train_batch_size=8 // steps,
            gradient_accumulation_steps=steps,
            train_sampling_strategy="sequential",
            max_grad_norm=0.5,
            optim="sgd",
            learning_rate=0.1,
        )
        made = RLTTrainer(model=copy.deepcopy(start), args=args, train_dataset=data)
        made.train()
        losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
        results[steps] = losses, dict(made.model.named_parameters())
    losses, weights = results[1]
    other_losses, other_weights = results[accumulation]
    assert losses == pytest.approx(other_losses, abs=1e-5)
    assert max(float((weights[name] - other_weights[name]).detach().abs().max()) for name in weights) < 1e-6
    with torch.no_grad():  # the loss of the definition: the mean over the clips that count
        logits = start(data.clips[:8]).logits
    rows = [i for i in range(8) if i != 3]
    expected = torch.stack([-(data.labels[i] * F.log_softmax(logits[i], -1)).sum() for i in rows]).mean()
    assert losses[0] == pytest.approx(float(expected), abs=1e-5)


def test_clips_to_leave_out_do_not_count(tiny_config):
    model = randomise(RLTVideoMAEForVideoClassification(tiny_config()))
    data = SoftClips(4)
    hard = torch.tensor([1, 4, 2, -100])
    logits = model(data.clips).logits
    expected = F.cross_entropy(logits[:3], hard[:3])
    assert torch.allclose(model(data.clips, labels=hard).loss, expected)
    assert torch.allclose(model(data.clips, labels=hard, num_items_in_batch=torch.tensor(3)).loss, expected)
    soft = model(data.clips, labels=data.labels).loss
    assert torch.allclose(soft, F.cross_entropy(logits[:3], data.labels[:3]))
    for nothing in (torch.full((4,), -100), torch.full((4, 5), -100.0)):
        assert model(data.clips, labels=nothing).loss == 0
        assert model(data.clips, labels=nothing, num_items_in_batch=torch.tensor(0)).loss == 0


@pytest.mark.parametrize("strategy", ["batch_rebalance", "group_by_length", "max_tokens"])
def test_batches_are_balanced_by_tokens_without_reading_a_video(model, trainer, counts, monkeypatch, strategy):
    monkeypatch.setattr(RLTVideoProcessor, "decode", lambda *_: pytest.fail("a video was read"))
    options = {"max_tokens": 300} if strategy == "max_tokens" else {"train_sampling_strategy": strategy}
    made = trainer(model, token_counts=counts.tolist(), seed=3, **options)

    def order(epoch):
        sampler = made._get_train_sampler()
        sampler.set_epoch(epoch)
        return list(sampler)

    orders = [order(0), order(0), order(1)]
    assert orders[0] == orders[1] != orders[2]
    flat = [sorted(i for part in batch for i in (part if isinstance(part, list) else [part])) for batch in orders]
    assert all(indices == list(range(16)) for indices in flat)
    with pytest.raises(ValueError, match="needs the tokens of each clip: pass token_counts"):
        trainer(model, **options).get_train_dataloader()
    with pytest.raises(ValueError, match="Expected token_counts of 16 clips, received 15"):
        trainer(model, token_counts=counts[1:].tolist(), **options).get_train_dataloader()


def test_the_log_tells_the_share_of_tokens(model, trainer, counts):
    made = trainer(model, max_steps=4, logging_steps=4)
    made.train()
    logged = next(entry for entry in made.state.log_history if "tokens_computed" in entry)
    assert logged["tokens_computed"] == pytest.approx(counts.mean() / 512, abs=1e-4)
    assert "tokens_waited" not in logged


def test_each_evaluation_reads_all_of_its_own_data_set(model, trainer, rendered_digits, digits_processor):
    clips = from_folder(rendered_digits / "validation")
    one, three = EvalDataset(clips, digits_processor), EvalDataset(clips, digits_processor, num_clips=3)
    sizes = {"per_device_eval_batch_size": 3, "per_device_train_batch_size": 3, "dataloader_drop_last": True}
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    made = trainer(model, eval_dataset=one, **workers, **sizes)
    batches = [list(made.get_eval_dataloader(asked)) for asked in (None, three, None)]
    assert [batch[0]["pixel_values"].ndim for batch in batches] == [5, 6, 5]
    assert [sum(len(part["labels"]) for part in batch) for batch in batches] == [8, 8, 8]
    assert sum(len(batch["labels"]) for batch in made.get_train_dataloader()) == 15
    assert made.args.dataloader_drop_last


def test_the_last_checkpoint_is_kept_until_the_next_one_is_whole(model, trainer, tmp_path, monkeypatch):
    seen = []
    complete = training.complete_checkpoint

    def watched(folder, *args):
        others = [path for path in checkpoint_folders(tmp_path) if path != folder]
        seen.append([path.name for path in others if checkpoint_problem(path) is None])
        complete(folder, *args)

    monkeypatch.setattr(training, "complete_checkpoint", watched)
    trainer(model, max_steps=3, save_strategy="steps", save_steps=1, save_total_limit=1).train()
    assert seen == [[], ["checkpoint-1"], ["checkpoint-2"]]
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["checkpoint-3"]


class DiskFullAt(TrainerCallback):
    """After this step the next checkpoint's optimizer.pt is a file that cannot be written: no space left on device."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            folder = Path(args.output_dir) / f"checkpoint-{self.step + 1}"
            folder.mkdir()
            (folder / "optimizer.pt").symlink_to("/dev/full")


def test_a_full_disk_stops_with_one_sentence_and_the_checkpoint_before_survives(model, tmp_path, trainer, monkeypatch):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}
    made = trainer(model, callbacks=[DiskFullAt(3)], **options)
    with pytest.raises(
        CheckpointError, match=r"Step 4 could not be saved .*checkpoint-2 is whole: make room"
    ) as raised:
        made.train()
    assert "\n" not in str(raised.value)
    assert newest_checkpoint(tmp_path)[0].name == "checkpoint-2"
    shutil.rmtree(tmp_path / "checkpoint-4")
    again = trainer(model, **options)
    again.train(resume_from_checkpoint=str(newest_checkpoint(tmp_path)[0]))
    assert newest_checkpoint(tmp_path)[0].name == "checkpoint-4"
    assert again.args.save_total_limit == 1

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*checkpoint-4 is whole: make room"):
        again.save_model()


def test_lora_trains_its_adapters_and_the_head_only(model, tmp_path, data, trainer):
    peft = pytest.importorskip("peft")
    options = peft.LoraConfig(r=4, target_modules=["query", "value"], modules_to_save=["classifier"])
    wrapped = peft.get_peft_model(model, options)
    before = {name: parameter.clone() for name, parameter in wrapped.named_parameters()}
    trainer(wrapped, max_steps=3, layer_decay=0.75).train()
    changed = {name for name, p in wrapped.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert len(changed) == 2 * 2 * 2 + 2
    wrapped.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(0)
    fresh = RLTVideoMAEForVideoClassification(model.config)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    clips = torch.cat([data[i]["pixel_values"] for i in range(2)])
    assert torch.equal(loaded(clips).logits, wrapped.eval()(clips).logits)


@pytest.mark.slow
def test_compiled_training_equals_eager_training(model, trainer):
    losses = {}
    for compiled in (False, True):
        options = {"max_steps": 3, "torch_compile": compiled, "train_sampling_strategy": "sequential"}
        made = trainer(copy.deepcopy(model), **options)
        made.train()
        losses[compiled] = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert losses[True] == pytest.approx(losses[False], abs=1e-3)
    assert len(losses[True]) == 3
