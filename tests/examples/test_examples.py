# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The ways to start a fine-tuning, and the ready configurations of accelerate."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from helpers.paths import EXAMPLES
from helpers.training import ACCELERATE, MODULE, finish, start, words
from hf_rlt.cli import app, main

SCRIPT = str(EXAMPLES / "finetune.py")
WAYS = {
    "hf-rlt finetune": (sys.executable, "-m", "hf_rlt", "finetune"),
    "script": (*ACCELERATE, "--cpu", SCRIPT),
    "module": (*ACCELERATE, "--cpu", *MODULE),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_runs_the_same_training(rendered_digits, tmp_path, way):
    options = ("--max_steps", "1", "--per_device_train_batch_size", "4", "--use_cpu", "True")
    out, _ = finish(start(words(rendered_digits, "out", *options), WAYS[way], cwd=tmp_path))
    assert "Model, processor and card         out" in out
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert log[0]["loss"] == pytest.approx(2.08, abs=0.2)


def test_the_command_passes_everything_on(monkeypatch, capsys, tmp_path):
    (tmp_path / "b").touch()
    given = ["--train_dir", str(tmp_path), "--train-file", str(tmp_path / "b")]
    monkeypatch.setattr(sys, "argv", ["hf-rlt", "finetune", *given])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("hf-rlt finetune: error: Expected one of --train_dir")


@pytest.mark.slow
def test_unreadable_clips_end_in_one_line_from_a_loading_process_too(tmp_path):
    for name in ("a/1.mp4", "b/2.mp4", "b/3.mp4"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"no video")
    options = ("--train_dir", "t", "--use_cpu", "True", "--dataloader_num_workers", "1")
    _, error = finish(start(options, (sys.executable, SCRIPT), cwd=tmp_path), code=2)
    assert "Traceback" not in error
    assert "finetune.py: error: Clip" in error


@pytest.mark.slow
def test_the_minimal_script_trains_and_its_folder_classifies(rendered_digits, tmp_path):
    model, sets = EXAMPLES / "space" / "digits", [rendered_digits / name for name in ("train", "validation")]
    argv = [sys.executable, EXAMPLES / "finetune_minimal.py", *sets, model, tmp_path / "out"]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    clip = next((rendered_digits / "validation").rglob("*.mp4"))
    found = CliRunner().invoke(app, ["classify", str(clip), "--model", str(tmp_path / "out"), "--json"])
    assert found.exit_code == 0, found.output
    names = {path.name for path in (rendered_digits / "train").iterdir()}
    assert json.loads(found.stdout)["scores"][0]["label"] in names


@pytest.mark.parametrize("path", sorted((EXAMPLES / "accelerate_configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_knows_every_key_of_the_ready_configurations(path):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import FullyShardedDataParallelPlugin

    config = load_config_from_file(str(path))
    assert config.num_processes == {"one_gpu": 1, "cpu": 2, "eight_gpus": 8, "fsdp": 8, "two_nodes": 16}[path.stem]
    known = {f"fsdp_{name}" for name in FullyShardedDataParallelPlugin.__dataclass_fields__}
    known |= {"fsdp_version", "fsdp_offload_params", "fsdp_cpu_ram_efficient_loading", "fsdp_auto_wrap_policy"}
    assert set(config.fsdp_config) <= known
