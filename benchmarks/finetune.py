# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tuning in several variants, by the training script in processes of its own: accuracies, and seconds a step.

Each run keeps its command and its result in its folder: interrupted, the same measurement goes on, and a result of
another command is never taken for its own.
"""

import csv
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hf_rlt.data import DigitsSettings, render_digits

from .record import environment, write_json

KEEP_OF_RUNS = 0.7  # of the tokens that RLT computes, where random masking comes on top
VARIANTS = {
    "finetune": ("dense", "ToMe", "random", "RLT"),
    "ablation": ("RLT", "RLT+length", "RLT+random", "RLT+random+length"),
}
PAIR = ("waits_long", "waits_short")  # classes of the built-in set that differ only in how long the digit stands still
DIGITS = DigitsSettings(train_clips=6400)
RECIPE = (
    "--num_train_epochs 2.5 --learning_rate 1e-3 --lr_scheduler_type cosine --warmup_steps 50 --weight_decay 0.05 "
    "--adam_beta2 0.98 --per_device_train_batch_size 16 --per_device_eval_batch_size 32 --logging_steps 50 "
    "--save_strategy no --dataloader_num_workers 0 --disable_tqdm True --report_to none"
)
DIGITS_RECIPE = tuple(RECIPE.split())
SET_HERE = (
    "--threshold --token_keep_ratio --length_embedding --tome_r --seed --output_dir --max_steps --model_name_or_path "
    "--train_dir --validation_dir --train_file --validation_file --video_dir"
)
OWN = tuple(SET_HERE.split())


@dataclass(frozen=True)
class Job:
    """What is fine-tuned, and how.

    Attributes:
        script: the training script, `examples/finetune.py`.
        folder: where runs go.
        data: its arguments that name the videos and the model.
        extra: its further arguments, the same for all variants.
        launch: the words before the script.
        random_ratio: share of all tokens that random masking keeps.
        threshold: RLT's.
        tome_r: tokens that ToMe merges in each block.
        digits: whether this is the built-in set.
    """

    script: Path
    folder: Path
    data: tuple[str, ...]
    extra: tuple[str, ...] = ()
    launch: tuple[str, ...] = (sys.executable,)
    random_ratio: float = 1.0
    threshold: float = 0.1
    tome_r: int = 0
    digits: bool = False

    def variant(self, name: str) -> list[str]:
        """Return the arguments of a variant: "dense", "random", "ToMe", or RLT with "+length", "+random"."""
        parts = name.split("+")
        words = ["--threshold", "none" if parts[0] != "RLT" else f"{self.threshold:g}"]
        if "random" in parts:
            words += ["--token_keep_ratio", f"{self.random_ratio if parts[0] == 'random' else KEEP_OF_RUNS:g}"]
        words += ["--tome_r", str(self.tome_r)] if parts[0] == "ToMe" else []
        return [*words, "--length_embedding", str("length" in parts)]

    def arguments(self, name: str, seed: int) -> list[str]:
        """Return the script's arguments for one run, but for where it goes."""
        return [*self.data, *self.extra, *self.variant(name), "--seed", str(seed)]

    def run_folder(self, name: str, seed: int) -> Path:
        return self.folder / "runs" / f"{name}-{seed}"


def find_script(given: Path | None) -> Path:
    """Return the training script: the given one, else the checkout's."""
    path = given or Path(__file__).parents[3] / "examples" / "finetune.py"
    if not path.is_file():
        raise ValueError(
            f"{path}: expected the training script, found no such file: pass --script examples/finetune.py."
        )
    return path


def data_arguments(train: Path, validation: Path | None, video_dir: Path | None, model: str | None) -> tuple[str, ...]:
    """Return the script's arguments for a folder with a subfolder per class, or an annotation file.

    Raises:
        ValueError: if one is a folder and the other a file, or there is no such thing.
    """
    words: list[str] = []
    kind = "dir" if train.is_dir() else "file"
    for name, path in (("train", train), ("validation", validation)):
        if path is None:
            continue
        if not path.exists():
            raise ValueError(
                f"--{name} {path}: expected a folder of videos or an annotation file, found no such thing."
            )
        if ("dir" if path.is_dir() else "file") != kind:
            raise ValueError(f"--{name} {path}: expected a {'folder' if kind == 'dir' else 'file'}, as --train is.")
        words += [f"--{name}_{kind}", str(path)]
    words += ["--video_dir", str(video_dir)] if video_dir is not None else []
    return (*words, *(["--model_name_or_path", model] if model is not None else []))


