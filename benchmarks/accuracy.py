# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of every method on one trained model, nothing fine-tuned, over the tokens it leaves."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from hf_rlt.data import EvalDataset
from hf_rlt.inference.measure import timed
from hf_rlt.models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from hf_rlt.models.runs import find_runs, grid_size, to_2tuple

from .methods import METHODS, STANDARD, Method, cost, forward, plain_settings, share_weights
from .record import Row

THRESHOLDS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
FURTHER_SHARES = (0.9, 0.7, 0.5, 0.3)
FURTHER_MERGES = (0.02, 0.05, 0.1)  # r of each block on top of RLT, as a share of a clip's tokens divided by the blocks


@dataclass
class Setting:
    """One method with settings that stay the same for all clips, and what was counted of it.

    Attributes:
        method: which.
        level: what is varied, as tables write it.
        values: the model's settings.
        threshold: RLT's, for methods on runs.
    """

    method: Method
    level: str
    values: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    model: PreTrainedModel | None = None
    hits: int = 0
    hits_5: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)


def rlt_settings(thresholds: Sequence[float], name: str = "RLT") -> list[Setting]:
    """Returns RLT at each threshold, or what is called so with other attention."""
    method = METHODS[name]
    return [Setting(method, f"threshold {t:g}", method.fit(None, 0, 0), threshold=t) for t in thresholds]


def curve(config: Any, tokens: int, threshold: float) -> list[Setting]:
    """Returns settings that draw every method's curve of accuracy over tokens, from dense on.

    Args:
        config: of the model.
        tokens: of a dense clip.
        threshold: RLT's, for the methods on top of it.
    """
    found = [Setting(STANDARD, "dense"), *rlt_settings(THRESHOLDS), *rlt_settings(THRESHOLDS, "RLT, proportional")]
    for name in ("random", "ToMe", "ToMe, proportional", "STA"):
        reached: set[str] = set()
        for share in SHARES:
            values = fitted(METHODS[name], config, tokens, round(share * tokens))
            if str(values) not in reached:  # a method may not be able to leave so few
                reached.add(str(values))
                found.append(Setting(METHODS[name], f"{share:.0%} wanted", values))
    for share in FURTHER_SHARES:
        values = {"token_keep_ratio": share}
        found.append(Setting(METHODS["RLT + random"], f"{share:.0%} of RLT's", values, threshold))
    for share in FURTHER_MERGES:
        r = max(round(share * tokens / config.num_hidden_layers), 1)
        found.append(Setting(METHODS["RLT + ToMe"], f"r = {r}", {"r": r}, threshold))
    return found


def matched(config: Any, tokens: int, target: int, threshold: float) -> list[Setting]:
    """Returns every method at `target` tokens, the mean that RLT computes at this threshold."""
    found = [Setting(STANDARD, "dense")]
    for name in ("ToMe", "ToMe, proportional", "STA", "random"):
        values = fitted(METHODS[name], config, tokens, target)
        r = values.get("r")
        level = f"{target / tokens:.1%}" if r is None else f"r = {max(r) if isinstance(r, list) else r}"
        found.append(Setting(METHODS[name], level, values))
    return [*found, *rlt_settings([threshold]), *rlt_settings([threshold], "RLT, proportional")]


def fitted(method: Method, config: Any, tokens: int, target: int) -> dict[str, Any]:
    """Returns the settings with which a method leaves `target` of a dense clip's tokens."""
    return method.fit(method.kind.config_class(**plain_settings(config)), tokens, target)


def evaluate(
    base: RLTVideoMAEForVideoClassification,
    data: EvalDataset,
    settings: Sequence[Setting],
    batch_size: int,
    workers: int,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> list[Row]:
    """Returns a row for each setting; every video is read once, and the settings take turns on it.

    Args:
        base: the weights, in evaluation mode.
        data: views; runs are found here, at each setting's threshold, in float32.
        settings: what to compare; the first is what speed-ups are relative to.
        batch_size: videos in a batch.
        workers: processes that read.
        seed: of random masking; each batch has its own draws, the same in each run.
        say: is told how far it is.

    Rows: method, level, threshold, settings, videos, accuracy, accuracy_error (standard error), top_5_accuracy (of more
    than five classes), tokens, share, tokens_by_block, gflops, views_per_second (of the forward pass), speedup.

    Raises:
        ValueError: if no video can be read.
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
        if say is not None:
            say(f"{min((number + 1) * batch_size, len(data))} of {len(data)} videos")
    if not videos:
        raise ValueError(f"None of the {len(data)} videos to evaluate on can be read.")
    rows = [_row(setting, videos, views, base.num_labels) for setting in settings]
    return [{**row, "speedup": rows[0]["seconds"] / row["seconds"]} for row in rows]


@torch.inference_mode()
def _turn(
    base: RLTVideoMAEForVideoClassification,
    settings: Sequence[Setting],
    pixels: Tensor,
    labels: Tensor,
    seed: int,
    warm: bool,
) -> None:
    config = base.config
    runs: dict[float | None, Tensor] = {}
    for setting in settings:
        if setting.threshold not in runs:
            found = find_runs(pixels, setting.threshold, config.tubelet_size, config.patch_size)
            runs[setting.threshold] = found.to(base.device)
    placed, targets = pixels.to(base.device, base.dtype), labels.to(base.device)
    for setting in settings:
        lengths = runs[setting.threshold]
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


def _row(setting: Setting, videos: int, views: int, labels: int) -> dict[str, Any]:
    accuracy = setting.hits / videos
    means = {name: total / views for name, total in setting.sums.items()}
    grid = setting.model.config  # type: ignore[union-attr]
    row = {
        "method": setting.method.name,
        "level": setting.level,
        "threshold": setting.threshold,
        "settings": setting.values,
        "videos": videos,
        "accuracy": accuracy,
        "accuracy_error": math.sqrt(accuracy * (1 - accuracy) / videos),
        **means,
        "share": means["tokens_left"] / dense_tokens(grid),
        "seconds": setting.seconds,
        "views_per_second": views / setting.seconds,
    }
    return row | ({"top_5_accuracy": setting.hits_5 / videos} if labels > 5 else {})


def dense_tokens(config: Any) -> int:
    """Returns N, the tokens of a clip of which none is dropped."""
    return math.prod(
        grid_size((config.num_frames, 3, *to_2tuple(config.image_size)), config.tubelet_size, config.patch_size)
    )


def mean_tokens(data: EvalDataset, threshold: float, batch_size: int, workers: int) -> float:
    """Returns how many tokens RLT computes of a view, the mean over all views that can be read."""
    processor, total, views = data.processor, 0, 0
    for batch in DataLoader(data, batch_size=batch_size, num_workers=workers):
        pixels = batch["pixel_values"][batch["labels"] >= 0].flatten(0, -5)
        if len(pixels):
            runs = find_runs(pixels, threshold, processor.tubelet_size, processor.patch_size)
            total, views = total + int((runs > 0).sum()), views + len(pixels)
    if not views:
        raise ValueError(f"None of the {len(data)} videos to evaluate on can be read.")
    return total / views


def methods_of(rows: Iterable[Row]) -> list[str]:
    """Returns the names of the methods of rows, in their order."""
    return list(dict.fromkeys(row["method"] for row in rows))
