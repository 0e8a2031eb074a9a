# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""By difference: compute a given number of tokens, those whose embeddings differ most from the one before."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..errors import HfRltError
from ..models.budget import Budget, make_budget, token_number
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.configuration_rlt_vjepa2 import RLTVJEPA2Config
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from ..models.modeling_rlt_vjepa2 import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model
from ..models.rlt_config import RLTConfigMixin
from ..models.rlt_model import RLTModelMixin
from ..models.run_rule import RunRule
from ..models.runs import lengths_from_later_starts, to_2tuple
from .token_reduction import baseline_sentence

# Settings of the rule on pixels, whose place this method takes.
UNUSED = {"threshold": None, "rule": "threshold", "max_tokens": None, "budget": "clip"}


@dataclass(kw_only=True, repr=False, eq=False)
class ByDifferenceConfigMixin(RLTConfigMixin):
    """Makes a family's configuration one of selection by difference: its fields, of which these mean something else.

    Args:
        num_tokens: tokens of a clip that are computed, a whole number or a share of all as a float; None: all of them.
        budget_groups: number of groups of consecutive tubelets, as many tokens of each of which are computed.
        threshold: None: the tokens are chosen by their embeddings, so runs of pixels cannot be dropped before.
    """

    method: ClassVar[str] = "by difference"
    card_tags: ClassVar[list[str]] = ["token-selection"]

    threshold: float | int | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> Any:
        """Make a configuration of `config_dict` changed by `kwargs`, without the rule on pixels that an RLT model has."""
        return super().from_dict({**config_dict, **UNUSED}, **kwargs)

    def validate_selection(self) -> None:
        """Raise HfRltError if there is a rule on pixels, or the number of tokens does not fit the clips."""
        for name, value in UNUSED.items():
            if getattr(self, name) != value:
                raise HfRltError(
                    f"Expected {name}={value!r} with selection by difference, which chooses from all tokens and knows "
                    f"num_tokens and budget_groups only, received {getattr(self, name)!r}."
                )
        self.selection(self.grid)

    def selection(self, grid: tuple[int, int, int]) -> Budget | None:
        """Return how many tubelets of each group of such clips are computed beside the first ones; None: all of them."""
        if self.num_tokens is None:
            return None
        return make_budget("num_tokens", self.num_tokens, grid, self.budget_groups, exact=True, clips=None)

    @property
    def run_rule(self) -> RunRule:
        """The rule of the model's processor: every token, to choose from."""
        return RunRule(None, self.tubelet_size, self.patch_size)

    @property
    def card_sentence(self) -> str:
        """What a model card says about the model's method, in Markdown."""
        tokens = math.prod(self.grid)
        groups = f", as many in each of {self.budget_groups} groups of tubelets" if self.budget_groups > 1 else ""
        detail = (
            f"{self.token_counts(tokens)[0]:,} of {tokens:,} tokens are computed: the first of each place, and those whose "
            f"patch embeddings differ most from the one before at the same place{groups}."
        )
        return baseline_sentence(self, "selection by difference", detail)

    def token_counts(self, computed: int) -> list[int]:
        """List the tokens of a clip before the first block and after each; `computed` are those to choose from."""
        wanted = self.num_tokens
        return super().token_counts(computed if wanted is None else token_number(wanted, computed))

    def choice_flops(self, computed: int) -> int:
        """Count the operations of the matrix products that choose: each difference is embedded as a tubelet is."""
        first = math.prod(self.grid[1:])
        pixels = self.num_channels * self.tubelet_size * math.prod(to_2tuple(self.patch_size))
        return 0 if self.num_tokens is None else 2 * (computed - first) * pixels * self.hidden_size


class ByDifferenceModelMixin(RLTModelMixin):
    """Makes a family's model one on `num_tokens` tokens: the first tubelet of each place, and those that differ most.

    A token's score is the Euclidean distance of its patch embedding, without position, to that of the tubelet before at the
    same place. A token stands for the dropped ones that follow it, in `last_hidden_state` and for proportional attention.

    Source: the group-dynamic token selector of Wang et al., Make Your Training Flexible (FluxViT), ICCV 2025, arXiv
    2503.14237: of each group of frames the tokens with the largest p-norm of the difference to the frame before, as many of
    each group; and Hwang et al., EVEREST, ICML 2024, arXiv 2211.10636: tokens stay whose embeddings are far from those one
    time before. Departures: p is 2; the first tubelets, which have none before them, always stay, and count; embeddings are
    the family's, of two frames, without FluxViT's normalisation; EVEREST's choice of frames is left out.
    """

    get_input_embeddings: Any

    def _checked_run_lengths(self, pixel_values: Any, run_lengths: Tensor | None) -> Tensor:
        given, run_lengths = run_lengths, super()._checked_run_lengths(pixel_values, run_lengths)
        if given is not None and not torch.compiler.is_compiling() and not bool((run_lengths == 1).all()):
            raise HfRltError(
                "Selection by difference chooses from all tokens of a clip, received run lengths other than 1: leave them "
                "out; in training also token_keep_ratio, threshold_range and budget_range."
            )
        grid = self.clip_grid(pixel_values)
        selection = self.config.selection(grid)
        if selection is None or grid[0] == 1:
            return run_lengths
        starts = selection.highest(self._differences(pixel_values))
        return lengths_from_later_starts(starts)

    @torch.no_grad()
    def _differences(self, pixel_values: Tensor) -> Tensor:
        """Measure how far each embedding but the first is from the one before it: `(B, T - 1, H', W')` float32.

        The projection is linear, so the difference of two embeddings is that of their pixels, projected: exactly zero where
        nothing changes.
        """
        (projection,), size = self.get_input_embeddings().children(), self.config.tubelet_size
        frames = pixel_values[:, : self.clip_grid(pixel_values)[0] * size].float()
        changes = (frames[:, size:] - frames[:, :-size]).transpose(1, 2)  # (B, C, F - s, H, W)
        weight = projection.weight.float()
        with torch.autocast(changes.device.type, enabled=False):  # what is kept is not decided by rounding
            return F.conv3d(changes, weight, stride=weight.shape[2:]).norm(dim=1)


@strict
class ByDifferenceVideoMAEConfig(ByDifferenceConfigMixin, RLTVideoMAEConfig):
    """Configuration of VideoMAE with selection by difference."""

    model_type = "by_difference_videomae"


class ByDifferenceVideoMAEModel(ByDifferenceModelMixin, RLTVideoMAEModel):
    """VideoMAE's encoder with selection by difference."""

    config_class = ByDifferenceVideoMAEConfig


class ByDifferenceVideoMAEForVideoClassification(RLTVideoMAEForVideoClassification):
    """VideoMAE's classifier with selection by difference: the mean is over the tokens that were computed."""

    config_class = ByDifferenceVideoMAEConfig
    _base_model_class = ByDifferenceVideoMAEModel


@strict
class ByDifferenceVJEPA2Config(ByDifferenceConfigMixin, RLTVJEPA2Config):
    """Configuration of V-JEPA 2 with selection by difference."""

    model_type = "by_difference_vjepa2"


class ByDifferenceVJEPA2Model(ByDifferenceModelMixin, RLTVJEPA2Model):
    """V-JEPA 2's encoder with selection by difference."""

    config_class = ByDifferenceVJEPA2Config


class ByDifferenceVJEPA2ForVideoClassification(RLTVJEPA2ForVideoClassification):
    """V-JEPA 2's classifier with selection by difference: the pooler reads the tokens that were computed."""

    config_class = ByDifferenceVJEPA2Config
    _base_model_class = ByDifferenceVJEPA2Model
