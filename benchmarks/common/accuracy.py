# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of every method on one trained model, nothing fine-tuned, over the tokens it leaves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from hf_rlt.data import EvalDataset
from hf_rlt.errors import HfRltError
from hf_rlt.inference.measure import timed

from .methods import METHODS, OTHER_RUNS, STANDARD, Method, cost, forward, share_weights
from .record import Row, say
from .shares import plain_rule

THRESHOLDS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
FURTHER_SHARES = (0.9, 0.7, 0.5, 0.3)
FURTHER_MERGES = (0.02, 0.05, 0.1)  # r of each block on top of RLT, as a share of a clip's tokens divided by the blocks


@dataclass
class Setting:
    """One method with settings that stay the same for all clips, and what was counted of it."""

    method: Method
    level: str  # what is varied, as tables write it
    values: dict[str, Any] = field(default_factory=dict)  # the model's settings
    rule: dict[str, Any] = field(default_factory=dict)  # settings of the rule, for methods on runs
    model: PreTrainedModel | None = None
    hits: int = 0
    hits_5: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)


def rlt_settings(thresholds: Sequence[float], name: str = "RLT") -> list[Setting]:
    """Make a setting of RLT, or of RLT with other attention, at each threshold."""
    method = METHODS[name]
    return [Setting(method, f"threshold {t:g}", method.fit(None, 0, 0), {"threshold": t}) for t in thresholds]


def curve(config: Any, tokens: int, threshold: float) -> list[Setting]:
    """Make settings that draw every method's curve of accuracy over tokens; `tokens` are those of a dense clip."""
    found = [Setting(STANDARD, "dense"), *rlt_settings(THRESHOLDS), *rlt_settings(THRESHOLDS, "RLT, proportional")]
    for name in ("random", "by difference", "by difference, proportional", "ToMe", "ToMe, proportional", "STA"):
        reached: set[str] = set()
        for share in SHARES:
            values = METHODS[name].fit_to(config, tokens, round(share * tokens))
            if str(values) not in reached:  # a method may not be able to leave so few
                reached.add(str(values))
                found.append(Setting(METHODS[name], f"{share:.0%} wanted", values))
    for share in FURTHER_SHARES:
        values = {"token_keep_ratio": share}
        found.append(Setting(METHODS["RLT + random"], f"{share:.0%} of RLT's", values, {"threshold": threshold}))
    for share in FURTHER_MERGES:
        r = max(round(share * tokens / config.num_hidden_layers), 1)
        found.append(Setting(METHODS["RLT + ToMe"], f"r = {r}", {"r": r}, {"threshold": threshold}))
    return found


def equal_token_settings(config: Any, tokens: int, target: int, threshold: float) -> list[Setting]:
    """Make a setting of every method at `target` tokens, the mean that RLT computes at this threshold."""
    found = [Setting(STANDARD, "dense")]
    for name in ("ToMe", "ToMe, proportional", "STA", "random"):
        values = METHODS[name].fit_to(config, tokens, target)
        r = values.get("r")
        level = f"{target / tokens:.1%}" if r is None else f"r = {max(r) if isinstance(r, list) else r}"
        found.append(Setting(METHODS[name], level, values))
    return [*found, *rlt_settings([threshold]), *rlt_settings([threshold], "RLT, proportional")]


def budget_settings(
    config: Any, tokens: int, thresholds: Mapping[str, Mapping[float, float]], groups: int = 1
) -> list[Setting]:
    """Make a setting of every method at each share of a clip's `tokens`, with and without proportional attention.

    Args:
        config: of the model.
        tokens: of a dense clip.
        thresholds: rule -> share -> the threshold that computes it on average, see `thresholds_for_shares`.
        groups: of tubelets, over which exact budgets are spread.
    """
    found, methods = [Setting(STANDARD, "dense")], METHODS | OTHER_RUNS
    for share in thresholds["threshold"]:
        target, at = round(share * tokens), f"{100 * share:g} %"
        rules = {
            "RLT" if name == "threshold" else name: {"rule": name, "threshold": by_share[share]}
            for name, by_share in thresholds.items()
        }
        rules["num_tokens"] = {"num_tokens": target, "budget_groups": groups}
        for name, rule in rules.items():
            level = f"{at}, threshold {rule['threshold']:.3g}" if "threshold" in rule else at
            for method in (methods[name], methods[f"{name}, proportional"]):
                found.append(Setting(method, level, method.fit(config, tokens, target), rule))
        for name in ("by difference", "by difference, proportional", "random", "ToMe", "ToMe, proportional", "STA"):
            values = methods[name].fit_to(config, tokens, target)
            if "num_tokens" in values:
                values["budget_groups"] = groups
            found.append(Setting(methods[name], at, values))
    return found


