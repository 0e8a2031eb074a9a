# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a training saves."""

import json

import pytest
from transformers import AutoModelForVideoClassification, AutoVideoProcessor, TrainingArguments

from helpers.paths import ROOT
from helpers.training import content, words
from hf_rlt.training import finetune
from hf_rlt.training.settings import chosen_settings
from hf_rlt.training.videos import set_name


def test_a_training_saves_what_transformers_opens_and_then_is_finished(rendered_digits, tmp_path, capsys):
    options = ("--max_steps", "2", "--save_strategy", "steps", "--per_device_train_batch_size", "4")
    argv = words(rendered_digits, tmp_path / "out", *options, "--length_embedding", "True")
    finetune.main(argv)
    shown = capsys.readouterr().out
    for line in ("Top-1 accuracy", "Tokens computed", "Training speed", "hf-rlt classify "):
        assert line in shown
    config = AutoModelForVideoClassification.from_pretrained(tmp_path / "out").config
    assert (config.label2id["waits_short"], config.id2label[7]) == (7, "waits_short")
    assert config.length_embedding
    assert AutoVideoProcessor.from_pretrained(tmp_path / "out").frame_stride == 2
    metrics = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert 0.1 < metrics["eval_tokens_computed"] < 0.4
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: video-classification" in card
    assert "model-index:" in card
    run = json.loads((tmp_path / "out" / "training.json").read_text())
    told = {"learning_rate": 1e-3, "seed": 42, "length_embedding": True, "clips_per_step": 4, "max_steps": 2}
    assert told.items() <= run["settings"].items()
    assert str(tmp_path) not in json.dumps(run)  # where things lie is nobody's business
    assert "## Training" in card
    assert f"- Hardware: {run['hardware']}" in card.replace("\\", "")
    page = (ROOT / "docs" / "fine_tuning.md").read_text()  # which lists what is saved
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".py"}
    assert {name for name in names if f"`{name}`" not in page} <= {"checkpoint-2"}
    before = content(tmp_path / "out")
    with pytest.raises(SystemExit) as stopped:
        finetune.main(argv)
    assert stopped.value.code == 0
    assert "this training is finished, after 2 steps; nothing is done" in capsys.readouterr().out
    assert content(tmp_path / "out") == before


def test_a_data_set_is_called_like_its_folder_or_file():
    names = {"sports/train": "sports", "sports/clips": "clips", "k400/train.csv": "k400", "k400/small.csv": "small"}
    assert {path: set_name(path) for path in names} == names


def test_what_is_told_of_a_training_has_no_paths_and_its_whole_schedule(tmp_path):
    args = TrainingArguments(
        str(tmp_path), lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs={"min_lr_rate": 0.1}
    )
    settings = {**args.to_dict(), "dataset_name": "/home/a/clips", "deepspeed": "ds.json", "label_file": "b.json"}
    settings |= {"recipe": "small", "optim_args": "/tmp/x", "length": {"num_train_epochs": 3.0}}
    told = chosen_settings(settings, args)
    assert told["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
    assert (told["recipe"], told["num_train_epochs"]) == ("small", 3.0)
    assert not {"dataset_name", "deepspeed", "label_file", "optim_args", "output_dir", "accelerator_config"} & set(told)
    assert chosen_settings({}, args)["learning_rate"] == 5e-5
