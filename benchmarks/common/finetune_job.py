# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""One fine-tuning job in several variants and seeds: its arguments, runs and results."""

import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_rlt.data import hard_digits
from hf_rlt.errors import HfRltError

from .record import environment, say, write_json

KEEP_OF_RUNS = 0.7  # of the tokens that RLT computes, where random masking comes on top
VARIANTS = {
    "finetune": ("dense", "ToMe", "random", "RLT"),
    "ablation": ("RLT", "RLT+length", "RLT+random", "RLT+random+length"),
}
# Of the built-in sets' classes; the pair differs only in how long the digit stands still.
GROUPS: dict[str, Mapping[str, Sequence[str]]] = {
    "standard": {"pair": ("waits_long", "waits_short")},
    "hard": hard_digits.GROUPS,
}
SET_HERE = """
    --threshold --token_keep_ratio --length_embedding --tome_r --seed --output_dir --max_steps --model_name_or_path
    --train_dir --validation_dir --train_file --validation_file --video_dir
"""


@dataclass(frozen=True)
class Variant:
    """What the runs of one kind have of their own."""

    arguments: tuple[str, ...]
    launch: tuple[str, ...] = ()  # instead of the job's

    @property
    def random_share(self) -> float | None:
        """The share of all tokens that random masking alone keeps; None for anything else."""
        if "--token_keep_ratio" not in self.arguments or "none" not in self.arguments:
            return None
        return float(self.arguments[self.arguments.index("--token_keep_ratio") + 1])


@dataclass(frozen=True)
class Job:
    """What is fine-tuned, and how."""

    launch: tuple[str, ...]  # the command without arguments
    folder: Path  # where runs go
    about: str = ""  # what the table says of the data
    data: tuple[str, ...] = ()  # arguments that name the videos and the model
    extra: tuple[str, ...] = ()  # further arguments, the same for all variants
    variants: Mapping[str, Variant] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)  # what the record says of the variants
    digits: str = ""  # the name of the built-in set, if it is one
    threads: int | None = None  # of each run; torch's default unless given

    def arguments(self, name: str, seed: int) -> list[str]:
        """Return the arguments of one run, but for where it goes."""
        return [*self.data, *self.extra, *self.variants[name].arguments, "--seed", str(seed)]

    def run_folder(self, name: str, seed: int) -> Path:
        """Return the folder of one run."""
        return self.folder / "runs" / f"{name}-{seed}"

    def settings(self) -> dict[str, Any]:
        """Return the settings for the record."""
        return {**self.values, "arguments": [*self.data, *self.extra]}


def paper_values(threshold: float, random_ratio: float, tome_r: int) -> dict[str, Any]:
    """Return what `paper_variants` takes, and what else the record says of them."""
    own = {"threshold": threshold, "random_ratio": random_ratio, "tome_r": tome_r}
    return {**own, "keep_of_runs": KEEP_OF_RUNS}


def paper_variants(values: Mapping[str, Any]) -> dict[str, Variant]:
    """Make the paper's variants: "dense", "random", "ToMe", and RLT with "+length", "+random"."""
    found = {}
    for name in (name for names in VARIANTS.values() for name in names):
        parts = name.split("+")
        words = ["--threshold", "none" if parts[0] != "RLT" else f"{values['threshold']:g}"]
        if "random" in parts:
            share = values["random_ratio" if parts[0] == "random" else "keep_of_runs"]
            words += ["--token_keep_ratio", f"{share:g}"]
        words += ["--tome_r", str(values["tome_r"])] if parts[0] == "ToMe" else []
        found[name] = Variant((*words, "--length_embedding", str("length" in parts)))
    return found


def data_arguments(train: Path, validation: Path | None, video_dir: Path | None, model: str | None) -> tuple[str, ...]:
    """Return the arguments for a folder with a subfolder per class, or an annotation file."""
    kind = "dir" if train.is_dir() else "file"
    for name, path in (("train", train), ("validation", validation)):
        if path is not None and not (path.is_dir() if kind == "dir" else path.is_file()):
            raise HfRltError(
                f"--{name} {path}: expected a folder of videos or an annotation file, the same as --train."
            )
    given: dict[str, Any] = {f"train_{kind}": train, f"validation_{kind}": validation, "video_dir": video_dir}
    given["model_name_or_path"] = model
    return tuple(word for name, value in given.items() if value is not None for word in (f"--{name}", str(value)))


def check_extra(words: Sequence[str]) -> None:
    """Raise HfRltError if further arguments name what the benchmark sets itself."""
    for word in words:
        if word.split("=")[0].replace("-", "_").replace("__", "--", 1) in SET_HERE.split():
            raise HfRltError(f"After --: expected arguments that the benchmark does not set itself, received {word}.")


