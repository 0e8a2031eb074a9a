# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How long a step of fine-tuning takes in each variant: as part of a whole job, and the model by itself.

Besides starting the training script, this uses its functions: clips, processor, model and collator are those it trains with.
"""

import csv
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hf_rlt.data import TrainDataset, VideoList
from hf_rlt.inference.measure import interleaved_seconds
from hf_rlt.models.runs import grid_size
from hf_rlt.tokens import count_tokens

from .finetune import Job, start

# A timing needs no checkpoint, and of the evaluation no more than that it ends.
QUICK: tuple[str, ...] = ("--save_strategy", "no", "--eval_strategy", "no", "--load_best_model_at_end", "False")
QUICK += ("--num_clips", "1", "--num_crops", "1")
FUNCTIONS = ("read_arguments", "load_clips", "load_model", "make_collator")
COUNTED = 2000  # clips that tell what share of the tokens RLT computes


class OpenedScript:
    """The training script's own functions, called in this process.

    Attributes:
        train, validation: the clips that a job trains and evaluates on.

    Args:
        job: whose script and arguments.

    Raises:
        ValueError: if the script lacks a function, or for what the script finds wrong.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        spec = importlib.util.spec_from_file_location("training_script", job.script)
        if spec is None or spec.loader is None:
            raise ValueError(f"{job.script}: expected a Python script.")
        self.module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        missing = [name for name in FUNCTIONS if not hasattr(self.module, name)]
        if missing:
            raise ValueError(
                f"{job.script}: expected the functions {', '.join(FUNCTIONS)} of examples/finetune.py, found no "
                f"{', '.join(missing)}."
            )
        _, data, _, args = self.arguments("RLT")
        self.train, self.validation, _ = self.module.load_clips(data, args)

    def arguments(self, name: str) -> Any:
        """Returns the script's groups of arguments for a variant."""
        return self.module.read_arguments(
            [*self.job.arguments(name, 0), "--output_dir", str(self.job.folder / "timing")]
        )

    def share_computed(self, cache_dir: Path) -> float:
        """Returns the share of the tokens that RLT computes, of up to 2,000 training clips evenly spread over the list."""
        model_args, data, _, args = self.arguments("RLT")
        _, processor = self.module.load_model(model_args, self.train.names)
        sources = [self.train.sources[i] for i in _spread(len(self.train), COUNTED)]
        clips = VideoList(sources, [0] * len(sources), ["video"])
        counts = count_tokens(clips, processor, args.dataloader_num_workers, data.on_bad_video, cache_dir)
        crop = processor.crop_size
        shape = (processor.num_frames, 3, crop["height"], crop["width"])
        tubelets, rows, columns = grid_size(shape, processor.tubelet_size, processor.patch_size)
        return float(counts[counts > 0].mean()) / (tubelets * rows * columns)

    def merges(self, share: float) -> int:
        """Returns r of ToMe that leaves this share of the tokens after the last block, the same in each block."""
        model_args, _, _, _ = self.arguments("RLT")
        model, _ = self.module.load_model(model_args, self.train.names)
        tokens, depth = model.videomae.embeddings.num_patches, model.config.num_hidden_layers
        return round((1 - share) * tokens / depth)

    def model_seconds(self, names: Sequence[str], repeats: int = 15) -> dict[str, float]:
        """Returns the median seconds of forward, backward and optimiser on one batch in memory, the variants in turn."""
        return interleaved_seconds({name: self._step(name) for name in names}, repeats, warmup=2)

    def _step(self, name: str) -> Callable[[], None]:
        model_args, _, recipe, args = self.arguments(name)
        torch.manual_seed(0)
        model, processor = self.module.load_model(model_args, self.train.names)
        model.to(args.device).train()
        items = TrainDataset(self.train, processor)
        collate = self.module.make_collator(recipe, processor, len(self.train.names), 0.0)
        batch = collate([items[i] for i in _spread(len(items), args.per_device_train_batch_size)])
        batch = {key: value.to(args.device) for key, value in batch.items()}
        precision = torch.autocast(args.device.type, torch.bfloat16) if args.bf16 else nullcontext()
        return partial(step, model, torch.optim.AdamW(model.parameters()), batch, precision)


def step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor], precision: Any
) -> None:
    """Returns nothing; forward, backward and one step of the optimiser."""
    with precision:
        loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def time_steps(
    job: Job,
    names: Sequence[str],
    clips: tuple[VideoList, VideoList],
    steps: int,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, list[float]]:
    """Returns the seconds a step of each variant takes in short trainings, one for each round, in turn (A B A B).

    Args:
        job: whose script is timed.
        names: the variants.
        clips: training and validation clips; all of the former, a few of the latter are used.
        steps: of each training.
        rounds: trainings of each variant.
        say: called with a line after each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in names}
    folder = job.folder / "timing"
    words = []
    for split, listed in zip(("train", "validation"), clips, strict=True):
        words += [f"--{split}_file", str(write_list(folder / f"{split}.csv", listed, split == "train"))]
    model = job.data[job.data.index("--model_name_or_path") :][:2] if "--model_name_or_path" in job.data else ()
    for _ in range(rounds):
        for name in names:
            more = [*job.extra, *QUICK, "--max_steps", str(steps), *job.variant(name)]
            shutil.rmtree(folder / name, ignore_errors=True)
            metrics = start(job, [*words, *model, *more], folder / name)
            shutil.rmtree(folder / name)
            seconds[name].append(metrics["train_runtime"] / steps)
            say(f"{name}: {seconds[name][-1]:.4f} s/step")
    return seconds


def write_list(path: Path, clips: VideoList, every: bool) -> Path:
    """Returns the path of an annotation file of the clips: every one, or one of each of the first classes."""
    classes = sorted(set(clips.labels))[:8]
    chosen = range(len(clips)) if every else [clips.labels.index(k) for k in classes]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        rows = [(os.path.abspath(clips.sources[i]), clips.names[clips.labels[i]]) for i in chosen]
        csv.writer(stream).writerows([("path", "label"), *rows])
    return path


def _spread(total: int, wanted: int) -> list[int]:
    return [i * total // wanted for i in range(wanted)] if wanted < total else list(range(total))
