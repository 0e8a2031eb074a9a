# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clip data sets: labelled lists of videos, the data set a `Trainer` reads, and a small set rendered offline."""

from .clips import ClipDataset, ClipList, UnreadableClipError, from_csv, from_folder, from_hub, split_clips
from .digits import DigitsSettings, render_digits

__all__ = [
    "ClipDataset",
    "ClipList",
    "DigitsSettings",
    "UnreadableClipError",
    "from_csv",
    "from_folder",
    "from_hub",
    "render_digits",
    "split_clips",
]
