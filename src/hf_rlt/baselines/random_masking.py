# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Random masking: compute a given share of the tokens, whichever."""

from dataclasses import dataclass
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.configuration_rlt_vjepa2 import RLTVJEPA2Config
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from ..models.modeling_rlt_vjepa2 import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model
from ..models.rlt_config import RLTConfigMixin
from ..models.rlt_model import RLTModelMixin
from ..models.runs import drop_random
from .token_reduction import after_rlt, baseline_sentence


@dataclass(kw_only=True, repr=False, eq=False)
class RandomMaskingConfigMixin(RLTConfigMixin):
    """Makes a family's configuration one of random masking: its fields, and these.

    Args:
        token_keep_ratio: share of the tokens that is computed, in (0, 1]; 1 is the model without masking.
        threshold: None masks all tokens of a clip; a number masks what RLT computes (RLT with random masking).
    """

    method: ClassVar[str] = "random masking"
    card_tags: ClassVar[list[str]] = ["random-masking"]

    threshold: float | int | None = None
    token_keep_ratio: float | int = 1.0

    def validate_token_keep_ratio(self) -> None:
        """Raise HfRltError if the ratio is not in (0, 1]."""
        if not 0 < self.token_keep_ratio <= 1:
            raise HfRltError(f"Expected token_keep_ratio in (0, 1], received {self.token_keep_ratio}.")

    @property
    def card_sentence(self) -> str:
        """What a model card says about the model's method, in Markdown."""
        detail = (
            f"{100 * self.token_keep_ratio:g} % of the tokens are computed, drawn anew at each call{after_rlt(self)}."
        )
        return baseline_sentence(self, "random masking", detail)

    def token_counts(self, computed: int) -> list[int]:
        """List the tokens of a clip before the first block and after each; `computed` are those to draw from."""
        return super().token_counts(max(round(self.token_keep_ratio * computed), 1))


class RandomMaskingModelMixin(RLTModelMixin):
    """Makes a family's model one on `round(token_keep_ratio * computed tokens)` tokens of each clip, drawn at each call.

    Draws come from torch's default CPU generator, in training and in evaluation: `torch.manual_seed` repeats them.

    Source: arXiv 2411.05222 section 4, random masking as a baseline.
    """

    def _checked_run_lengths(self, pixel_values: Any, run_lengths: Tensor | None) -> Tensor:
        run_lengths = super()._checked_run_lengths(pixel_values, run_lengths)
        ratio = self.config.token_keep_ratio
        return run_lengths if ratio == 1 else drop_random(run_lengths, ratio)


@strict
class RandomMaskingVideoMAEConfig(RandomMaskingConfigMixin, RLTVideoMAEConfig):
    """Configuration of random masking of VideoMAE."""

    model_type = "random_masking_videomae"


class RandomMaskingVideoMAEModel(RandomMaskingModelMixin, RLTVideoMAEModel):
    """VideoMAE's encoder with random masking."""

    config_class = RandomMaskingVideoMAEConfig


class RandomMaskingVideoMAEForVideoClassification(RLTVideoMAEForVideoClassification):
    """VideoMAE's classifier with random masking: the mean is over the tokens that were computed."""

    config_class = RandomMaskingVideoMAEConfig
    _base_model_class = RandomMaskingVideoMAEModel


@strict
class RandomMaskingVJEPA2Config(RandomMaskingConfigMixin, RLTVJEPA2Config):
    """Configuration of random masking of V-JEPA 2."""

    model_type = "random_masking_vjepa2"


class RandomMaskingVJEPA2Model(RandomMaskingModelMixin, RLTVJEPA2Model):
    """V-JEPA 2's encoder with random masking."""

    config_class = RandomMaskingVJEPA2Config


class RandomMaskingVJEPA2ForVideoClassification(RLTVJEPA2ForVideoClassification):
    """V-JEPA 2's classifier with random masking: the pooler reads the tokens that were computed."""

    config_class = RandomMaskingVJEPA2Config
    _base_model_class = RandomMaskingVJEPA2Model
