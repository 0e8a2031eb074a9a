# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The methods that are compared, on one set of weights, brought to a wanted number of tokens."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, VideoMAEConfig, VideoMAEForVideoClassification

from hf_rlt.baselines import (
    RandomMaskingVideoMAEForVideoClassification,
    STAVideoMAEConfig,
    STAVideoMAEForVideoClassification,
    ToMeVideoMAEForVideoClassification,
)
from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import analytic_flops, block_tokens, tokens_by_block
from hf_rlt.models.configuration_rlt_videomae import RLTVideoMAEConfig
from hf_rlt.models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification

# VideoMAE's, and MCG-NJU/videomae-{base,large,huge}-finetuned-kinetics.
SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
}
FURTHER = 0.7  # share of RLT's tokens that methods on top of it leave

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
    """A way to compute fewer tokens.

    Attributes:
        name: as tables call it.
        kind: the model's class.
        after_rlt: whether it starts from the tokens that RLT computes.
        content_aware: whether what is left depends on what the clip shows.
        fit: from configuration, tokens and the number wanted to the settings that leave it.
    """

    name: str
    kind: type[PreTrainedModel]
    after_rlt: bool
    content_aware: bool
    fit: Fit

    def lengths(self, run_lengths: Tensor) -> Tensor:
        """Return the run lengths this method starts from; `run_lengths` are RLT's."""
        return run_lengths if self.after_rlt else torch.ones_like(run_lengths)


def _nothing(config: Any, tokens: int, target: int) -> dict[str, Any]:
    return {}


def _proportional(config: Any, tokens: int, target: int) -> dict[str, Any]:
    return {"proportional_attention": True}


TOME, RANDOM = ToMeVideoMAEForVideoClassification, RandomMaskingVideoMAEForVideoClassification
STANDARD = Method("standard", VideoMAEForVideoClassification, False, False, _nothing)
RLT = Method("RLT", RLTVideoMAEForVideoClassification, True, True, _nothing)
METHODS = {
    method.name: method
    for method in (
        STANDARD,
        Method("random", RANDOM, False, False, lambda config, n, target: {"token_keep_ratio": target / n}),
        Method("ToMe", TOME, False, True, lambda config, n, target: {"r": tome_schedule_for(config, n, target)}),
        Method(
            "ToMe, proportional",
            TOME,
            False,
            True,
            lambda config, n, target: {"r": tome_schedule_for(config, n, target), "proportional_attention": True},
        ),
        Method("STA", STAVideoMAEForVideoClassification, False, True, lambda c, n, t: {"r": sta_r_for(c, n, t)}),
        RLT,
        Method("RLT, proportional", RLTVideoMAEForVideoClassification, True, True, _proportional),
        Method("RLT + random", RANDOM, True, True, lambda config, n, target: {"token_keep_ratio": FURTHER}),
        Method(
            "RLT + ToMe",
            TOME,
            True,
            True,
            lambda c, n, target: {"r": tome_schedule_for(c, target, round(FURTHER * target))},
        ),
    )
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
    return {**own, "threshold": None, "proportional_attention": False}


def make_base(
    shape: str, checkpoint: str | None, attention: str = "sdpa", **settings: Any
) -> RLTVideoMAEForVideoClassification:
    """Make the RLT model whose weights all methods use: a checkpoint's, or random ones of a shape.

    Speed does not depend on the weights; which tokens ToMe and STA choose does, and accuracy.
    """
    if checkpoint is not None:
        kind = RLTVideoMAEForVideoClassification
        return kind.from_pretrained(checkpoint, attn_implementation=attention, **settings).eval()
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
    weights = base.state_dict()
    model.load_state_dict(weights, assign=True)
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
    counts = [tokens_by_block(config, length) for length in lengths]
    blocks = [block_tokens(config, length) for length in lengths]
    clips = len(counts)
    return {
        "tokens_left": sum(clip[-1] for clip in counts) / clips,
        "tokens_by_block": sum(sum(mlp for _, mlp in clip) / len(clip) for clip in blocks) / clips,
        "gflops": sum(analytic_flops(config, length) for length in lengths) / clips / 1e9,
    }
