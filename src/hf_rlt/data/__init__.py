# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Lists of labelled videos, data sets for a `Trainer`, augmentation, and small sets rendered offline."""

from .annotations import from_file, read_annotations
from .augmentation import ClipAugmentation, ClipMix
from .collator import ClipCollator
from .digits import DigitsSettings
from .digits_sets import DIGITS_SETS, digits_settings, render_digits
from .eval_dataset import EvalDataset
from .hard_digits import HardDigitsSettings
from .hub_datasets import ClipStream, from_hub
from .rendered import RenderSettings
from .train_dataset import TrainDataset, TrainStream
from .video_dataset import UnreadableClipError
from .video_list import VideoList, from_folder, split_clips

__all__ = [
    "DIGITS_SETS",
    "ClipAugmentation",
    "ClipCollator",
    "ClipMix",
    "ClipStream",
    "DigitsSettings",
    "EvalDataset",
    "HardDigitsSettings",
    "RenderSettings",
    "TrainDataset",
    "TrainStream",
    "UnreadableClipError",
    "VideoList",
    "digits_settings",
    "from_file",
    "from_folder",
    "from_hub",
    "read_annotations",
    "render_digits",
    "split_clips",
]
