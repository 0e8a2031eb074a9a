# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tune (or train from scratch) a video classifier with `Trainer`.

hf-rlt finetune                                                               # a small set, rendered offline
hf-rlt finetune --digits_set hard                                             # a harder one
hf-rlt finetune --train_dir a --validation_dir b --model_name_or_path MCG-NJU/videomae-base
hf-rlt finetune --train_file train.csv --validation_file validation.csv      # path,label
hf-rlt finetune --dataset_name user/videos
hf-rlt finetune settings.json                                                 # the same arguments as JSON

On several processes `accelerate launch -m hf_rlt.training.finetune`, or `accelerate launch examples/finetune.py`, takes
the same arguments. docs/fine_tuning.md has the rest.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from accelerate.utils import broadcast_object_list
from transformers import TrainingArguments, set_seed

from ..data import ClipStream, EvalDataset, TrainStream, VideoList
from ..errors import HfRltError, join_limited, one_line, printable, traceback_wanted
from ..inference.evaluate import IGNORED_OUTPUTS, ClipMetrics, logits_and_tokens
from ..tokens import count_tokens
from .arguments import Groups
from .checkpoints import check_output_dir, saving
from .lora import check_lora
from .model import load_model
from .parsing import TOKEN_BALANCED_STRATEGIES, library_refusals, read_arguments, resolve_training_args
from .recipes import scaled_learning_rate
from .resume import FinishedError, begin, find_start
from .save import save_evaluation, save_training
from .settings import Settings, training_settings
from .trainer import RLTTrainer, sync_unreadable
from .videos import load_clips, make_collator, make_datasets, progress_bar

logger = logging.getLogger("finetune")


@dataclass
class Job:
    """A fine-tuning that is ready to start."""

    trainer: RLTTrainer
    final_data: EvalDataset
    dataset: str  # its name
    base_model: str | None  # what it starts from
    checkpoint: str | None  # what it resumes from


def make_job(argv: list[str], prog: str | None = None) -> Job:
    """Prepare the job of a command line. Users' mistakes show here, before anything is trained."""
    groups = read_arguments(argv, prog)
    model_args, data_args, recipe_args, given_args = groups
    args = resolve_training_args(recipe_args, given_args)
    with library_refusals():
        set_seed(args.seed)
    train, validation, name = load_clips(data_args, args)

    def find() -> tuple[Settings, str | None]:  # reads whole models and checkpoints: once, not in each process
        settings = training_settings(groups, train, validation)
        found = find_start(args.output_dir, settings, args.resume_from_checkpoint)
        return settings, None if found is None else str(found)

    settings, checkpoint = from_first_process(args, find)
    model, processor = load_model(model_args, train.names, data_args.clip_frames)
    check_output_dir(args.output_dir, model.num_parameters())
    rule = processor.run_rule
    for each in (rule, *(rule.changed(num_tokens=share) for share in recipe_args.budget_range or ())):
        each.make_budget(model.config.grid)  # raises now rather than at the first batch
    train_data, eval_data, final_data = make_datasets(groups, processor, train, validation)
    tokens = clip_tokens(train, processor, model.config, groups)
    collator = make_collator(recipe_args, processor, len(train.names), given_args.label_smoothing_factor)
    with library_refusals():
        trainer = RLTTrainer(
            model=model,
            args=args,
            data_collator=collator,
            train_dataset=train_data,
            eval_dataset=eval_data,
            processing_class=processor,
            compute_metrics=ClipMetrics(train.names),
            preprocess_logits_for_metrics=logits_and_tokens,
            layer_decay=recipe_args.layer_decay,
            token_counts=tokens,
            max_tokens=data_args.max_tokens_per_batch,
            settings=settings,
        )
    if model_args.lora_r:
        check_lora(trainer)
    if data_args.max_tokens_per_batch is not None:
        plan_batches(trainer, recipe_args.base_learning_rate)
    size = "a stream of" if isinstance(train, ClipStream) else len(train)
    logger.info(f"{size} training and {len(validation)} validation clips in {len(train.names)} classes")
    return Job(trainer, final_data, name, model_args.model_name_or_path, checkpoint)


def from_first_process(args: TrainingArguments, find: Callable[[], Any]) -> Any:
    """Call `find` in the first process only; return its result, or raise its error, in all processes."""
    if args.world_size == 1:
        return find()
    box: list[Any] = [None, None]
    if args.process_index == 0:
        try:
            box[0] = find()
        except (FinishedError, HfRltError, OSError) as error:
            box[1] = error
    broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]


