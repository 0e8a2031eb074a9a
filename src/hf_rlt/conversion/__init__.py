# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From VideoMAE's checkpoints, in all their layouts, to an RLT-VideoMAE folder that opens like any other."""

from .convert import Conversion, convert
from .source import ConversionSettings

__all__ = ["Conversion", "ConversionSettings", "convert"]
