# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`--lora_r`: what is trained, what is saved, and restarts."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForVideoClassification

from helpers.model_folders import save_family
from helpers.tiny import TINY, TINY_VJEPA2
from helpers.training import difference, train, words
from hf_rlt.errors import HfRltError
from hf_rlt.training import finetune, lora
from hf_rlt.training.checkpoints import checkpoint_folders
from hf_rlt.training.trainer import RLTTrainer

pytest.importorskip("peft")
FAMILIES = {"rlt_videomae": TINY, "rlt_vjepa2": TINY_VJEPA2}
CLASSES = ["grows", "moves_left", "moves_right", "shrinks", "stays", "turns", "waits_long", "waits_short"]


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_changes_what_it_stands_beside_and_the_head_and_saves_a_model_of_the_family(
    rendered_digits, tmp_path, family
):
    base = save_family(tmp_path / "base", family, FAMILIES[family], CLASSES)
    options = ("--model_name_or_path", base, "--lora_r", "2", "--max_steps", "3", "--layer_decay", "0.75")
    trainer = train(words(rendered_digits, tmp_path / "out", *options, "--per_device_train_batch_size", "4"))
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "out"))
    assert before.keys() == after.keys()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    merged = {name for name in changed if ".encoder." in name}
    assert {name.split(".")[-2] for name in merged} == {"query", "value"}
    assert all(name.startswith(("classifier", "pooler", "fc_norm")) for name in changed - merged)
    assert "classifier.weight" in changed
    assert len(merged) == 2 * trainer.model.config.num_hidden_layers
    for name in merged:
        assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-6) <= 2
    # The model that was evaluated is the one that was saved.
    clips = next(iter(trainer.get_eval_dataloader()))["pixel_values"]
    saved = AutoModelForVideoClassification.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(saved(clips).logits, trainer.model.eval()(clips).logits)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["settings"]["lora_r"] == 2


def test_an_interrupted_training_with_lora_ends_as_an_uninterrupted_one(rendered_digits, tmp_path):
    base = save_family(tmp_path / "base", "rlt_videomae", TINY, CLASSES)
    options = ("--model_name_or_path", base, "--lora_r", "2", "--max_steps", "4", "--per_device_train_batch_size", "4")
    options += ("--save_strategy", "steps", "--save_steps", "2", "--lr_scheduler_type", "constant")
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(words(rendered_digits, whole, *options))
    shutil.copytree(whole, run)
    (last,) = (folder for folder in checkpoint_folders(run) if folder.name == "checkpoint-4")
    for path in (last, *run.glob("*.*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    trainer = train(words(rendered_digits, run, *options))
    assert trainer._initial_global_step == 2
    assert difference(whole, run) == 0


def test_a_new_length_embedding_is_trained_and_checkpoints_are_not_taken_for_models(rendered_digits, tmp_path):
    base = save_family(tmp_path / "base", "rlt_videomae", TINY, CLASSES)
    options = ("--lora_r", "2", "--max_steps", "2", "--per_device_train_batch_size", "4", "--save_strategy", "steps")
    argv = words(
        rendered_digits, tmp_path / "out", *options, "--model_name_or_path", base, "--length_embedding", "True"
    )
    job = finetune.make_job([*argv, "--save_steps", "2"])
    assert job.trainer.args.hub_strategy == "end"  # what is pushed before is not merged
    finetune.run(job)
    embedding = load_file(tmp_path / "out" / "model.safetensors")["videomae.embeddings.run_length_embeddings.weight"]
    assert embedding.abs().max() > 0
    argv = words(rendered_digits, tmp_path / "next", "--model_name_or_path", tmp_path / "out" / "checkpoint-2")
    with pytest.raises(HfRltError, match="a checkpoint of a training with --lora_r, not merged"):
        finetune.make_job(argv)


def test_what_lora_cannot_do_is_said(rendered_digits, tmp_path, monkeypatch):
    base = save_family(tmp_path / "base", "rlt_videomae", TINY, CLASSES)
    argv = words(rendered_digits, tmp_path / "out", "--model_name_or_path", base, "--lora_r", "2", "--max_steps", "1")
    reentrant = ("--gradient_checkpointing", "True", "--gradient_checkpointing_kwargs", '{"use_reentrant": true}')
    with pytest.raises(HfRltError, match="which use_reentrant loses: leave it out"):
        finetune.make_job([*argv, *reentrant])
    with monkeypatch.context() as patch:
        patch.setattr(lora, "TARGETS", "nothing")
        with pytest.raises(HfRltError, match="Target modules nothing not found"):
            finetune.make_job(argv)
    made = RLTTrainer.create_accelerator_and_postprocess
    monkeypatch.setattr(
        RLTTrainer,
        "create_accelerator_and_postprocess",
        lambda self: (made(self), setattr(self, "is_fsdp_enabled", True)),
    )
    with pytest.raises(HfRltError, match="FSDP and DeepSpeed may split them: use DDP"):
        finetune.make_job(argv)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(HfRltError, match="--lora_r needs peft: `pip install peft`"):
        lora.add_lora(None, 4)