def train(job: Job, names: Sequence[str], seeds: Sequence[int], processes: int = 1) -> None:
    """Run what has no result yet, seed by seed; raise the first error when the runs after it have been tried, too.

    Args:
        job: what is fine-tuned.
        names: of the variants.
        seeds: of the runs.
        processes: number of runs at the same time.
    """
    runs = [(name, seed) for seed in seeds for name in names if load_result(job, name, seed) is None]

    def run(name: str, seed: int) -> HfRltError | None:
        say(f"{name}, seed {seed}: {job.run_folder(name, seed)}.log")
        try:
            _run(job, name, seed)
        except HfRltError as error:
            say(str(error))
            return error
        return None

    with ThreadPoolExecutor(processes) as pool:
        errors = [error for error in pool.map(run, *zip(*runs, strict=True)) if error] if runs else []
    if errors:
        raise errors[0]


def load_result(job: Job, name: str, seed: int) -> dict[str, Any] | None:
    """Return the result of a run, None if it has not ended; refuse a folder that holds a run of another command."""
    folder, wanted = job.run_folder(name, seed), job.arguments(name, seed)
    if not (folder / "arguments.json").is_file():
        return None
    found = json.loads((folder / "arguments.json").read_text())
    if found != wanted:
        here, there = (shlex.join(word) for word in (wanted, found))
        raise HfRltError(f"{folder}: expected a run of {here}, found one of {there}: pass another --output.")
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else None


def results(job: Job, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the results there are of these variants, of any seed."""
    found = []
    for name in names:
        seeds = [path.parent.name.rpartition("-")[2] for path in job.folder.glob(f"runs/{name}-*/arguments.json")]
        found += [load_result(job, name, seed) for seed in sorted(map(int, filter(str.isdigit, seeds)))]
    return [row for row in found if row is not None]


def _run(job: Job, name: str, seed: int) -> None:
    folder, started = job.run_folder(name, seed), time.perf_counter()
    resumed = any(folder.glob("checkpoint-*")) or (folder / "all_results.json").is_file()
    write_json(folder / "arguments.json", job.arguments(name, seed))
    metrics = start(job, name, job.arguments(name, seed), folder)
    measured = environment()
    found: dict[str, Any] = {"variant": name, "seed": seed, "accuracy": metrics["eval_accuracy"]}
    found["tokens_at_evaluation"] = metrics["eval_tokens_computed"]
    found["steps"] = json.loads((folder / "trainer_state.json").read_text())["global_step"]
    # If a run was interrupted or had ended before, the clock covers only its last part.
    found["train_seconds"] = None if resumed else metrics["train_runtime"]
    found["wall_seconds"] = None if resumed else time.perf_counter() - started
    found |= {key: measured[key] for key in ("date", "commit", "machine")}
    if job.digits:
        found |= _group_accuracies(folder, GROUPS[job.digits])
        if (share := job.variants[name].random_share) is not None:
            found["accuracy_masked"] = _masked_accuracy(job, folder, share)
    write_json(folder / "result.json", found)


def start(job: Job, name: str, arguments: Sequence[str], folder: Path) -> dict[str, float]:
    """Run a variant of the job into `folder`, its output into `folder.log`, and return its metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    with log.open("w") as stream:
        command = [*(job.variants[name].launch or job.launch), *arguments, "--output_dir", str(folder)]
        code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, env=_environment(job)).returncode
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["(it said nothing)"]
        raise HfRltError(f"The job ended with code {code}; all it said is in {log}, at the end: {lines[-1]}")
    return json.loads((folder / "all_results.json").read_text())


def _environment(job: Job) -> dict[str, str]:
    return {**os.environ, **({} if job.threads is None else {"OMP_NUM_THREADS": str(job.threads)})}


def _group_accuracies(folder: Path, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the mean accuracy of each group of classes, as `GROUP_accuracy`."""
    with (folder / "per_class.csv").open() as stream:
        rates = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(stream)}
    return {f"{group}_accuracy": statistics.mean(rates[name] for name in names) for group, names in groups.items()}


def _masked_accuracy(job: Job, folder: Path, share: float) -> float:
    """Return top-1 with random masking at evaluation too, at the share of the training."""
    validation = job.data[job.data.index("--validation_dir") + 1]
    options = ["--token-keep-ratio", f"{share:g}", "--num-workers", "0", "--json"]
    command = [sys.executable, "-m", "hf_rlt", "evaluate", validation, "--model", str(folder), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_environment(job))
    return json.loads(done.stdout)["accuracy"]
