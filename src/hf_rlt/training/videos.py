# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The videos of a fine-tuning, its data sets and its collator."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainingArguments

from ..data import (
    ClipAugmentation,
    ClipCollator,
    ClipMix,
    ClipStream,
    EvalDataset,
    TrainDataset,
    TrainStream,
    VideoList,
    from_file,
    from_folder,
    from_hub,
    render_digits,
    split_clips,
)
from ..errors import HfRltError
from .arguments import DataArguments, Groups, RecipeArguments

logger = logging.getLogger("finetune")


def load_clips(data: DataArguments, args: TrainingArguments) -> tuple[VideoList | ClipStream, VideoList, str]:
    """Return the training videos, the validation videos and the data set's name."""
    train: Any
    load: Callable[..., VideoList]
    if data.source == "hub":
        name, held = str(data.dataset_name), data.validation_split
        load = partial(from_hub, name, config_name=data.dataset_config_name)
        stream = partial(
            ClipStream, name, data.train_split, data.dataset_config_name, shuffle_buffer=256, seed=args.seed
        )
        train = stream() if data.streaming else load(data.train_split)
    elif data.source == "file":
        name, held = set_name(str(data.train_file)), data.validation_file
        load = partial(from_file, video_dir=data.video_dir, label_file=data.label_file)
        train = load(str(data.train_file))
    else:
        folder, held, load = data.train_dir, data.validation_dir, from_folder
        if data.source == "digits":
            folder, held = _render(data, args)
        name = data.rendered.title if data.source == "digits" else set_name(str(folder))
        train = load(str(folder))
    if held:
        return train, load(held, names=train.names), name
    logger.warning(f"No validation videos given: {data.validation_fraction:.0%} of the training videos are held out.")
    return *split_clips(train, data.validation_fraction, args.seed), name


def set_name(source: str) -> str:
    """Return a data set's name: that of its training folder or file, or of the parent folder if that is "train"."""
    path = Path(source).resolve()
    return path.parent.name if path.stem.lower() in ("train", "training") and path.parent.name else path.stem


def _render(data: DataArguments, args: TrainingArguments) -> tuple[str, str]:
    """Return the training and validation folders of the built-in set, rendered once."""
    with args.main_process_first(desc="rendering the digits"), progress_bar("Rendering the digits", args) as show:
        path = render_digits(data.digits_dir, data.rendered, show)
    return str(path / "train"), str(path / "validation")


@contextmanager
def progress_bar(title: str, args: TrainingArguments) -> Iterator[Callable[[int, int], None]]:
    """Context that gives a function of (done, total), and shows a bar if it takes more than a second."""
    with tqdm(desc=title, unit=" clips", disable=args.disable_tqdm, delay=1) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def make_datasets(
    groups: Groups, processor: Any, train: VideoList | ClipStream, validation: VideoList
) -> tuple[TrainDataset | TrainStream, EvalDataset, EvalDataset]:
    """Return the data sets of the training, of its evaluations, and of the final evaluation with all views."""
    _, data, recipe, args = groups
    bad, cache = data.on_bad_video, data.cache_megabytes * 2**20
    augmentation = None
    if recipe.augment:
        ops = (recipe.rand_augment_ops, recipe.rand_augment_magnitude)
        augmentation = ClipAugmentation(
            processor, recipe.crop_scale, recipe.horizontal_flip, *ops, recipe.random_erasing
        )
    changes = (augmentation, recipe.random_clips, recipe.repeated_augmentation, args.seed, bad)
    train_data: TrainDataset | TrainStream
    if isinstance(train, ClipStream):
        train_data = TrainStream(train, processor, *changes)
    else:
        total = args.train_batch_size * args.world_size
        if args.dataloader_drop_last and data.max_tokens_per_batch is None and len(train) < total:
            raise HfRltError(
                f"Expected at least {total} training clips for one batch per process, found {len(train)}: pass "
                "--dataloader_drop_last False."
            )
        train_data = TrainDataset(train, processor, *changes, cache_bytes=cache)
    eval_data = EvalDataset(validation, processor, on_bad_video=bad, cache_bytes=cache)
    views = (data.num_clips, data.num_crops)
    final_data = eval_data if views == (1, 1) else EvalDataset(validation, processor, *views, on_bad_video=bad)
    return train_data, eval_data, final_data


def make_collator(args: RecipeArguments, processor: Any, num_classes: int, label_smoothing: float) -> ClipCollator:
    """Return the collator that the arguments ask for."""
    mix = ClipMix(num_classes, args.mixup, args.cutmix) if args.mixup or args.cutmix else None
    asked = {"threshold": args.threshold_range, "num_tokens": args.budget_range}
    ranges = {name: ends for name, ends in asked.items() if ends is not None}
    return ClipCollator(processor, mix, label_smoothing, num_classes, ranges, args.token_keep_ratio)
