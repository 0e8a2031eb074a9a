# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Run-Length Tokenization for Hugging Face video transformers. Importing it registers the Auto classes."""

from . import baselines
from .configuration_rlt_videomae import RLTVideoMAEConfig
from .modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from .registration import register
from .runs import fill_runs, find_runs
from .video_processing_rlt import RLTVideoProcessor

__version__ = "0.1.0"

__all__ = [
    "RLTVideoMAEConfig",
    "RLTVideoMAEForVideoClassification",
    "RLTVideoMAEModel",
    "RLTVideoProcessor",
    "baselines",
    "fill_runs",
    "find_runs",
    "register",
]

register()
