# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Arguments of fine-tuning beyond `TrainingArguments`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from transformers import HfArgumentParser, TrainingArguments

from ..errors import HfRltError


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "VideoMAE or RLT-VideoMAE to start from; a small one from scratch if not given."},
    )
    threshold: str = field(default="0.1", metadata={"help": "RLT's threshold, or none to compute every token."})
    length_embedding: bool | None = field(
        default=None, metadata={"help": "Learn an embedding of the run length; as the model has it, if not given."}
    )
    proportional_attention: bool | None = field(
        default=None,
        metadata={"help": "A token counts as often as its run is long; as the model has it, if not given."},
    )
    tome_r: int = field(default=0, metadata={"help": "Merge so many tokens in each block (ToMe, a baseline)."})
    drop_path_rate: float = field(default=0.0, metadata={"help": "Stochastic depth per clip in the last block."})
    head_init_scale: float = field(default=1.0, metadata={"help": "Factor on the initial weights of a new head."})
    frame_stride: int | None = field(
        default=None, metadata={"help": "Distance of a clip's frames; the processor's own, or 2 from scratch."}
    )
    sampling: str | None = field(
        default=None, metadata={"help": "clip (strided) or uniform (over the whole video); the processor's own."}
    )

    @property
    def threshold_value(self) -> float | None:
        """The threshold as a number, or None for "none"."""
        try:
            return None if str(self.threshold).lower() == "none" else float(self.threshold)
        except ValueError as error:
            raise HfRltError(f"--threshold: expected a number or none, received {self.threshold!r}.") from error


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
    max_tokens_per_batch: int | None = field(
        default=None,
        metadata={
            "help": "Computed tokens of a training batch and process, instead of --per_device_train_batch_size clips."
        },
    )
    cache_megabytes: int = field(default=512, metadata={"help": "Decoded frames kept in memory per loading process."})
    num_clips: int = field(default=1, metadata={"help": "Temporal clips per video in the final evaluation."})
    num_crops: int = field(default=1, metadata={"help": "Crops per temporal clip in the final evaluation."})

    @property
    def source(self) -> str:
        """Which of the four ways to get videos was chosen."""
        given = {"folder": self.train_dir, "file": self.train_file, "hub": self.dataset_name}
        chosen = [name for name, value in given.items() if value]
        if len(chosen) > 1 or (chosen and self.digits_dir):
            raise HfRltError("Expected one of --train_dir, --train_file, --dataset_name, --digits_dir: leave one.")
        if not chosen and (self.validation_dir or self.validation_file):
            raise HfRltError("Received validation videos only: add --train_dir or --train_file.")
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
    """Return the names of the arguments that a command line, or the JSON file that is its only word, sets."""
    in_file = _of_file(argv)
    if in_file is not None:
        return set(in_file)
    return {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}


def parse(argv: Sequence[str], presets: Callable, error: Callable[[str], NoReturn]) -> tuple:
    """Return the four argument groups of a command line, or of a JSON file if that is the only argument.

    Args:
        argv: without the program's name.
        presets: from a function `get(name)`, which gives what the user set of our groups, to the job's own defaults.
        error: is called with a message, and ends the program.
    """
    ours = (ModelArguments, DataArguments, RecipeArguments)
    parser = HfArgumentParser((*ours, TrainingArguments), allow_abbrev=False)
    parser.error = error  # type: ignore[method-assign]  # argparse would print hundreds of lines of usage
    in_file = _of_file(argv)
    if in_file is not None:
        return parser.parse_dict({**presets(in_file.get), **in_file})
    first = HfArgumentParser(ours, allow_abbrev=False)
    first.error, first.print_help = error, lambda: None  # type: ignore[method-assign]
    known = vars(first.parse_known_args([a for a in argv if a not in ("-h", "--help")])[0])
    preset = [word for name, value in presets(known.get).items() for word in (f"--{name}", _word(value))]
    return parser.parse_args_into_dataclasses([*preset, *argv])  # the last one given wins


def _of_file(argv: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments of the JSON file that is the only word; None for a command line."""
    if len(argv) != 1 or not argv[0].endswith(".json"):
        return None
    try:
        found = json.loads(Path(argv[0]).read_text())
    except (OSError, ValueError) as error:
        raise HfRltError(f"{argv[0]}: expected a JSON file of arguments ({error}).") from error
    if not isinstance(found, dict):
        raise HfRltError(
            f"{argv[0]}: expected a JSON object from argument to value, received a {type(found).__name__}."
        )
    return found


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
