# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clip data sets: labelled lists of videos, what a `Trainer` reads, augmentation, and a small set rendered offline."""

from .annotations import from_file, read_annotations
from .augmentation import ClipAugmentation, ClipMix
from .clips import ClipDataset, UnreadableClipError, one_line, without_name
from .collate import ClipCollator
from .digits import DigitsSettings, render_digits
from .hub import ClipStream, from_hub
from .lists import ClipList, from_folder, split_clips
from .streams import StreamedClips
from .tokens import count_tokens
from .views import ViewDataset

__all__ = [
    "ClipAugmentation",
    "ClipCollator",
    "ClipDataset",
    "ClipList",
    "ClipMix",
    "ClipStream",
    "DigitsSettings",
    "StreamedClips",
    "UnreadableClipError",
    "ViewDataset",
    "count_tokens",
    "from_file",
    "from_folder",
    "from_hub",
    "one_line",
    "read_annotations",
    "render_digits",
    "split_clips",
    "without_name",
]
