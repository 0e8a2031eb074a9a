# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write models for ONNX Runtime, OpenVINO, torch.export and AOTInductor."""

from ..inference.exported import padded_inputs
from .export import Exported, export_model
from .formats import FORMATS
from .token_model import TokenModel

__all__ = ["FORMATS", "Exported", "TokenModel", "export_model", "padded_inputs"]
