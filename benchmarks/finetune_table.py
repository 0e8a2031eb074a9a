# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tuning table on the built-in data set: dense, RLT, random masking and their combinations, over several seeds.

python benchmarks/finetune_table.py train --seeds 0 1 2      # accuracy; goes on where it was interrupted
python benchmarks/finetune_table.py time                     # seconds per step, in turn; nothing else may run
python benchmarks/finetune_table.py report                   # the Markdown table, and table.json

`train` may run several times at once (with other seeds or variants); `time` may not.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
import transformers

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import ClipDataset, DigitsSettings, count_tokens, from_folder, render_digits
from hf_rlt.measure import interleaved_seconds

ROOT = Path(__file__).parents[1]
CLIPS = DigitsSettings(train_clips=6400)
PAIR = ("waits_long", "waits_short")  # they differ only in how long the digit stands still
EPOCHS, BATCH = 2.5, 16
KEEP_OF_RUNS = 0.7
RECIPE = (
    "--learning_rate 1e-3 --lr_scheduler_type cosine --warmup_steps 50 --weight_decay 0.05 --adam_beta2 0.98 "
    f"--per_device_train_batch_size {BATCH} --per_device_eval_batch_size 32 --logging_steps 50 --save_strategy no "
    "--dataloader_num_workers 0 --disable_tqdm True --report_to none"
).split()


def variants(ratio: float) -> dict[str, list[str]]:
    """Returns the arguments of each variant; `ratio` is the share of tokens that RLT computes."""
    dense, length = ["--threshold", "none"], ["--length_embedding", "True"]
    keep = ["--token_keep_ratio", str(KEEP_OF_RUNS)]
    return {
        "dense": dense,
        "RLT": [],
        "RLT + length": length,
        f"random {ratio:.3f}": [*dense, "--token_keep_ratio", f"{ratio:.3f}"],
        f"RLT + random {KEEP_OF_RUNS}": keep,
        f"RLT + random {KEEP_OF_RUNS} + length": [*keep, *length],
    }


def data(folder: Path) -> tuple[Path, float]:
    """Returns the folder of the rendered clips and the share of tokens that RLT computes of the training clips."""
    clips = render_digits(folder / "digits", CLIPS)
    size = {"height": 64, "width": 64}
    processor = RLTVideoProcessor(num_frames=16, frame_stride=2, patch_size=8, size=size, crop_size=size)
    counts = count_tokens(from_folder(clips / "train"), processor, cache_dir=folder / "tokens")
    return clips, float(counts.mean()) / 512


def finetune(clips: Path, output: Path, *options: str) -> dict[str, float]:
    """Returns the metrics of one run of examples/finetune.py."""
    sets = ["--train_dir", str(clips / "train"), "--validation_dir", str(clips / "validation")]
    command = [sys.executable, str(ROOT / "examples" / "finetune.py"), *sets, "--output_dir", str(output), *RECIPE]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads((output / "all_results.json").read_text())


def pair_accuracy(output: Path) -> float:
    """Returns the mean accuracy of the two classes that only timing tells apart."""
    with (output / "per_class.csv").open() as stream:
        rates = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(stream)}
    return statistics.mean(rates[name] for name in PAIR)


