# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What RLT is compared with, on the same checkpoints: random masking, selection by difference, ToMe, STA.

The first two are there for every family, ToMe and STA for VideoMAE. Random masking and ToMe also work on top of RLT.

All are loaded as RLT is (`ToMeVideoMAEForVideoClassification.from_pretrained(name, r=65, threshold=None)`), run on the same
attention backends, and known to the Auto classes once this package is imported.
"""

from ..families import Family, register_family
from ..models.video_processing_rlt_vjepa2 import RLTVJEPA2VideoProcessor
from .by_difference import (
    ByDifferenceVideoMAEConfig,
    ByDifferenceVideoMAEForVideoClassification,
    ByDifferenceVideoMAEModel,
    ByDifferenceVJEPA2Config,
    ByDifferenceVJEPA2ForVideoClassification,
    ByDifferenceVJEPA2Model,
)
from .random_masking import (
    RandomMaskingVideoMAEConfig,
    RandomMaskingVideoMAEForVideoClassification,
    RandomMaskingVideoMAEModel,
    RandomMaskingVJEPA2Config,
    RandomMaskingVJEPA2ForVideoClassification,
    RandomMaskingVJEPA2Model,
)
from .sta import STAVideoMAEConfig, STAVideoMAEForVideoClassification, STAVideoMAEModel
from .tome import ToMeVideoMAEConfig, ToMeVideoMAEForVideoClassification, ToMeVideoMAEModel

for family in (
    Family(ByDifferenceVideoMAEConfig, ByDifferenceVideoMAEModel, ByDifferenceVideoMAEForVideoClassification),
    Family(RandomMaskingVideoMAEConfig, RandomMaskingVideoMAEModel, RandomMaskingVideoMAEForVideoClassification),
    Family(ToMeVideoMAEConfig, ToMeVideoMAEModel, ToMeVideoMAEForVideoClassification),
    Family(STAVideoMAEConfig, STAVideoMAEModel, STAVideoMAEForVideoClassification),
    Family(
        *(ByDifferenceVJEPA2Config, ByDifferenceVJEPA2Model, ByDifferenceVJEPA2ForVideoClassification),
        processor=RLTVJEPA2VideoProcessor,
    ),
    Family(
        *(RandomMaskingVJEPA2Config, RandomMaskingVJEPA2Model, RandomMaskingVJEPA2ForVideoClassification),
        processor=RLTVJEPA2VideoProcessor,
    ),
):
    register_family(family)

__all__ = [
    "ByDifferenceVJEPA2Config",
    "ByDifferenceVJEPA2ForVideoClassification",
    "ByDifferenceVJEPA2Model",
    "ByDifferenceVideoMAEConfig",
    "ByDifferenceVideoMAEForVideoClassification",
    "ByDifferenceVideoMAEModel",
    "RandomMaskingVJEPA2Config",
    "RandomMaskingVJEPA2ForVideoClassification",
    "RandomMaskingVJEPA2Model",
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
