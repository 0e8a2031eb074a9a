# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Convert VideoMAE's checkpoints, in all their layouts, to RLT-VideoMAE folders that open like any other."""

from .convert import Conversion, convert
from .source import ConversionSettings

__all__ = ["Conversion", "ConversionSettings", "convert"]
