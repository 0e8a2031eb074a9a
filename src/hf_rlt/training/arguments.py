# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The arguments of fine-tuning, in groups."""

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from ..data import RenderSettings, digits_settings
from ..errors import HfRltError
from ..rule_options import rule_changes


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = _option(
        None, "Folder or Hub id to start from. Default: a small model, from scratch."
    )
    model_type: str | None = _option(None, "Network of a model from scratch: rlt_videomae (default) or rlt_vjepa2.")
    train_only: str = _option("all", "all, or head: everything behind the encoder, which is frozen (a probe).")
    lora_r: int = _option(0, "Train LoRA matrices of this rank and what is behind the encoder; merged when saved.")
    threshold: str = _option("model", "RLT threshold, none (dense), or model (its own rule; 0.1 from scratch).")
    rule: str | None = _option(
        None,
        "Compare a tubelet with the one before it (threshold) or with the first of its run (anchor), or find the runs that "
        "reconstruct best with --num_tokens (optimal).",
    )
    max_tokens: str | None = _option(None, "Tokens per clip, at most: a number such as 512, or a share such as 0.2.")
    num_tokens: str | None = _option(
        None, "Tokens per clip, exactly: a number or a share. Not together with --threshold."
    )
    budget: str | None = _option(None, "clip: each clip has its own budget. batch: the clips of a batch share one.")
    budget_groups: int | None = _option(None, "Spread the budget evenly over this many groups of tubelets in time.")
    length_embedding: bool | None = _option(None, "Learn an embedding of the run length. Default: as the model.")
    proportional_attention: bool | None = _option(None, "Count keys by their run length. Default: as the model.")
    method: str | None = _option(
        None, "Train a baseline: tome (with --tome_r) or by_difference (with --num_tokens). Default: as the model."
    )
    tome_r: int = _option(0, "Merge this many tokens in each block (ToMe, a baseline).")
    num_frames: int | None = _option(None, "Frames per clip. Default: the model's own, or 16 from scratch.")
    drop_path_rate: float = _option(0.0, "Stochastic depth per clip in the last block.")
    head_init_scale: float = _option(1.0, "Factor on the initial weights of a new head.")
    frame_stride: int | None = _option(
        None, "Take every Nth frame. Default: the model's own, or 2 from scratch (hard: 4)."
    )
    sampling: str | None = _option(None, "clip (every Nth frame) or uniform (whole video). Default: the model's own.")

    @property
    def rule_changes(self) -> dict[str, Any]:
        """The settings of the rule that are not to be the model's own."""
        return rule_changes(vars(self))


@dataclass
class DataArguments:
    """Which videos. Without any, a small set is rendered."""

    train_dir: str | None = _option(None, "Training videos, one subfolder per class.")
    validation_dir: str | None = _option(None, "Validation videos, one subfolder per class.")
    train_file: str | None = _option(None, "CSV (path,label), Kinetics CSV or Something-Something JSON.")
    validation_file: str | None = _option(None, "The same for validation.")
    video_dir: str | None = _option(None, "Folder with the videos of an annotation file.")
    label_file: str | None = _option(None, "JSON from class name to index (labels.json).")
    dataset_name: str | None = _option(None, "Data set on the Hub with a Video column.")
    dataset_config_name: str | None = _option(None, "Configuration of the data set, if it has several.")
    train_split: str = _option("train", "Split of the data set to train on.")
    validation_split: str | None = _option(None, "Split of the data set to evaluate on.")
    streaming: bool = _option(False, "Stream the training split; needs --max_steps.")
    validation_fraction: float = _option(0.15, "Share of training videos to hold out if no others are given.")
    on_bad_video: str = _option("raise", "raise: stop at an unreadable video. skip: report it and go on.")
    digits_set: str = _option("standard", "Built-in set: standard (8 classes) or hard (20, on which methods differ).")
    digits_dir: str | None = _option(None, "Folder for the built-in set.")
    max_tokens_per_batch: int | None = _option(None, "Computed tokens per training batch and process, at most.")
    cache_megabytes: int = _option(512, "Decoded frames to keep in memory per loading process.")
    num_clips: int = _option(1, "Temporal clips per video in the final evaluation.")
    num_crops: int = _option(1, "Crops per temporal clip in the final evaluation.")

    @property
    def source(self) -> str:
        """Which of the four ways to get videos was chosen."""
        given = {"folder": self.train_dir, "file": self.train_file, "hub": self.dataset_name}
        chosen = [name for name, value in given.items() if value]
        if len(chosen) > 1 or (chosen and (self.digits_dir or self.digits_set != "standard")):
            names = "--train_dir, --train_file, --dataset_name, --digits_dir or --digits_set"
            raise HfRltError(f"Expected one of {names}: leave one.")
        if not chosen and (self.validation_dir or self.validation_file):
            raise HfRltError("Received validation videos only: add --train_dir or --train_file.")
        return chosen[0] if chosen else "digits"

    @property
    def rendered(self) -> RenderSettings:
        """What the built-in set is rendered from."""
        return digits_settings(self.digits_set)

    @property
    def clip_frames(self) -> int:
        """How many frames of a video a clip spans in a model from scratch."""
        return self.rendered.frames if self.source == "digits" else 32


@dataclass
class RecipeArguments:
    """How clips are augmented, and how the model learns from them."""

    recipe: str = _option(
        "none", "Presets: none, small (a few hundred clips), videomae, videomae-ssv2. Explicit options take precedence."
    )
    base_learning_rate: float | None = _option(None, "Learning rate at 256 clips per step, scaled linearly.")
    layer_decay: float | None = _option(None, "Factor on the learning rate per block.")
    augment: bool = _option(False, "Random crop, flip, RandAugment and erasing as set below.")
    random_clips: bool = _option(False, "Train on clips from anywhere in the video.")
    crop_scale: float = _option(0.08, "Smallest share of a frame to crop; 1: no crop.")
    horizontal_flip: float = _option(0.5, "Probability; use 0 where left and right matter.")
    rand_augment_ops: int = _option(4, "Operations of RandAugment, each with probability 0.5.")
    rand_augment_magnitude: int = _option(7, "Strength of RandAugment, 0 to 10.")
    random_erasing: float = _option(0.25, "Probability of erasing a box.")
    mixup: float = _option(0.0, "Alpha of mixup; 0 turns it off.")
    cutmix: float = _option(0.0, "Alpha of cutmix; 0 turns it off.")
    repeated_augmentation: int = _option(1, "Augmentations of each clip in a batch.")
    token_keep_ratio: float | None = _option(None, "Share of the computed tokens to keep, at random.")
    threshold_range: list[float] | None = field(
        default=None, metadata={"help": "Train with thresholds drawn from LOWEST HIGHEST for each clip."}
    )
    budget_range: list[float] | None = field(
        default=None, metadata={"help": "Train with shares of the tokens drawn from LOWEST HIGHEST for each clip."}
    )


Groups = tuple[ModelArguments, DataArguments, RecipeArguments, TrainingArguments]
