# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From rules to the tokens that they compute of a set of clips, and back."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from hf_rlt import RunRule
from hf_rlt.data import EvalDataset
from hf_rlt.errors import HfRltError

BY_THRESHOLD = ("threshold", "anchor")  # rules that a threshold brings to a share
STEPS = 30  # of the bisection: it ends within a billionth of the largest difference


def plain_rule(owner: Any, **settings: Any) -> RunRule:
    """Make a rule of these settings alone for the tubelets of a configuration or processor, whatever its own rule is."""
    sizes = {"tubelet_size": owner.tubelet_size, "patch_size": owner.patch_size}
    return RunRule(**{"threshold": None, **sizes, **settings})


def readable_views(data: EvalDataset, batch_size: int = 8, workers: int = 0) -> Iterator[Tensor]:
    """Yield the pixels `(B, F, C, H, W)` of all readable views, batch by batch.

    Raises:
        HfRltError: after the last batch, if there was no view.
    """
    found = False
    for batch in DataLoader(data, batch_size=batch_size, num_workers=workers):
        pixels = batch["pixel_values"][batch["labels"] >= 0].flatten(0, -5)
        if len(pixels):
            found = True
            yield pixels
    if not found:
        raise HfRltError(f"None of the {len(data)} videos to evaluate on can be read.")


def mean_tokens(data: EvalDataset, threshold: float, batch_size: int, workers: int) -> float:
    """Compute the mean number of tokens that RLT computes of a view."""
    rule, views = plain_rule(data.processor, threshold=threshold), readable_views(data, batch_size, workers)
    counts = [count for pixels in views for count in (rule.find(pixels) > 0).sum(1).tolist()]
    return sum(counts) / len(counts)


def share_at(rule: RunRule, differences: Sequence[Tensor], threshold: float) -> float:
    """Compute the share of the tokens that a rule computes at a threshold, over all clips.

    Args:
        rule: of which all but the threshold counts.
        differences: `rule.differences(pixels)` of each batch of clips.
        threshold: to use instead of the rule's own.
    """
    runs = [replace(rule, threshold=threshold).run_lengths(each) for each in differences]
    return sum(int((each > 0).sum()) for each in runs) / sum(each.numel() for each in runs)


def threshold_for_share(rule: RunRule, differences: Sequence[Tensor], share: float) -> float:
    """Find the threshold at which a rule computes nearly `share` of the tokens of all clips together.

    The share falls as the threshold rises, in steps of a tubelet and of all equal differences: the nearer side of the step
    is returned. The differences of a set serve any number of shares:

        rule = plain_rule(processor, rule="anchor")
        differences = [rule.differences(pixels) for pixels in readable_views(data)]
        thresholds = {share: threshold_for_share(rule, differences, share) for share in (0.15, 0.2)}

    Raises:
        HfRltError: if no threshold computes as few, or as many.
    """
    low, high = 0.0, max(float(each.nan_to_num(0, 0).max()) for each in differences if each.numel())
    most, fewest = (share_at(rule, differences, threshold) for threshold in (low, high))
    if not fewest <= share <= most:
        raise HfRltError(
            f"Expected a share of the tokens from {fewest:.4g} (the first tubelet of each place) to {most:.4g} (all that "
            f"change at all) with the rule of these clips, received {share:g}."
        )
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if share_at(rule, differences, middle) > share else (low, middle)
    return min((low, high), key=lambda threshold: abs(share_at(rule, differences, threshold) - share))


def thresholds_for_shares(
    data: EvalDataset, shares: Sequence[float], batch_size: int, workers: int
) -> dict[str, dict[float, float]]:
    """Find the thresholds of each rule for these shares: rule -> share -> threshold. The set is read once."""
    rules = {name: plain_rule(data.processor, rule=name) for name in BY_THRESHOLD}
    differences: dict[str, list[Tensor]] = {name: [] for name in rules}
    for pixels in readable_views(data, batch_size, workers):
        for name, rule in rules.items():
            differences[name].append(rule.differences(pixels))
    return {
        name: {share: threshold_for_share(rule, differences[name], share) for share in shares}
        for name, rule in rules.items()
    }