def train(folder: Path, seeds: list[int], only: list[str] | None) -> None:
    clips, ratio = data(folder)
    for seed in seeds:
        for name, options in variants(ratio).items():
            output = folder / "runs" / f"{name.replace(' ', '_')}-{seed}"
            if (output / "result.json").is_file() or (only and name not in only):
                continue
            started = time.perf_counter()
            metrics = finetune(clips, output, "--num_train_epochs", str(EPOCHS), "--seed", str(seed), *options)
            result = {
                "variant": name,
                "seed": seed,
                "accuracy": metrics["eval_accuracy"],
                "pair_accuracy": pair_accuracy(output),
                "tokens_at_evaluation": metrics["eval_tokens_computed"],
                "train_seconds": metrics["train_runtime"],
                "wall_seconds": time.perf_counter() - started,
                "threads": torch.get_num_threads(),
            }
            if name.startswith("random"):
                result["accuracy_masked"] = masked_accuracy(output, clips, ratio)
            (output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
            print(json.dumps(result), flush=True)


def masked_accuracy(output: Path, clips: Path, ratio: float) -> float:
    """Returns top-1 with random masking at evaluation too, at the ratio of the training."""
    command = [sys.executable, "-m", "hf_rlt", "evaluate", str(output), str(clips / "validation")]
    options = ["--token-keep-ratio", f"{ratio:.3f}", "--workers", "0", "--json"]
    return json.loads(subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout)[
        "accuracy"
    ]


def model_seconds(clips: Path, ratio: float) -> dict[str, float]:
    """Returns the median seconds of forward, backward and optimiser step of each variant on one batch in memory."""
    sys.path.insert(0, str(ROOT / "examples"))
    import finetune as script

    listed = from_folder(clips / "train")
    calls = {}
    for name, options in variants(ratio).items():
        arguments, _, settings, _ = script.read_arguments(["--train_dir", "x", "--output_dir", "x", *options])
        torch.manual_seed(0)
        model, processor = script.load_model(arguments, listed.names)
        items = ClipDataset(listed, processor)
        batch = script.make_collator(settings, processor, len(listed.names), 0.0)(
            [items[i * 100] for i in range(BATCH)]
        )
        calls[name] = partial(step, model, torch.optim.AdamW(model.parameters()), batch)
    return interleaved_seconds(calls, repeats=15, warmup=2)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> None:
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(folder: Path, steps: int, rounds: int) -> None:
    clips, ratio = data(folder)
    seconds: dict[str, list[float]] = {name: [] for name in variants(ratio)}
    for _ in range(rounds):
        for name, options in variants(ratio).items():
            metrics = finetune(clips, folder / "timing", "--max_steps", str(steps), *options)
            seconds[name].append(metrics["train_runtime"] / steps)
            print(f"{name}: {seconds[name][-1]:.4f} s/step", flush=True)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, float32, batch {BATCH}"
    record = {
        "seconds_per_step": seconds,
        "model_seconds": model_seconds(clips, ratio),
        "steps": steps,
        "machine": machine,
        "versions": versions,
    }
    (folder / "timing.json").write_text(json.dumps(record, indent=2) + "\n")


def report(folder: Path) -> None:
    _, ratio = data(folder)
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/result.json"))]
    timing = json.loads((folder / "timing.json").read_text())
    (folder / "table.json").write_text(json.dumps({"runs": results, "timing": timing}, indent=1) + "\n")
    steps = int(CLIPS.train_clips // BATCH * EPOCHS)
    speed = {name: statistics.median(values) for name, values in timing["seconds_per_step"].items()}
    alone = timing["model_seconds"]
    print(
        "| variant | top-1, mean (lowest to highest) | pair that only timing separates | whole job | speed-up | ",
        end="",
    )
    print("model step | speed-up |\n|---|---|---|---|---|---|---|")
    for name in variants(ratio):
        rows = [row for row in results if row["variant"] == name]
        cells = [_spread([row[key] for row in rows]) for key in ("accuracy", "pair_accuracy")]
        minutes = speed[name] * steps / 60
        factors = [f"{measured['dense'] / measured[name]:.1f} x" for measured in (speed, alone)]
        print(
            f"| {name} | {cells[0]} | {cells[1]} | {speed[name]:.3f} s/step, {minutes:.1f} min | {factors[0]} | ",
            end="",
        )
        print(f"{alone[name]:.3f} s | {factors[1]} |")
        masked = [row["accuracy_masked"] for row in rows if "accuracy_masked" in row]
        if masked:
            print(f"| {name}, masked at evaluation too | {_spread(masked)} | | | | | |")
    print(f"\n{len({row['seed'] for row in results})} seeds, {steps} steps; {timing['machine']}; {timing['versions']}.")


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "time", "report"])
    parser.add_argument("--folder", type=Path, default=Path("outputs/finetune_table"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--steps", type=int, default=60, help="of each timing")
    parser.add_argument("--rounds", type=int, default=3, help="timings of each variant")
    args = parser.parse_args()
    if args.what == "train":
        train(args.folder, args.seeds, args.variants)
    elif args.what == "time":
        measure(args.folder, args.steps, args.rounds)
    else:
        report(args.folder)


if __name__ == "__main__":
    main()
