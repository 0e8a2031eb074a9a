# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Makes the Auto classes of transformers know RLT-VideoMAE."""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

from .configuration_rlt_videomae import RLTVideoMAEConfig
from .modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from .video_processing_rlt import RLTVideoProcessor


def register() -> None:
    """Returns nothing; registers config, models and processor. Calling it again changes nothing."""
    AutoConfig.register(RLTVideoMAEConfig.model_type, RLTVideoMAEConfig, exist_ok=True)
    AutoModel.register(RLTVideoMAEConfig, RLTVideoMAEModel, exist_ok=True)
    AutoModelForVideoClassification.register(RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, exist_ok=True)
    AutoVideoProcessor.register(RLTVideoMAEConfig, RLTVideoProcessor, exist_ok=True)
