# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Predictions and features of any number of videos, as fast as they can be decoded or computed."""

from ..data.text_files import path_of
from .pipeline import Options, Predicted
from .predict import Rank, predict
from .results import read_features

__all__ = ["Options", "Predicted", "Rank", "path_of", "predict", "read_features"]
