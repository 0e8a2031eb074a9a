# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Model families: configuration, model and classifier, known to transformers' Auto classes.

A new family adds its files and one call of `register_family`. Everything else (loading, prediction, evaluation,
fine-tuning, cards) finds it by its `model_type` and asks its configuration.
"""

from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor

from .models.configuration_rlt_videomae import RLTVideoMAEConfig
from .models.errors import HfRltError
from .models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from .models.video_processing_rlt import RLTVideoProcessor


@dataclass(frozen=True)
class Family:
    """The classes of a model family.

    Attributes:
        config, model, classifier, processor: classes.
        stock: model type of the models without RLT whose checkpoints this family loads, if any.
        carries_code: whether `save_pretrained` may write the code of these classes beside the weights.
    """

    config: Any
    model: Any
    classifier: Any
    processor: Any = RLTVideoProcessor
    stock: str | None = None
    carries_code: bool = False


FAMILIES: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Register a family with the Auto classes and with `load`. Calling it again changes nothing."""
    FAMILIES[family.config.model_type] = family
    AutoConfig.register(family.config.model_type, family.config, exist_ok=True)
    AutoModel.register(family.config, family.model, exist_ok=True)
    AutoModelForVideoClassification.register(family.config, family.classifier, exist_ok=True)
    AutoVideoProcessor.register(family.config, family.processor, exist_ok=True)
    AutoProcessor.register(family.config, family.processor, exist_ok=True)


def family_of(model_type: str, name: str) -> Family:
    """Return the family that loads checkpoints of `model_type`.

    Raises:
        HfRltError: if there is none; `name` is the model's, for the message.
    """
    for own_type, family in FAMILIES.items():
        if model_type in (own_type, family.stock):
            return family
    raise HfRltError(f"{name}: expected an RLT-VideoMAE or VideoMAE model, found {model_type}.")


def register(carry_code: bool = True) -> None:
    """Register RLT-VideoMAE with the Auto classes. Calling it again changes nothing.

    Args:
        carry_code: whether `save_pretrained`, `push_to_hub` and Trainer's checkpoints write the code beside the weights, so
            that `trust_remote_code=True` opens them where hf_rlt is not installed.
    """
    register_family(
        Family(
            RLTVideoMAEConfig,
            RLTVideoMAEModel,
            RLTVideoMAEForVideoClassification,
            stock="videomae",
            carries_code=True,
        )
    )
    for family in FAMILIES.values():
        if family.carries_code:
            family.config._auto_class = "AutoConfig" if carry_code else None
            family.model._auto_class = "AutoModel" if carry_code else None
            family.classifier._auto_class = "AutoModelForVideoClassification" if carry_code else None
            family.processor._auto_class = "AutoVideoProcessor" if carry_code else None


register()