def evaluate(
    base: Any, data: EvalDataset, settings: Sequence[Setting], batch_size: int, workers: int, seed: int = 0
) -> list[Row]:
    """Evaluate each setting; every video is read once, and the settings take turns on it.

    Runs are found by each setting's rule. Speed-ups are relative to the first setting. Random masking draws anew for
    each batch, the same in each run with this seed.
    """
    for setting in settings:
        setting.model = share_weights(base, setting.method, **setting.values)
    videos, views = 0, 0
    for number, batch in enumerate(DataLoader(data, batch_size=batch_size, num_workers=workers)):
        readable = batch["labels"] >= 0
        videos += int(readable.sum())
        pixels = batch["pixel_values"][readable].flatten(0, -5)
        views += len(pixels)
        if len(pixels):
            first = number % len(settings)  # none is always the one that runs while the next batch is read
            order = [*settings[first:], *settings[:first]]
            _turn(base, order, pixels, batch["labels"][readable], seed + number, warm=number == 0)
        say(f"{min((number + 1) * batch_size, len(data))} of {len(data)} videos")
    if not videos:
        raise HfRltError(f"None of the {len(data)} videos to evaluate on can be read.")
    rows = [_row(setting, videos, views, math.prod(base.config.grid), base.num_labels) for setting in settings]
    return [{**row, "speedup": rows[0]["seconds"] / row["seconds"]} for row in rows]


@torch.inference_mode()
def _turn(base: Any, settings: Sequence[Setting], pixels: Tensor, labels: Tensor, seed: int, warm: bool) -> None:
    rules = {str(setting.rule): plain_rule(base.config, **setting.rule) for setting in settings}
    runs = {name: rule.find(pixels).to(base.device) for name, rule in rules.items()}
    placed, targets = pixels.to(base.device, base.dtype), labels.to(base.device)
    for setting in settings:
        lengths = runs[str(setting.rule)]
        if warm:
            forward(setting.method, setting.model, placed, lengths)
        torch.manual_seed(seed)
        seconds, output = timed(partial(forward, setting.method, setting.model, placed, lengths))
        setting.seconds += seconds
        scores = output.logits.float().softmax(1).unflatten(0, (len(labels), -1)).mean(1)
        best = scores.topk(min(5, scores.shape[1]), dim=1).indices == targets[:, None]
        setting.hits += int(best[:, 0].sum())
        setting.hits_5 += int(best.sum())
        counts = (lengths > 0).sum(1).tolist()
        for name, mean in cost(setting.model.config, counts).items():  # type: ignore[union-attr]
            setting.sums[name] = setting.sums.get(name, 0.0) + mean * len(counts)


def _row(setting: Setting, videos: int, views: int, dense_tokens: int, labels: int) -> dict[str, Any]:
    accuracy, means = setting.hits / videos, {name: total / views for name, total in setting.sums.items()}
    row: dict[str, Any] = {"method": setting.method.name, "level": setting.level}
    row |= {"threshold": setting.rule.get("threshold"), "rule": setting.rule, "settings": setting.values}
    row |= {"videos": videos, "accuracy": accuracy}
    row |= {"accuracy_error": math.sqrt(accuracy * (1 - accuracy) / videos), **means}
    row |= {"share": means["tokens_left"] / dense_tokens, "seconds": setting.seconds}
    row["views_per_second"] = views / setting.seconds
    return row | ({"top_5_accuracy": setting.hits_5 / videos} if labels > 5 else {})
