# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Predictions and features of any number of videos: decoding and computing overlap."""

from ..data.text_files import path_of
from .decoder import Options
from .pipeline import Rank
from .predict import Predicted, predict, video_paths

__all__ = ["Options", "Predicted", "Rank", "path_of", "predict", "video_paths"]
