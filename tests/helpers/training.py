# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Whole trainings, in this process or started as a user starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments

from hf_rlt.training import finetune
from hf_rlt.training.checkpoints import complete_checkpoint
from hf_rlt.training.trainer import RLTTrainer

from .paths import EXAMPLES

ACCELERATE = (str(Path(sys.executable).with_name("accelerate")), "launch")
MODULE = ("-m", "hf_rlt.training.finetune")
TWO_PROCESSES = (*ACCELERATE, "--config_file", str(EXAMPLES / "accelerate_configs" / "cpu.yaml"), *MODULE)
# Two threads, as in this process: sums are rounded by how they are split.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
# Everything that is random, but drop path and mixing, which depend on what else is in a batch.
AUGMENTED = ("--augment", "True", "--horizontal_flip", "0", "--layer_decay", "0.8", "--label_smoothing_factor", "0.1")
MIXED = ("--mixup", "0.8", "--drop_path_rate", "0.3", "--random_clips", "True")


def words(clips: Path, output: Path, *options) -> list[str]:
    """The command line of a training on rendered clips."""
    sets = ("--train_dir", clips / "train", "--validation_dir", clips / "validation", "--learning_rate", "1e-3")
    return [str(word) for word in (*sets, "--output_dir", output, *QUIET, *options)]


QUIET = ("--disable_tqdm", "True", "--logging_steps", "1")


def train(argv: list[str]) -> RLTTrainer:
    """Runs a job in this process; returns its trainer."""
    job = finetune.make_job([str(word) for word in argv])
    finetune.run(job)
    return job.trainer


def start(argv, command=(sys.executable, *MODULE), **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *map(str, argv)], env=ENVIRONMENT, **pipes, **options)


def finish(process: subprocess.Popen, code: int = 0) -> tuple[str, str]:
    out, error = process.communicate(timeout=240)
    assert process.returncode == code, error
    return out, error


def history(folder: Path, name: str = "loss") -> list[float]:
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry[name] for entry in log if name in entry]


def difference(first: Path, second: Path) -> float:
    """The largest difference of two models' weights."""
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def content(folder: Path) -> dict:
    paths = [folder, *sorted(folder.rglob("*"))]
    return {path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


def write_checkpoint(folder: Path, step: int, seed: int = 0, ranks: int = 1, settings: dict | None = None) -> Path:
    """Writes a small checkpoint as Trainer does: file by file, the record last."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    save_file({"weight": torch.randn(100, generator=generator)}, path / "model.safetensors")
    torch.save({"state": torch.randn(100, generator=generator)}, path / "optimizer.pt")
    torch.save({"step": step, "rate": seed}, path / "scheduler.pt")
    for rank in range(ranks):
        name = "rng_state.pth" if ranks == 1 else f"rng_state_{rank}.pth"
        torch.save({"cpu": torch.randn(10, generator=generator)}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "seed": seed}))
    (path / "config.json").write_text(json.dumps({"seed": seed}))
    complete_checkpoint(path, settings or {"seed": seed}, step)
    return path


def training_arguments(folder: Path, **changes) -> TrainingArguments:
    settings = {"max_steps": 2, "per_device_train_batch_size": 4, "save_strategy": "no", "logging_steps": 1}
    settings |= {"learning_rate": 1e-3, "use_cpu": True, "remove_unused_columns": False, "disable_tqdm": True}
    return TrainingArguments(output_dir=str(folder), report_to=[], **{**settings, **changes})
