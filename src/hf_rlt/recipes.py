# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a fine-tuning can be told beside `TrainingArguments`, and the recipes that preset it."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import HfArgumentParser, TrainingArguments

from .data import ClipAugmentation, ClipCollator, ClipMix
from .training import BY_TOKENS, scaled_learning_rate


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "VideoMAE or RLT-VideoMAE to start from; a small one from scratch if not given."},
    )
    threshold: str = field(default="0.1", metadata={"help": "RLT's threshold, or none to compute every token."})
    length_embedding: bool = field(default=False, metadata={"help": "Learn an embedding of the run length."})
    drop_path_rate: float = field(default=0.0, metadata={"help": "Stochastic depth per clip in the last block."})
    head_init_scale: float = field(default=1.0, metadata={"help": "Factor on the initial weights of a new head."})
    frame_stride: int | None = field(
        default=None, metadata={"help": "Distance of a clip's frames; the processor's own, or 2 from scratch."}
    )
    sampling: str | None = field(
        default=None, metadata={"help": "clip (strided) or uniform (over the whole video); the processor's own."}
    )


@dataclass
class DataArguments:
    """Which videos. Without any, a small set is rendered."""

    train_dir: str | None = field(default=None, metadata={"help": "Training videos, one subfolder per class."})
    validation_dir: str | None = field(default=None, metadata={"help": "Validation videos, one subfolder per class."})
    train_file: str | None = field(
        default=None, metadata={"help": "CSV (path,label), Kinetics CSV or Something-Something JSON."}
    )
    validation_file: str | None = field(default=None, metadata={"help": "The same for validation."})
    video_dir: str | None = field(default=None, metadata={"help": "Where the videos of the files are."})
    label_file: str | None = field(default=None, metadata={"help": "JSON from class name to index (labels.json)."})
    dataset_name: str | None = field(default=None, metadata={"help": "Data set on the Hub with a Video column."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its configuration, if it has several."})
    train_split: str = field(default="train", metadata={"help": "Its split to train on."})
    validation_split: str | None = field(default=None, metadata={"help": "Its split to evaluate on."})
    streaming: bool = field(default=False, metadata={"help": "Stream the training split; needs --max_steps."})
    validation_fraction: float = field(
        default=0.15, metadata={"help": "Share of the training videos held out if no validation videos are given."}
    )
    on_bad_video: str = field(
        default="raise", metadata={"help": "raise: stop at a video that cannot be read. skip: report it and go on."}
    )
    digits_dir: str | None = field(default=None, metadata={"help": "Where the rendered set is kept."})
    cache_megabytes: int = field(default=512, metadata={"help": "Decoded frames kept in memory per loading process."})
    num_clips: int = field(default=1, metadata={"help": "Temporal clips per video in the final evaluation."})
    num_crops: int = field(default=1, metadata={"help": "Crops per temporal clip in the final evaluation."})

    @property
    def source(self) -> str:
        """Which of the four ways to get videos was chosen."""
        given = {"folder": self.train_dir, "file": self.train_file, "hub": self.dataset_name}
        chosen = [name for name, value in given.items() if value]
        if len(chosen) > 1 or (chosen and self.digits_dir):
            raise ValueError("Expected one of --train_dir, --train_file, --dataset_name, --digits_dir: leave one.")
        if not chosen and (self.validation_dir or self.validation_file):
            raise ValueError("Received validation videos only: add --train_dir or --train_file.")
        return chosen[0] if chosen else "digits"


@dataclass
class RecipeArguments:
    """How clips are changed and learned from."""

    recipe: str = field(default="none", metadata={"help": "Presets: none, videomae or videomae-ssv2."})
    base_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate at 256 clips per step, scaled linearly to the real number."}
    )
    layer_decay: float | None = field(default=None, metadata={"help": "Factor on the learning rate per block."})
    augment: bool = field(default=False, metadata={"help": "Random crop, flip, RandAugment and erasing as set below."})
    random_clips: bool = field(default=False, metadata={"help": "Train on clips from anywhere in the video."})
    crop_scale: float = field(default=0.08, metadata={"help": "Smallest share of a frame that is cropped; 1: no crop."})
    horizontal_flip: float = field(default=0.5, metadata={"help": "Probability; 0 where left and right matter."})
    rand_augment_ops: int = field(default=4, metadata={"help": "Operations of RandAugment, each with probability 0.5."})
    rand_augment_magnitude: int = field(default=7, metadata={"help": "Their strength, 0 to 10."})
    random_erasing: float = field(default=0.25, metadata={"help": "Probability of erasing a box."})
    mixup: float = field(default=0.0, metadata={"help": "Alpha of mixup; 0 turns it off."})
    cutmix: float = field(default=0.0, metadata={"help": "Alpha of cutmix; 0 turns it off."})
    repeated_augmentation: int = field(default=1, metadata={"help": "Augmentations of each clip in a batch."})
    token_keep_ratio: float | None = field(
        default=None, metadata={"help": "Share of the computed tokens that training keeps, drawn at random."}
    )
    threshold_range: list[float] | None = field(
        default=None, metadata={"nargs": 2, "help": "Train with thresholds drawn from LOWEST HIGHEST for each clip."}
    )


def given_names(argv: Sequence[str]) -> set[str]:
    """Returns the names of the arguments that a command line, or the JSON file that is its only word, sets."""
    if len(argv) == 1 and argv[0].endswith(".json"):
        return set(json.loads(Path(argv[0]).read_text()))
    return {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}


def parse(argv: Sequence[str], presets: Callable, error: Callable[[str], NoReturn]) -> tuple:
    """Returns the four argument groups of a command line, or of a JSON file if that is the only argument.

    Args:
        argv: without the program's name.
        presets: from a function `get(name)`, which gives what the user set of our groups, to the job's own defaults.
        error: is called with a message, and ends the program.
    """
    ours = (ModelArguments, DataArguments, RecipeArguments)
    parser = HfArgumentParser((*ours, TrainingArguments), allow_abbrev=False)
    parser.error = error  # type: ignore[method-assign]  # argparse would print hundreds of lines of usage
    if len(argv) == 1 and argv[0].endswith(".json"):
        given = json.loads(Path(argv[0]).read_text())
        return parser.parse_dict({**presets(given.get), **given})
    first = HfArgumentParser(ours, allow_abbrev=False)
    first.error, first.print_help = error, lambda: None  # type: ignore[method-assign]
    known = vars(first.parse_known_args([a for a in argv if a not in ("-h", "--help")])[0])
    preset = [word for name, value in presets(known.get).items() for word in (f"--{name}", _word(value))]
    return parser.parse_args_into_dataclasses([*preset, *argv])  # the last one given wins


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


# The recipe of the job without arguments.
DIGITS = {
    "num_train_epochs": 5,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "weight_decay": 0.05,
    "adam_beta2": 0.98,
    "logging_steps": 50,
    "save_strategy": "no",
    "dataloader_num_workers": 1,
    "dataloader_persistent_workers": True,
    "dataloader_pin_memory": torch.cuda.is_available(),
}

# Source: VideoMAE's fine-tuning scripts and the defaults of run_class_finetuning.py.
VIDEOMAE = {
    "augment": True,
    "random_clips": True,
    "mixup": 0.8,
    "cutmix": 1.0,
    "label_smoothing_factor": 0.1,
    "drop_path_rate": 0.1,
    "head_init_scale": 0.001,
    "layer_decay": 0.75,
    "base_learning_rate": 1e-3,
    "num_train_epochs": 100,
    "weight_decay": 0.05,
    "adam_beta2": 0.999,
    "max_grad_norm": 0.0,
    "lr_scheduler_type": "cosine_with_min_lr",
    "lr_scheduler_kwargs": {"min_lr_rate": 1e-3},
    "warmup_steps": 0.05,  # of all steps: 5 of 100 epochs
    "dataloader_drop_last": True,
    "num_clips": 5,
    "num_crops": 3,
}
# Warm-up is five epochs for all of them.
SIZES = {
    1024: {"base_learning_rate": 2e-3, "num_train_epochs": 35, "warmup_steps": 5 / 35, "repeated_augmentation": 2},
    1280: {
        "num_train_epochs": 50,
        "warmup_steps": 0.1,
        "repeated_augmentation": 2,
        "drop_path_rate": 0.2,
    },
}
SSV2 = {
    "base_learning_rate": 5e-4,
    "num_train_epochs": 50,
    "warmup_steps": 0.1,
    "horizontal_flip": 0.0,
    "sampling": "uniform",
    "num_clips": 2,
}


def platform() -> dict[str, Any]:
    """Returns the settings that the machine asks for: without an accelerator several processes need to be told so."""
    return {} if torch.accelerator.is_available() else {"use_cpu": True}


def recipe(name: str, hidden_size: int = 768) -> dict[str, Any]:
    """Returns the settings of a recipe for a model of this width: VideoMAE's B (768), L (1024) or H (1280).

    Args:
        name: "none", "videomae" (Kinetics and most others) or "videomae-ssv2" (Something-Something: no flips, uniform
            frames).
        hidden_size: width of the model.

    Raises:
        ValueError: for another name.
    """
    if name not in ("none", "videomae", "videomae-ssv2"):
        raise ValueError(f"--recipe: expected none, videomae or videomae-ssv2, received {name!r}.")
    if name == "none":
        return {}
    settings = {**VIDEOMAE, **SIZES.get(hidden_size, {})}
    return {**settings, **SSV2} if name == "videomae-ssv2" else settings


def make_augmentation(args: RecipeArguments, processor: Any) -> ClipAugmentation | None:
    """Returns the augmentation that the arguments ask for; None for none."""
    if not args.augment:
        return None
    return ClipAugmentation(
        processor,
        args.crop_scale,
        args.horizontal_flip,
        args.rand_augment_ops,
        args.rand_augment_magnitude,
        args.random_erasing,
    )


def make_collator(args: RecipeArguments, processor: Any, num_classes: int, label_smoothing: float) -> ClipCollator:
    """Returns the collator that the arguments ask for."""
    mix = ClipMix(num_classes, args.mixup, args.cutmix) if args.mixup or args.cutmix else None
    return ClipCollator(processor, mix, label_smoothing, num_classes, args.threshold_range, args.token_keep_ratio)


def settle(args: RecipeArguments, training: TrainingArguments) -> float:
    """Returns the label smoothing, taken over from Trainer, after scaling the learning rate and checking the settings.

    `training` is changed: its learning rate by `base_learning_rate`, its label smoothing to 0 (it takes no soft targets;
    the collator smooths instead), and unused columns are kept (items carry seeds, which the model does not take).

    Raises:
        ValueError: for settings that exclude each other.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != training.world_size:
        raise ValueError(
            f"Expected {launched} processes to train together, found {training.world_size}: each would train on its own. On "
            "CPUs pass --use_cpu True."
        )
    if args.base_learning_rate is not None:
        total = training.train_batch_size * training.world_size * training.gradient_accumulation_steps
        training.learning_rate = scaled_learning_rate(args.base_learning_rate, total)
    if args.threshold_range is not None and training.train_sampling_strategy in BY_TOKENS:
        raise ValueError(
            f"--train_sampling_strategy {training.train_sampling_strategy} balances by the tokens at one threshold, "
            "--threshold_range draws another for each clip: leave one out."
        )
    smoothing, training.label_smoothing_factor = training.label_smoothing_factor, 0.0
    training.remove_unused_columns = False
    return smoothing
