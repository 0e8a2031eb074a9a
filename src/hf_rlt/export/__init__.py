# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write models for ONNX Runtime, OpenVINO, torch.export and AOTInductor."""

from .export import Exported, export_model
from .formats import FORMATS
from .token_model import TokenModel, padded_inputs

__all__ = ["FORMATS", "Exported", "TokenModel", "export_model", "padded_inputs"]
