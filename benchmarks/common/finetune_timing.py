# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Seconds per step of fine-tuning in each variant: as part of a whole job, and the model by itself."""

import csv
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from hf_rlt.data import TrainDataset, VideoList
from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import interleaved_seconds
from hf_rlt.tokens import count_tokens
from hf_rlt.training import finetune

from .finetune_job import Job, start
from .record import environment, say, write_json

# A timing needs no checkpoint, and of the evaluation no more than that it ends.
QUICK: tuple[str, ...] = ("--save_strategy", "no", "--eval_strategy", "no", "--load_best_model_at_end", "False")
QUICK += ("--num_clips", "1", "--num_crops", "1")
COUNTED = 2000  # clips that tell what share of the tokens RLT computes


class OpenedJob:
    """The functions of the fine-tuning job, called in this process with a job's arguments."""

    def __init__(self, job: Job) -> None:
        self.job = job
        _, data, _, args = self.arguments(next(iter(job.variants)))
        clips: Any = finetune.load_clips(data, args)
        self.train, self.validation, _ = clips

    def arguments(self, name: str) -> Any:
        """Return the groups of arguments of a variant."""
        return finetune.read_arguments([*self.job.arguments(name, 0), "--output_dir", str(self.job.folder / "timing")])

    def model(self, name: str) -> Any:
        """Make a variant's model, and the processor that fits it."""
        return finetune.load_model(self.arguments(name)[0], self.train.names)

    def share_and_tome_r(self, cache_dir: Path) -> tuple[float, int]:
        """Count the share of tokens that RLT computes in up to 2,000 clips, and find the r with which ToMe leaves it."""
        _, data, _, args = self.arguments("RLT")
        model, processor = self.model("RLT")
        sources = [self.train.sources[i] for i in _spread(len(self.train), COUNTED)]
        clips = VideoList(sources, [0] * len(sources), ["video"])
        counts = count_tokens(clips, processor, args.dataloader_num_workers, data.on_bad_video, cache_dir)
        tokens, left = math.prod(model.config.grid), float(counts[counts > 0].mean())
        return left / tokens, round((tokens - left) / model.config.num_hidden_layers)

    def model_seconds(self, names: Sequence[str], repeats: int = 15) -> dict[str, float]:
        """Time forward, backward and optimiser on one batch in memory, the variants in turn; return median seconds."""
        return interleaved_seconds({name: self._step(name) for name in names}, repeats, warmup=2)

    def _step(self, name: str) -> Callable[[], None]:
        _, _, recipe, args = self.arguments(name)
        torch.manual_seed(0)
        model, processor = self.model(name)
        model.to(args.device).train()
        items = TrainDataset(self.train, processor)
        collate = finetune.make_collator(recipe, processor, len(self.train.names), 0.0)
        batch = collate([items[i] for i in _spread(len(items), args.per_device_train_batch_size)])
        batch = {key: value.to(args.device) for key, value in batch.items()}
        optimizer = torch.optim.AdamW(model.parameters())

        def step() -> None:
            with torch.autocast(args.device.type, torch.bfloat16, enabled=args.bf16):
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step


def measure_timing(job: Job, kind: str, names: Sequence[str], steps: int, rounds: int, alone: bool = True) -> None:
    """Time the variants and keep what is found in the job's folder; `alone`: the model by itself, too."""
    opened = OpenedJob(job)
    seconds = time_steps(job, names, (opened.train, opened.validation), steps, rounds)
    timing = {
        "seconds_per_step": seconds,
        "model_seconds": opened.model_seconds(names) if alone else {},
        "steps": steps,
    }
    write_json(job.folder / f"timing-{kind}.json", {**timing, "environment": environment(), "settings": job.settings()})


def load_timing(job: Job, kind: str) -> dict[str, Any] | None:
    """Load the timing of a job, None if there is none; refuse one of another command."""
    path = job.folder / f"timing-{kind}.json"
    timing: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    for name, value in job.settings().items():
        known = value if timing is None else timing["settings"].get(name)
        if known != value:
            raise HfRltError(f"{path}: found {name} {known} instead of {value}: pass another --output or --time.")
    return timing


def time_steps(
    job: Job, names: Sequence[str], clips: tuple[VideoList, VideoList], steps: int, rounds: int
) -> dict[str, list[float]]:
    """Time a step of each variant in short trainings, one per round, in turn (A B A B); return seconds per step."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    folder = job.folder / "timing"
    words = []
    for split, listed in zip(("train", "validation"), clips, strict=True):
        words += [f"--{split}_file", str(write_list(folder / f"{split}.csv", listed, split == "train"))]
    model = job.data[job.data.index("--model_name_or_path") :][:2] if "--model_name_or_path" in job.data else ()
    for _ in range(rounds):
        for name in names:
            more = [*job.extra, *QUICK, "--max_steps", str(steps), *job.variants[name].arguments]
            shutil.rmtree(folder / name, ignore_errors=True)
            metrics = start(job, name, [*words, *model, *more], folder / name)
            shutil.rmtree(folder / name)
            seconds[name].append(metrics["train_runtime"] / steps)
            say(f"{name}: {seconds[name][-1]:.4f} s/step")
    return seconds


def write_list(path: Path, clips: VideoList, every: bool) -> Path:
    """Write an annotation file of every clip, or of one of each of the first classes."""
    classes = sorted(set(clips.labels))[:8]
    chosen = range(len(clips)) if every else [clips.labels.index(k) for k in classes]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        rows = [(os.path.abspath(clips.sources[i]), clips.names[clips.labels[i]]) for i in chosen]
        csv.writer(stream).writerows([("path", "label"), *rows])
    return path


def _spread(total: int, wanted: int) -> list[int]:
    return [i * total // wanted for i in range(wanted)] if wanted < total else list(range(total))
