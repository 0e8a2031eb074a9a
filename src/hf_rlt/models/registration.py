# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Makes the Auto classes of transformers know RLT-VideoMAE."""

from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor

from .configuration_rlt_videomae import RLTVideoMAEConfig
from .modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from .video_processing_rlt import RLTVideoProcessor

CARRIED: dict[Any, str] = {
    RLTVideoMAEConfig: "AutoConfig",
    RLTVideoMAEModel: "AutoModel",
    RLTVideoMAEForVideoClassification: "AutoModelForVideoClassification",
    RLTVideoProcessor: "AutoVideoProcessor",
}


def register(carry_code: bool = True) -> None:
    """Register config, models and processor. Calling it again changes nothing.

    Args:
        carry_code: whether `save_pretrained`, `push_to_hub` and Trainer's checkpoints write the code beside the weights, so
            that `trust_remote_code=True` opens them where hf_rlt is not installed.
    """
    AutoConfig.register(RLTVideoMAEConfig.model_type, RLTVideoMAEConfig, exist_ok=True)
    AutoModel.register(RLTVideoMAEConfig, RLTVideoMAEModel, exist_ok=True)
    AutoModelForVideoClassification.register(RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, exist_ok=True)
    AutoVideoProcessor.register(RLTVideoMAEConfig, RLTVideoProcessor, exist_ok=True)
    AutoProcessor.register(RLTVideoMAEConfig, RLTVideoProcessor, exist_ok=True)
    for kind, auto_class in CARRIED.items():
        kind._auto_class = auto_class if carry_code else None
