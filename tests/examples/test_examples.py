# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The examples as a user starts them."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import ROOT

EXAMPLES = ROOT / "examples"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def start(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def trained(rendered_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    launcher = Path(sys.executable).with_name("accelerate")
    data = (
        "--train_dir",
        rendered_digits / "train",
        "--validation_dir",
        rendered_digits / "validation",
        "--length_embedding",
        "True",
    )
    options = ("--max_steps", "2", "--per_device_train_batch_size", "4", "--output_dir", "out", "--use_cpu", "True")
    done = start(launcher, "launch", "--cpu", EXAMPLES / "finetune.py", *data, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_finetune_reports_and_saves_what_transformers_opens(trained):
    from transformers import AutoModelForVideoClassification, AutoVideoProcessor

    folder, done = trained
    for line in ("Top-1 accuracy", "Tokens computed", "Training speed", "hf-rlt classify "):
        assert line in done.stdout
    config = AutoModelForVideoClassification.from_pretrained(folder / "out").config
    assert config.label2id["waits_short"] == 7
    assert config.id2label[7] == "waits_short"
    assert config.length_embedding
    assert AutoVideoProcessor.from_pretrained(folder / "out").frame_stride == 2
    metrics = json.loads((folder / "out" / "all_results.json").read_text())
    assert 0.1 < metrics["eval_tokens_computed"] < 0.4
    card = (folder / "out" / "README.md").read_text()
    assert "pipeline_tag: video-classification" in card
    assert "model-index:" in card


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("finetune.py", "--train_dir", "nowhere"), "nowhere: expected a folder"),
        (("finetune.py", "--train_dir", "a", "--train_file", "b"), "Expected one of --train_dir"),
        (("finetune.py", "--num_train_epochs", "many"), "invalid float value: 'many'"),
    ],
)
def test_a_users_mistake_ends_in_one_line_and_code_2(tmp_path, monkeypatch, capsys, command, message):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(command[0].removesuffix(".py")).main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_unreadable_clips_end_in_one_line_from_a_loading_process_too(tmp_path):
    for name in ("a/1.mp4", "b/2.mp4", "b/3.mp4"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"no video")
    options = ("--train_dir", "t", "--use_cpu", "True", "--dataloader_num_workers", "1")
    done = start(sys.executable, EXAMPLES / "finetune.py", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "finetune.py: error: Clip" in done.stderr


def test_users_arguments_go_before_the_recipe(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import finetune

    *_, ours = finetune.read_arguments([])
    assert ours.num_train_epochs == finetune.DIGITS["num_train_epochs"]
    *_, theirs = finetune.read_arguments(["--num_train_epochs", "3", "--threshold", "none"])
    assert (theirs.num_train_epochs, theirs.output_dir) == (3, "outputs/digits-dense")
    (tmp_path / "job.json").write_text('{"num_train_epochs": 5, "train_dir": "videos"}')
    _, data, _, from_json = finetune.read_arguments([str(tmp_path / "job.json")])
    assert (from_json.num_train_epochs, from_json.output_dir, data.train_dir) == (5, "outputs/finetuned", "videos")
    assert from_json.learning_rate != finetune.DIGITS["learning_rate"]
    for text, message in (("[1]", "expected a JSON object"), ("{", "expected a JSON file of arguments")):
        (tmp_path / "job.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            finetune.read_arguments([str(tmp_path / "job.json")])


@pytest.mark.parametrize("path", sorted((EXAMPLES / "accelerate_configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_knows_every_key_of_the_ready_configurations(path):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import FullyShardedDataParallelPlugin

    config = load_config_from_file(str(path))
    assert config.num_processes == {"one_gpu": 1, "cpu": 2, "eight_gpus": 8, "fsdp": 8, "two_nodes": 16}[path.stem]
    known = {f"fsdp_{name}" for name in FullyShardedDataParallelPlugin.__dataclass_fields__}
    known |= {"fsdp_version", "fsdp_offload_params", "fsdp_cpu_ram_efficient_loading", "fsdp_auto_wrap_policy"}
    assert set(config.fsdp_config) <= known
