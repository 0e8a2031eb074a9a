# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a training saves."""

import json
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

from helpers.paths import ROOT
from helpers.tiny import make_model
from helpers.training import content, words
from hf_rlt.hub.results import read_card
from hf_rlt.training import finetune, save
from hf_rlt.training.videos import set_name


def test_a_training_saves_what_transformers_opens_and_then_is_finished(rendered_digits, tmp_path, capsys):
    options = (
        "--max_steps",
        "2",
        "--save_strategy",
        "steps",
        "--length_embedding",
        "True",
        "--per_device_train_batch_size",
        "4",
    )
    argv = words(rendered_digits, tmp_path / "out", *options)
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
    page = (ROOT / "docs" / "fine_tuning.md").read_text()  # which lists what is saved
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".py"}
    assert {name for name in names if f"`{name}`" not in page} <= {"checkpoint-2"}
    before = content(tmp_path / "out")
    with pytest.raises(SystemExit) as stopped:
        finetune.main(argv)
    assert stopped.value.code == 0
    assert "this training is finished, after 2 steps; nothing is done" in capsys.readouterr().out
    assert content(tmp_path / "out") == before


def test_a_training_ends_with_a_card_and_does_not_fail_for_it(tmp_path, monkeypatch, caplog):
    folder = make_model(tmp_path / "model")
    settings = SimpleNamespace(hub_model_id="user/mine", push_to_hub=True, output_dir=str(folder))
    config = AutoModelForVideoClassification.from_pretrained(folder).config
    trainer = SimpleNamespace(args=settings, model=SimpleNamespace(config=config))
    data = SimpleNamespace(positions=[0.2, 0.8], num_crops=3)
    given = (trainer, data, {"eval_accuracy": 0.5}, "sports", None)
    save.save_card(*given)
    (result,) = read_card(folder / "README.md").data.eval_results
    assert (result.metric_name, result.dataset_name) == ("Top-1 accuracy (2 x 3 views, threshold 0.1)", "sports")
    assert result.dataset_split == "validation"
    assert 'name = "user/mine"\n' in (folder / "README.md").read_text()
    (folder / "README.md").write_text("# Mine\n")
    save.save_card(*given)
    assert (folder / "README.md").read_text() == "# Mine\n"
    assert "The model is saved, its card is not" in caplog.text
    monkeypatch.setattr(save, "write_card", Mock(side_effect=OSError("No space left on device")))
    save.save_card(*given)
    assert "its card is not: No space left on device" in caplog.text
    names = {"sports/train": "sports", "sports/clips": "clips", "k400/train.csv": "k400", "k400/small.csv": "small"}
    assert {path: set_name(path) for path in names} == names
