# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Model families: configuration, model and classifier, known to transformers' Auto classes.

A new family adds its files and one call of `register_family`. Everything else (loading, prediction, evaluation,
fine-tuning, cards) finds it by its `model_type` and asks its classes for what they have to provide:

* The configuration has the fields and properties of `models.rlt_config.RLTConfigMixin`; derive it from that, and override
  `method`, `card_tags`, `card_sentence` and `token_counts` where they differ.
* The model: `forward(pixel_values, run_lengths=None, return_last_hidden_state=True, **kwargs)` takes clips
  `(B, F, C, H, W)` and run lengths `(B, N)`, and finds the latter by `config.run_rule` if they are not given. It returns
  `last_hidden_state` `(B, N, D)` (None if not wanted), `pooler_output` `(B, D)`, and the `run_lengths` that were used.
  `base_model_prefix` names the attribute that holds the model in the classifier.
* The classifier: `forward(pixel_values, labels=None, run_lengths=None, **kwargs)` takes several views of each clip, too,
  `(B, V, F, C, H, W)`. It returns `loss`, scaled by `num_items_in_batch` if that is given, `logits` and `run_lengths`.
  `encode(pixel_values, run_lengths=None, **kwargs)` is the model's forward with the head's own pool as `pooler_output`, of
  which `classify_pooled(pooled, views=None)` makes logits.
* The processor is `RLTVideoProcessor`, or one with its `clip_shape` and its steps `decode`, `pixels` and `run_rule.find`.

`models/` holds the families that come with the package, `tests/helpers/toy_family` the smallest one.
"""

import re
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor

from .models.configuration_rlt_videomae import RLTVideoMAEConfig
from .models.configuration_rlt_vjepa2 import RLTVJEPA2Config
from .models.errors import HfRltError
from .models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from .models.modeling_rlt_vjepa2 import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model
from .models.video_processing_rlt import RLTVideoProcessor
from .models.video_processing_rlt_vjepa2 import RLTVJEPA2VideoProcessor


@dataclass(frozen=True)
class Family:
    """The classes of a model family.

    Attributes:
        config: configuration, whose `model_type` is the family's.
        model: the bare network.
        classifier: the network with a head.
        processor: of its videos.
        stock: model type of the models without RLT whose checkpoints this family loads, if any.
        carries_code: whether `save_pretrained` may write the code of these classes beside the weights.
    """

    config: Any
    model: Any
    classifier: Any
    processor: Any = RLTVideoProcessor
    stock: str | None = None
    carries_code: bool = False

    @property
    def name(self) -> str:
        """What its network is called, without RLT: the text of the configuration's link."""
        return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", self.config.network)


FAMILIES: dict[str, Family] = {}


def register_family(family: Family, carry_code: bool = True) -> None:
    """Register a family with the Auto classes and with `load`. Calling it again changes nothing.

    Args:
        family: classes of the family.
        carry_code: whether those of a family that `carries_code` write it.
    """
    FAMILIES[family.config.model_type] = family
    AutoConfig.register(family.config.model_type, family.config, exist_ok=True)
    AutoModel.register(family.config, family.model, exist_ok=True)
    AutoModelForVideoClassification.register(family.config, family.classifier, exist_ok=True)
    AutoVideoProcessor.register(family.config, family.processor, exist_ok=True)
    AutoProcessor.register(family.config, family.processor, exist_ok=True)
    if family.carries_code:
        family.config._auto_class = "AutoConfig" if carry_code else None
        family.model._auto_class = "AutoModel" if carry_code else None
        family.classifier._auto_class = "AutoModelForVideoClassification" if carry_code else None
        family.processor._auto_class = "AutoVideoProcessor" if carry_code else None


def family_of(model_type: str, name: str) -> Family:
    """Return the family that loads checkpoints of `model_type`.

    Raises:
        HfRltError: if there is none; `name` is the model's, for the message.
    """
    for own_type, family in FAMILIES.items():
        if model_type in (own_type, family.stock):
            return family
    methods = ", ".join(dict.fromkeys(family.config.method for family in FAMILIES.values()))
    stock = ", ".join(family.stock for family in FAMILIES.values() if family.stock)
    raise HfRltError(f"{name}: expected a model with {methods}, or of type {stock}, found {model_type}.")


def register(carry_code: bool = True) -> None:
    """Register all families with the Auto classes again.

    Args:
        carry_code: whether `save_pretrained`, `push_to_hub` and Trainer's checkpoints write the code beside the weights, so
            that `trust_remote_code=True` opens them where hf_rlt is not installed.
    """
    for family in list(FAMILIES.values()):
        register_family(family, carry_code)


register_family(
    Family(RLTVideoMAEConfig, RLTVideoMAEModel, RLTVideoMAEForVideoClassification, stock="videomae", carries_code=True)
)
register_family(
    Family(
        *(RLTVJEPA2Config, RLTVJEPA2Model, RLTVJEPA2ForVideoClassification, RLTVJEPA2VideoProcessor),
        stock="vjepa2",
        carries_code=True,
    )
)
