# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From items to a batch: mixing, targets, and then, on the final pixels, the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from ..errors import HfRltError, check_range
from ..models.run_rule import RunRule
from ..models.runs import drop_random
from .augmentation import ClipMix
from .video_dataset import IGNORED


class ClipCollator:
    """Makes `pixel_values` (B, F, C, H, W), `run_lengths` (B, N) and `labels` from training items.

    Runs are found after mixing, in float32. Items that already have runs (those of `EvalDataset`) are only stacked, so one
    collator serves training and evaluation. Labels are `(B,)` integers, or `(B, K)` float targets with mixing or
    smoothing; rows of unreadable clips are -100.

    Args:
        label_smoothing: share of the target to spread over all classes.
        num_classes: K, needed for mixing and smoothing.
        ranges: setting of the rule -> (lowest, highest), drawn uniformly per clip instead of the processor's own: of
            `threshold`, or of `num_tokens` as a share.
        token_keep_ratio: share of the computed tokens to keep per clip, drawn at random: RLT with random masking, or only
            random masking if the processor's threshold is None.

    Source: arXiv 2411.05222 section 4 (random masking with RLT); mixing and smoothing as in VideoMAE's recipe.
    """

    def __init__(
        self,
        processor: Any,
        mix: ClipMix | None = None,
        label_smoothing: float = 0.0,
        num_classes: int | None = None,
        ranges: Mapping[str, Sequence[float]] | None = None,
        token_keep_ratio: float | None = None,
    ) -> None:
        check_range("label_smoothing", label_smoothing, 0, 0.999)
        if (mix is not None or label_smoothing) and not num_classes:
            raise HfRltError("Expected num_classes with mixing or label smoothing, received none.")
        for name, ends in (ranges or {}).items():
            if len(ends) != 2 or not ends[0] <= ends[1]:
                raise HfRltError(f"Expected the range of {name} to be (lowest, highest), received {ends}.")
            _check_drawn(name, processor.run_rule)
            for end in ends:
                processor.run_rule.changed(**{name: end})  # raises for a value that makes no rule
        if token_keep_ratio is not None:
            check_range("token_keep_ratio", token_keep_ratio, 0.001, 1)
        self.processor, self.mix = processor, mix
        self.label_smoothing, self.num_classes = label_smoothing, num_classes
        self.ranges, self.token_keep_ratio = dict(ranges or {}), token_keep_ratio

    def __call__(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Make a batch of items."""
        if "run_lengths" in items[0]:
            return default_collate(items)
        if "seeds" not in items[0]:
            raise HfRltError(
                f"Expected items of TrainDataset, received only {sorted(items[0])}: set remove_unused_columns=False."
            )
        # Repeat by repeat, so that neighbours, which are mixed, are different clips.
        keys = ("pixel_values", "labels", "seeds")
        clips, labels, seeds = (torch.stack([item[key] for item in items], dim=1).flatten(0, 1) for key in keys)
        if self.mix is not None or self.label_smoothing:
            labels = self._mixed(clips, labels, seeds)
        return {"pixel_values": clips, "run_lengths": self._runs(clips, seeds), "labels": labels}

    def _mixed(self, clips: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """Mix the readable clips in place; return `(B, K)` targets."""
        readable = (labels != IGNORED).nonzero()[:, 0]
        targets = torch.full((len(labels), self.num_classes or 0), float(IGNORED))
        if len(readable):
            hard = labels[readable]
            soft = F.one_hot(hard, self.num_classes or -1).float()
            if self.mix is not None:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(int(seeds.sum()))
                    clips[readable], soft = self.mix(clips[readable], hard)
            targets[readable] = soft * (1 - self.label_smoothing) + self.label_smoothing / soft.shape[1]
        return targets

    def _runs(self, clips: Tensor, seeds: Tensor) -> Tensor:
        rule = self.processor.run_rule
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        if not self.ranges:
            lengths = rule.find(clips)
        else:
            pairs = zip(clips, generators, strict=True)
            lengths = torch.cat([rule.changed(**self._draw(generator)).find(clip[None]) for clip, generator in pairs])
        return lengths if self.token_keep_ratio is None else drop_random(lengths, self.token_keep_ratio, generators)

    def _draw(self, generator: torch.Generator) -> dict[str, float]:
        """Draw a value of each setting that has a range."""
        return {
            name: low + (high - low) * float(torch.rand((), generator=generator))
            for name, (low, high) in self.ranges.items()
        }


def _check_drawn(name: str, rule: RunRule) -> None:
    """Raise HfRltError if the processor's own rule would overrule, or share, a setting that each clip draws."""
    if rule.budget == "batch":
        raise HfRltError(f'Each clip draws its own {name}: expected budget="clip", received "batch".')
    if name == "threshold" and rule.num_tokens is not None:
        raise HfRltError(
            f"Each clip draws its own threshold, which num_tokens={rule.num_tokens} would ignore in evaluation: pass a "
            "threshold to evaluate at."
        )
