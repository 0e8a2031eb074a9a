# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What RLT is compared with, on the same VideoMAE checkpoints: random masking, selection by difference, ToMe, STA.

Random masking and ToMe also work on top of RLT.

All are loaded as RLT is (`ToMeVideoMAEForVideoClassification.from_pretrained(name, r=65, threshold=None)`), run on the same
attention backends, and known to the Auto classes once this package is imported.
"""

from ..families import Family, register_family
from .by_difference import (
    ByDifferenceVideoMAEConfig,
    ByDifferenceVideoMAEForVideoClassification,
    ByDifferenceVideoMAEModel,
)
from .random_masking import (
    RandomMaskingVideoMAEConfig,
    RandomMaskingVideoMAEForVideoClassification,
    RandomMaskingVideoMAEModel,
)
from .sta import STAVideoMAEConfig, STAVideoMAEForVideoClassification, STAVideoMAEModel
from .tome import ToMeVideoMAEConfig, ToMeVideoMAEForVideoClassification, ToMeVideoMAEModel

for family in (
    Family(ByDifferenceVideoMAEConfig, ByDifferenceVideoMAEModel, ByDifferenceVideoMAEForVideoClassification),
    Family(RandomMaskingVideoMAEConfig, RandomMaskingVideoMAEModel, RandomMaskingVideoMAEForVideoClassification),
    Family(ToMeVideoMAEConfig, ToMeVideoMAEModel, ToMeVideoMAEForVideoClassification),
    Family(STAVideoMAEConfig, STAVideoMAEModel, STAVideoMAEForVideoClassification),
):
    register_family(family)

__all__ = [
    "ByDifferenceVideoMAEConfig",
    "ByDifferenceVideoMAEForVideoClassification",
    "ByDifferenceVideoMAEModel",
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
