# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Recipes: presets of the arguments of a fine-tuning, and what is built from them."""

import os
from typing import Any

import torch
from transformers import TrainingArguments

from ..data import ClipAugmentation, ClipCollator, ClipMix
from ..errors import HfRltError
from .arguments import RecipeArguments
from .trainer import TOKEN_BALANCED_STRATEGIES, scaled_learning_rate

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
        raise HfRltError(f"--recipe: expected none, videomae or videomae-ssv2, received {name!r}.")
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
        raise HfRltError(
            f"Expected {launched} processes to train together, found {training.world_size}: each would train on its own. On "
            "CPUs pass --use_cpu True."
        )
    if args.base_learning_rate is not None:
        total = training.train_batch_size * training.world_size * training.gradient_accumulation_steps
        training.learning_rate = scaled_learning_rate(args.base_learning_rate, total)
    if args.threshold_range is not None and training.train_sampling_strategy in TOKEN_BALANCED_STRATEGIES:
        raise HfRltError(
            f"--train_sampling_strategy {training.train_sampling_strategy} balances by the tokens at one threshold, "
            "--threshold_range draws another for each clip: leave one out."
        )
    smoothing, training.label_smoothing_factor = training.label_smoothing_factor, 0.0
    training.remove_unused_columns = False
    return smoothing
