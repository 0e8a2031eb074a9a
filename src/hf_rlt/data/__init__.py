# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Lists of labelled videos, data sets for a `Trainer`, augmentation, and a small set rendered offline."""

from .annotations import from_file, read_annotations
from .augmentation import ClipAugmentation, ClipMix
from .collator import ClipCollator
from .digits import DigitsSettings, render_digits
from .eval_dataset import EvalDataset
from .hub_datasets import ClipStream, from_hub
from .train_dataset import TrainDataset, TrainStream
from .video_dataset import UnreadableClipError
from .video_list import VideoList, from_folder, split_clips

__all__ = [
    "ClipAugmentation",
    "ClipCollator",
    "ClipMix",
    "ClipStream",
    "DigitsSettings",
    "EvalDataset",
    "TrainDataset",
    "TrainStream",
    "UnreadableClipError",
    "VideoList",
    "from_file",
    "from_folder",
    "from_hub",
    "read_annotations",
    "render_digits",
    "split_clips",
]
