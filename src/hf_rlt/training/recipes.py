# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Recipes: preset arguments of a fine-tuning."""

from typing import Any

import torch

from ..errors import HfRltError

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
# By width of the model. Warm-up is always five epochs.
SIZES = {
    1024: {"base_learning_rate": 2e-3, "num_train_epochs": 35, "warmup_steps": 5 / 35, "repeated_augmentation": 2},
    1280: {"num_train_epochs": 50, "warmup_steps": 0.1, "repeated_augmentation": 2, "drop_path_rate": 0.2},
}
SSV2 = {
    "base_learning_rate": 5e-4,
    "num_train_epochs": 50,
    "warmup_steps": 0.1,
    "horizontal_flip": 0.0,
    "sampling": "uniform",
    "num_clips": 2,
}

# A few hundred clips and a trained model to start from, on one GPU or CPU: gentle, watched closely, the best epoch kept.
SMALL = {
    "augment": True,
    "rand_augment_ops": 0,
    "random_erasing": 0.0,
    "random_clips": True,
    "label_smoothing_factor": 0.1,
    "num_train_epochs": 10,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "logging_steps": 10,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "accuracy",
}
RECIPES = {"small": SMALL, "videomae": VIDEOMAE, "videomae-ssv2": VIDEOMAE}


def recipe(name: str, hidden_size: int = 768) -> dict[str, Any]:
    """Return the settings of a recipe for a model's width: VideoMAE's B has 768, L 1024, H 1280."""
    if name == "none":
        return {}
    if name not in RECIPES:
        raise HfRltError(f"--recipe: expected none, {', '.join(RECIPES)}, received {name!r}.")
    sizes = {} if name == "small" else SIZES.get(hidden_size, {})
    return {**RECIPES[name], **sizes, **(SSV2 if name == "videomae-ssv2" else {})}


def scaled_learning_rate(base: float, total_batch: int) -> float:
    """Return the learning rate for `total_batch` clips per optimiser step: `base * total_batch / 256`.

    Repeated augmentation does not count. Source: VideoMAE's run_class_finetuning.py (linear scaling).
    """
    return base * total_batch / 256