def render(folder: Path, settings: DigitsSettings) -> tuple[str, ...]:
    """Return the script's arguments for the built-in set, rendered now unless it is there."""
    clips = render_digits(folder / "digits", settings)
    return ("--train_dir", str(clips / "train"), "--validation_dir", str(clips / "validation"))


def check_extra(words: Sequence[str]) -> None:
    """Raise ValueError if arguments for the script name what the benchmark sets itself."""
    taken = [word for word in words if word.split("=")[0].replace("-", "_").replace("__", "--", 1) in OWN]
    if taken:
        raise ValueError(f"After --: expected arguments that the benchmark does not set itself, received {taken[0]}.")


def train(job: Job, names: Sequence[str], seeds: Sequence[int], say: Callable[[str], None] = print) -> None:
    """Run what has no result yet, seed by seed."""
    for seed in seeds:
        for name in names:
            if result(job, name, seed) is None:
                say(f"{name}, seed {seed}: {job.run_folder(name, seed)}.log")
                _run(job, name, seed)


def result(job: Job, name: str, seed: int) -> dict[str, Any] | None:
    """Return the result of a run, None if it has not ended.

    Raises:
        ValueError: if the folder holds a run of another command.
    """
    folder, wanted = job.run_folder(name, seed), job.arguments(name, seed)
    if not (folder / "arguments.json").is_file():
        return None
    found = json.loads((folder / "arguments.json").read_text())
    if found != wanted:
        place = next(i for i in range(len(wanted)) if found[: i + 1] != wanted[: i + 1])
        place -= not wanted[place].startswith("--")
        here, there = (shlex.join(words[place : place + 2]) for words in (wanted, found))
        raise ValueError(f"{folder}: expected a run with {here}, found one with {there}: pass another --output-dir.")
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else None


def results(job: Job, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the results there are of these variants, of any seed."""
    found = []
    for name in names:
        seeds = [path.parent.name.rpartition("-")[2] for path in job.folder.glob(f"runs/{name}-*/arguments.json")]
        found += [result(job, name, seed) for seed in sorted(int(seed) for seed in seeds if seed.isdigit())]
    return [row for row in found if row is not None]


def _run(job: Job, name: str, seed: int) -> None:
    folder, started = job.run_folder(name, seed), time.perf_counter()
    resumed = any(folder.glob("checkpoint-*")) or (folder / "all_results.json").is_file()
    write_json(folder / "arguments.json", job.arguments(name, seed))
    metrics = start(job, job.arguments(name, seed), folder)
    state = json.loads((folder / "trainer_state.json").read_text())
    measured = environment()
    found = {
        "variant": name,
        "seed": seed,
        "accuracy": metrics["eval_accuracy"],
        "tokens_at_evaluation": metrics["eval_tokens_computed"],
        "steps": state["global_step"],
        # If a run was interrupted or had ended before, the clock covers only its last part.
        "train_seconds": None if resumed else metrics["train_runtime"],
        "wall_seconds": None if resumed else time.perf_counter() - started,
        "threads": torch.get_num_threads(),
        **{key: measured[key] for key in ("date", "commit", "machine")},
    }
    if job.digits:
        found["pair_accuracy"] = pair_accuracy(folder)
        if name == "random":
            found["accuracy_masked"] = masked_accuracy(job, folder)
    write_json(folder / "result.json", found)


def start(job: Job, arguments: Sequence[str], folder: Path) -> dict[str, float]:
    """Return the metrics of one run of the script, which writes into `folder` and says what it does in `folder.log`.

    Raises:
        ValueError: if it fails; the message ends in its last line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    command = [*job.launch, str(job.script), *arguments, "--output_dir", str(folder)]
    with log.open("w") as stream:
        code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT).returncode
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["(it said nothing)"]
        raise ValueError(f"{job.script.name} ended with code {code}; all it said is in {log}, at the end: {lines[-1]}")
    return json.loads((folder / "all_results.json").read_text())


def pair_accuracy(folder: Path) -> float:
    """Return the mean accuracy of the two classes of the built-in set that only timing tells apart."""
    with (folder / "per_class.csv").open() as stream:
        rates = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(stream)}
    return statistics.mean(rates[name] for name in PAIR)


def masked_accuracy(job: Job, folder: Path) -> float:
    """Return top-1 with random masking at evaluation too, at the ratio of the training."""
    validation = job.data[job.data.index("--validation_dir") + 1]
    options = ["--token-keep-ratio", f"{job.random_ratio:g}", "--workers", "0", "--json"]
    command = [sys.executable, "-m", "hf_rlt", "evaluate", str(folder), validation, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{folder}: could not be evaluated: {done.stderr.strip()}")
    return json.loads(done.stdout)["accuracy"]
