# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The methods that are compared, on one set of weights, brought to a wanted number of tokens."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, VideoMAEConfig, VideoMAEForVideoClassification

from hf_rlt.baselines import (
    ByDifferenceVideoMAEForVideoClassification,
    RandomMaskingVideoMAEForVideoClassification,
    STAVideoMAEConfig,
    STAVideoMAEForVideoClassification,
    ToMeVideoMAEForVideoClassification,
)
from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import analytic_flops, block_tokens, tokens_by_block
from hf_rlt.models.configuration_rlt_videomae import RLTVideoMAEConfig
from hf_rlt.models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from hf_rlt.models.run_rule import RunRule, rule_settings

# VideoMAE's, and MCG-NJU/videomae-{base,large,huge}-finetuned-kinetics.
SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
}
FURTHER = 0.7  # share of RLT's tokens that methods on top of it leave

# From configuration, tokens and the number wanted to the settings that leave it.
Fit = Callable[[Any, int, int], dict[str, Any]]


def tome_schedule_for(config: RLTVideoMAEConfig, tokens: int, target: int) -> list[int]:
    """Find r for each of ToMe's blocks, the same in all but the last ones, that leaves `target` of `tokens`.

    A block merges at most half of its tokens: if that does not suffice, as few as possible are left.
    """
    depth = config.num_hidden_layers

    def removed(r: int) -> list[int]:
        counts = [tokens]
        for _ in range(depth):
            counts.append(counts[-1] - min(r, counts[-1] // 2))
        return [before - after for before, after in pairwise(counts)]

    enough = (r for r in range(tokens) if tokens - sum(removed(r)) <= target)
    plan = removed(next(enough, tokens))
    spare = target - (tokens - sum(plan))
    for block in reversed(range(depth)):
        less = min(plan[block], max(spare, 0))
        plan[block], spare = plan[block] - less, spare - less
    return plan


def sta_r_for(config: STAVideoMAEConfig, tokens: int, target: int) -> int:
    """Find r of STA that leaves `target` tokens, as nearly as its steps and limit allow."""
    trial = copy.deepcopy(config)
    trial.r = max(round((tokens - target) / sum(config.stages().values())), 0)
    while trial.r > 0:
        try:
            trial.token_counts(tokens)
            break
        except ValueError:  # nothing would be left of a slot
            trial.r -= 1
    return trial.r


@dataclass(frozen=True)
class Method:
    """A way to compute fewer tokens."""

    name: str  # as tables call it
    kind: type[PreTrainedModel]
    after_rlt: bool  # whether it starts from the tokens that RLT computes
    fit: Fit = lambda config, tokens, target: {}

    def fit_to(self, config: Any, tokens: int, target: int) -> dict[str, Any]:
        """Find the settings with which the method leaves `target` of a dense clip's tokens in a model as `config` says."""
        return self.fit(self.kind.config_class(**plain_settings(config)), tokens, target)

    def lengths(self, run_lengths: Tensor) -> Tensor:
        """Return the run lengths this method starts from; `run_lengths` are RLT's."""
        return run_lengths if self.after_rlt else torch.ones_like(run_lengths)


PROPORTIONAL = {"proportional_attention": True}


def _tome(config: Any, tokens: int, target: int) -> dict[str, Any]:
    return {"r": tome_schedule_for(config, tokens, target)}


def _by_difference(config: Any, tokens: int, target: int) -> dict[str, Any]:
    return {"num_tokens": max(target, tokens // config.grid[0])}  # the first tubelets stay


TOME, RANDOM = ToMeVideoMAEForVideoClassification, RandomMaskingVideoMAEForVideoClassification
BY_DIFFERENCE = ByDifferenceVideoMAEForVideoClassification
STANDARD = Method("standard", VideoMAEForVideoClassification, False)
RLT = Method("RLT", RLTVideoMAEForVideoClassification, True)
_ALL = (
    STANDARD,
    Method("random", RANDOM, False, lambda config, n, target: {"token_keep_ratio": target / n}),
    Method("by difference", BY_DIFFERENCE, False, _by_difference),
    Method("by difference, proportional", BY_DIFFERENCE, False, lambda *given: _by_difference(*given) | PROPORTIONAL),
    Method("ToMe", TOME, False, _tome),
    Method("ToMe, proportional", TOME, False, lambda *given: _tome(*given) | PROPORTIONAL),
    Method("STA", STAVideoMAEForVideoClassification, False, lambda *given: {"r": sta_r_for(*given)}),
    RLT,
    Method("RLT, proportional", RLT.kind, True, lambda *given: PROPORTIONAL),
    Method("RLT + random", RANDOM, True, lambda *given: {"token_keep_ratio": FURTHER}),
    Method("RLT + ToMe", TOME, True, lambda config, n, target: _tome(config, target, round(FURTHER * target))),
)
METHODS = {method.name: method for method in _ALL}
# RLT on the runs of other rules, in which it takes as long at as many tokens.
OTHER_RUNS = {
    name + more: Method(name + more, RLT.kind, True, lambda *given, values=values: values)
    for name in ("anchor", "num_tokens")
    for more, values in {"": {}, ", proportional": PROPORTIONAL}.items()
}


def select_methods(names: Sequence[str] | None) -> list[Method]:
    """Return the methods of these names, in their order; all if none is given."""
    unknown = [name for name in names or [] if name not in METHODS]
    if unknown:
        raise HfRltError(f"Expected methods out of {'; '.join(METHODS)}; received {'; '.join(unknown)}.")
    return [METHODS[name] for name in names or METHODS]


def plain_settings(config: VideoMAEConfig) -> dict[str, Any]:
    """Return the settings of a dense model with ordinary attention, for the configuration of any method."""
    own = {name: value for name, value in config.to_diff_dict().items() if name != "model_type"}
    return {**own, **rule_settings(RunRule(threshold=None)), "proportional_attention": False}


def make_base(shape: str, attention: str = "sdpa", **settings: Any) -> RLTVideoMAEForVideoClassification:
    """Make an RLT model with random weights: speed does not depend on them, but accuracy and what ToMe and STA choose do."""
    if shape not in SHAPES:
        raise HfRltError(f"Expected a shape out of {', '.join(SHAPES)}, received {shape!r}.")
    config = RLTVideoMAEConfig(**{**SHAPES[shape], "num_labels": 400, **settings})
    config._attn_implementation = attention
    torch.manual_seed(0)
    return RLTVideoMAEForVideoClassification(config).eval()


def share_weights(base: RLTVideoMAEForVideoClassification, method: Method, **settings: Any) -> PreTrainedModel:
    """Make the method's model on the weights of `base`: same memory, dtype, device and attention backend."""
    kind, found = method.kind, plain_settings(base.config)
    if kind is VideoMAEForVideoClassification and (base.config.position_grid or base.config.length_embedding):
        kind = RLTVideoMAEForVideoClassification  # VideoMAE has neither; with every token ours is the same
    if kind is VideoMAEForVideoClassification:
        config: VideoMAEConfig = VideoMAEConfig(**{k: v for k, v in found.items() if hasattr(VideoMAEConfig, k)})
    else:
        config = kind.config_class(**{**found, **settings})
    config._attn_implementation = base.config._attn_implementation
    with torch.device("meta"):
        model = kind(config)
    model.load_state_dict(base.state_dict(), assign=True)
    return model.train(base.training)


def forward(method: Method, model: PreTrainedModel, pixel_values: Tensor, run_lengths: Tensor, **kwargs: Any) -> Any:
    """Run the model; `run_lengths` are those the method starts from."""
    if isinstance(model, VideoMAEForVideoClassification):
        return model(pixel_values, **kwargs)
    return model(pixel_values, run_lengths=run_lengths, **kwargs)


def cost(config: VideoMAEConfig, lengths: Sequence[int]) -> dict[str, float]:
    """Compute mean tokens and operations over clips of these lengths.

    Keys: tokens_left (after the last block), tokens_by_block (mean over blocks of what their MLP computes), gflops.
    """
    return {
        "tokens_left": mean(tokens_by_block(config, length)[-1] for length in lengths),
        "tokens_by_block": mean(mean(mlp for _, mlp in block_tokens(config, length)) for length in lengths),
        "gflops": mean(analytic_flops(config, length) / 1e9 for length in lengths),
    }
