# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What RLT is compared with, on the same VideoMAE checkpoints: random masking, ToMe, STA, and the first two on top of RLT.

All are loaded as RLT is (`ToMeVideoMAEForVideoClassification.from_pretrained(name, r=65, threshold=None)`), run on the same
attention backends, and known to the Auto classes once this package is imported.
"""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor

from ..video_processing_rlt import RLTVideoProcessor
from .random_masking import (
    RandomMaskingVideoMAEConfig,
    RandomMaskingVideoMAEForVideoClassification,
    RandomMaskingVideoMAEModel,
)
from .sta import STAVideoMAEConfig, STAVideoMAEForVideoClassification, STAVideoMAEModel
from .tome import ToMeVideoMAEConfig, ToMeVideoMAEForVideoClassification, ToMeVideoMAEModel

for config, model, classifier in (
    (RandomMaskingVideoMAEConfig, RandomMaskingVideoMAEModel, RandomMaskingVideoMAEForVideoClassification),
    (ToMeVideoMAEConfig, ToMeVideoMAEModel, ToMeVideoMAEForVideoClassification),
    (STAVideoMAEConfig, STAVideoMAEModel, STAVideoMAEForVideoClassification),
):
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, model, exist_ok=True)
    AutoModelForVideoClassification.register(config, classifier, exist_ok=True)
    AutoVideoProcessor.register(config, RLTVideoProcessor, exist_ok=True)
    AutoProcessor.register(config, RLTVideoProcessor, exist_ok=True)

__all__ = [
    "RandomMaskingVideoMAEConfig",
    "RandomMaskingVideoMAEForVideoClassification",
    "RandomMaskingVideoMAEModel",
    "STAVideoMAEConfig",
    "STAVideoMAEForVideoClassification",
    "STAVideoMAEModel",
    "ToMeVideoMAEConfig",
    "ToMeVideoMAEForVideoClassification",
    "ToMeVideoMAEModel",
]
