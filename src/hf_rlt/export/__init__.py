# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write models for runtimes other than PyTorch: ONNX, OpenVINO, AOTInductor."""

from .export import Exported, export_model
from .formats import FORMATS
from .token_model import TokenModel, filled_up

__all__ = ["FORMATS", "Exported", "TokenModel", "export_model", "filled_up"]