def clip_tokens(clips: VideoList | ClipStream, processor: Any, config: Any, groups: Groups) -> Sequence[int] | None:
    """Return the tokens that each training clip adds to a batch, 0 for an unreadable one; None if nobody asks."""
    _, data, recipe, args = groups
    budget = data.max_tokens_per_batch is not None
    if isinstance(clips, ClipStream) or not (budget or args.train_sampling_strategy in TOKEN_BALANCED_STRATEGIES):
        return None
    workers = max(args.dataloader_num_workers, 1) * int(os.environ.get("LOCAL_WORLD_SIZE", 1))

    def find() -> np.ndarray:
        with progress_bar("Counting tokens", args) as show:
            found = count_tokens(clips, processor, workers, data.on_bad_video, progress=show)
        return np.array([config.token_counts(count)[0] if count else 0 for count in found.tolist()])

    tokens = from_first_process(args, find)
    clips.unreadable_mask.copy_(torch.from_numpy(tokens == 0))
    if not budget:
        return tokens.tolist()
    kept = tokens if recipe.token_keep_ratio is None else np.round(tokens * recipe.token_keep_ratio).clip(1)
    return np.where(tokens > 0, kept * recipe.repeated_augmentation, 0).astype(int).tolist()


def plan_batches(trainer: RLTTrainer, base_learning_rate: float | None) -> None:
    """Log what the token budget amounts to, and scale the learning rate by the clips of a step."""
    sampler = trainer.budget_sampler
    logger.info(
        f"Batches of {sampler.fill:.1%} of {sampler.max_tokens} tokens on average, {len(sampler)} per process and epoch; "
        f"{sampler.clips_per_step:.1f} clips per step"
    )
    if not_read := len(sampler.sizes) - len(sampler.clips):
        logger.warning(f"{not_read} of {len(sampler.sizes)} training videos cannot be read: they are left out.")
    if base_learning_rate is not None:
        clips = trainer.get_total_train_batch_size(trainer.args)
        trainer.args.learning_rate = scaled_learning_rate(base_learning_rate, clips)


def run(job: Job) -> None:
    """Train, evaluate, save and report."""
    trainer, args = job.trainer, job.trainer.args
    if trainer.is_world_process_zero():
        with saving(args.output_dir, 0):
            begin(args.output_dir, trainer.settings or {})
    with library_refusals((ImportError,)):  # of what a setting needs, such as liger_kernel
        result = trainer.train(resume_from_checkpoint=job.checkpoint, ignore_keys_for_eval=IGNORED_OUTPUTS)
    trained = trainer.state.global_step > trainer._initial_global_step
    save_training(trainer, result.metrics if trained else None)
    metrics = trainer.evaluate(job.final_data, ignore_keys=IGNORED_OUTPUTS)
    for data in (trainer.train_dataset, job.final_data):
        sync_unreadable(data, args)
    save_evaluation(trainer, job.final_data, metrics, job.dataset, job.base_model)
    if args.push_to_hub:
        trainer.push_to_hub()
    if trainer.is_world_process_zero():
        report(result.metrics if trained else {}, metrics, trainer, job.final_data)
    trainer.accelerator.wait_for_everyone()  # a rank that leaves while another still works can take the job down
    trainer.end()


def report(train: dict[str, float], metrics: dict[str, float], trainer: RLTTrainer, final_data: EvalDataset) -> None:
    """Print a summary of the results."""
    folder, example = trainer.args.output_dir, final_data.clips.sources[0]
    views = f", {final_data.num_views} views each" if final_data.num_views > 1 else ""
    rows = [
        ("\nTop-1 accuracy on held-out clips", f"{metrics['eval_accuracy']:.1%} of {metrics['eval_clips']}{views}"),
        ("Tokens computed", f"{metrics['eval_tokens_computed']:.1%}"),
    ]
    if train:
        seconds = 1 / max(train["train_steps_per_second"], 1e-9)
        rows.append(("Training speed", f"{train['train_samples_per_second']:.1f} clips/s, {seconds:.3f} s/step"))
    for title, data in {"training": trainer.train_dataset, "validation": final_data}.items():
        if isinstance(data, TrainStream):
            skipped = f"{count} videos of the stream, named above" if (count := int(data.unreadable_count)) else ""
        else:
            bad = data.unreadable()
            skipped = f"{len(bad)} of {len(data)} {title} videos: {join_limited(bad, 5)}" if bad else ""
        if skipped:
            rows.append(("Skipped, cannot be read", skipped))
    clip = example if isinstance(example, Path) else "CLIP"
    rows += [("Model, processor and card", folder), ("Try it", f"hf-rlt classify {clip} --model {folder}")]
    for name, value in rows:
        typer.echo(f"{name:<34}{printable(value)}")


def main(argv: list[str] | None = None, prog: str = "finetune.py") -> None:
    """Run the job of the command line.

    A user's mistake prints one line and exits with code 2; a bug shows its traceback.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    job, first = None, os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        job = make_job(sys.argv[1:] if argv is None else argv, prog)
        run(job)
    except (FinishedError, HfRltError, OSError) as error:
        finished = isinstance(error, FinishedError)
        if not finished and traceback_wanted():
            raise
        if first or job is not None:  # during training, one process may be the only one that knows
            typer.echo(printable(("" if finished else f"{prog}: error: ") + one_line(error)), err=not finished)
        if job is None and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        raise SystemExit(0 if finished else 2) from None


if __name__ == "__main__":
    main()
