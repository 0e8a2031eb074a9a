# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Arguments of fine-tuning: ours, and Trainer's with a recipe's defaults."""

import copy
import json
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import AutoConfig, HfArgumentParser, TrainingArguments

from .. import baselines  # noqa: F401  registers their model families
from ..data import RenderSettings, digits_settings
from ..errors import HfRltError
from ..hub.repo_config import read_config
from ..models.budget import parse_tokens
from ..models.run_rule import RULE_SETTINGS
from .recipes import DIGITS, recipe, scaled_learning_rate

TOKEN_BALANCED_STRATEGIES = ("group_by_length", "batch_rebalance")


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = _option(
        None, "Folder or Hub id to start from. Default: a small model, from scratch."
    )
    threshold: str = _option("0.1", "RLT threshold, or none (dense).")
    rule: str = _option(
        "threshold", "What a tubelet is compared with: threshold (the one before it) or anchor (the run's first)."
    )
    max_tokens: str | None = _option(None, "Tokens per clip, at most: a number such as 512, or a share such as 0.2.")
    num_tokens: str | None = _option(None, "Tokens per clip, exactly: a number or a share. The threshold is not used.")
    budget: str = _option("clip", "clip: each clip has its own budget. batch: the clips of a batch share.")
    budget_groups: int = _option(1, "Spread the budget evenly over this many groups of tubelets in time.")
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
    def rule_settings(self) -> dict[str, Any]:
        """The settings of the rule, numbers as numbers."""
        found: dict[str, Any] = {name: getattr(self, name) for name in RULE_SETTINGS}
        for name in ("max_tokens", "num_tokens"):
            found[name] = parse_tokens(f"--{name}", found[name])
        try:
            found["threshold"] = None if str(self.threshold).lower() == "none" else float(self.threshold)
        except ValueError as error:
            raise HfRltError(f"--threshold: expected a number or none, received {self.threshold!r}.") from error
        return found


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

    recipe: str = _option("none", "Presets: none, videomae or videomae-ssv2. Explicit options take precedence.")
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


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HfRltError(message)  # argparse would print hundreds of lines of usage


REFUSALS = (ValueError, TypeError, LookupError, ImportError, RuntimeError)


@contextmanager
def library_refusals(kinds: tuple[type[Exception], ...] = REFUSALS) -> Iterator[None]:
    """Context that turns what a library raises about a setting into an `HfRltError`."""
    try:
        yield
    except HfRltError:
        raise
    except kinds as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if Path(__file__).parents[1] in raised_in.parents:
            raise  # a bug of ours
        raise HfRltError(str(error.args[0] if isinstance(error, KeyError) else error)) from error


def read_arguments(argv: Sequence[str], prog: str | None = None) -> Groups:
    """Parse a command line, or a JSON file if that is its only argument.

    Explicit options take precedence over the recipe's defaults, and these over Trainer's.

    Raises:
        HfRltError, OSError: for options that do not exist or contradict each other, or a model that does not exist.
    """
    groups = (ModelArguments, DataArguments, RecipeArguments, TrainingArguments)
    parser = _Parser(groups, prog=prog, allow_abbrev=False)
    if len(argv) == 1 and argv[0].endswith(".json"):
        in_file = _read_file(argv[0])
        given = set(in_file)
        with library_refusals():
            found = parser.parse_dict({**_defaults(in_file, given), **in_file})
    else:
        given = {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}
        asked, _ = parser.parse_known_args([word for word in argv if word not in ("-h", "--help")])
        parser.set_defaults(**_defaults(vars(asked), given))
        with library_refusals():
            found = parser.parse_args_into_dataclasses(list(argv))
    _, data, recipe_args, args = found
    _check_together(data, recipe_args, args, given)
    return found


