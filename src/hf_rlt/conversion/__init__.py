# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Convert checkpoints of VideoMAE and V-JEPA 2, in all their layouts, to RLT folders that open like any other."""

from .convert import Conversion, convert
from .source import ConversionSettings

__all__ = ["Conversion", "ConversionSettings", "convert"]