def _read_file(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise HfRltError(f"{path}: expected a JSON file of arguments ({error}).") from error
    if not isinstance(found, dict):
        raise HfRltError(f"{path}: expected a JSON object from argument to value, received a {type(found).__name__}.")
    return found


def _defaults(asked: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """Return the defaults of a job: `asked` are the values of our arguments, `given` the names the user set."""
    model, name = asked.get("model_name_or_path"), asked.get("recipe") or "none"
    if model:
        read_config(model)  # fail early, with a clear error, if there is no such model
    width = AutoConfig.from_pretrained(model).hidden_size if model and name != "none" else 768
    # Without use_cpu, several processes on a machine without an accelerator would each train alone.
    settings = {**({} if torch.accelerator.is_available() else {"use_cpu": True}), **recipe(name, width)}
    if "learning_rate" in given:
        settings.pop("base_learning_rate", None)
    if model or any(map(asked.get, ("train_dir", "train_file", "dataset_name"))):
        return {"output_dir": "outputs/finetuned", **settings}
    dense = str(asked.get("threshold") or "").lower() == "none"
    title = digits_settings(asked.get("digits_set") or "standard").title
    return {"output_dir": f"outputs/{title}{'-dense' if dense else ''}", **DIGITS, **settings}


def _check_together(data: DataArguments, recipe: RecipeArguments, args: TrainingArguments, given: set[str]) -> None:
    """Raise HfRltError for settings that exclude each other, or of which one needs another."""
    counts = {"max_tokens_per_batch": data.max_tokens_per_batch}
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        counts[name] = getattr(args, name)
    for name, value in counts.items():
        if value is not None and value < 1:
            raise HfRltError(f"--{name}: expected 1 or more, received {value}.")
    streaming = data.source == "hub" and data.streaming
    if streaming and (not data.validation_split or args.max_steps <= 0):
        raise HfRltError("--streaming needs --validation_split and --max_steps: a stream has no end to plan by.")
    by_tokens, strategy = None, f"--train_sampling_strategy {args.train_sampling_strategy}"
    if args.train_sampling_strategy in TOKEN_BALANCED_STRATEGIES:
        by_tokens = strategy
    if data.max_tokens_per_batch is not None:
        by_tokens = "--max_tokens_per_batch"
        excluded = {
            "--per_device_train_batch_size": "per_device_train_batch_size" in given,
            "--auto_find_batch_size": args.auto_find_batch_size,
            strategy: args.train_sampling_strategy != "random",
        }
        if any(excluded.values()):
            names = " and ".join(name for name, asked in excluded.items() if asked)
            raise HfRltError(f"--max_tokens_per_batch makes up its own batches: leave out that, or {names}.")
    if by_tokens and streaming:
        raise HfRltError(f"{by_tokens} needs the tokens of each clip, which a stream does not tell: leave one out.")
    if recipe.threshold_range is not None and recipe.budget_range is not None:
        raise HfRltError("Expected --threshold_range or --budget_range, received both: leave one out.")
    for name, drawn in (("threshold_range", "threshold"), ("budget_range", "budget")):
        if by_tokens and getattr(recipe, name) is not None:
            raise HfRltError(
                f"{by_tokens} goes by the tokens at one {drawn}, --{name} draws another for each clip: leave one out."
            )


def resolve_training_args(recipe_args: RecipeArguments, args: TrainingArguments) -> TrainingArguments:
    """Return the arguments that Trainer gets, with the learning rate scaled.

    Label smoothing is 0 in them, since Trainer's takes no soft targets and the collator smooths instead. Unused columns
    are kept: items carry seeds, which the model does not take.

    Raises:
        HfRltError: if the processes that were launched would not train together.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != args.world_size:
        raise HfRltError(
            f"Expected {launched} processes to train together, found {args.world_size}: each would train on its own. On "
            "CPUs pass --use_cpu True."
        )
    resolved = copy.copy(args)
    if recipe_args.base_learning_rate is not None:
        total = args.train_batch_size * args.world_size * args.gradient_accumulation_steps
        resolved.learning_rate = scaled_learning_rate(recipe_args.base_learning_rate, total)
    resolved.label_smoothing_factor, resolved.remove_unused_columns = 0.0, False
    return resolved
