# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a forward pass costs, counted and timed."""

import statistics
import time
from collections.abc import Callable

import torch
from transformers import VideoMAEConfig


def analytic_flops(config: VideoMAEConfig, tokens: int) -> int:
    """Returns the floating-point operations of one clip's forward pass with `tokens` computed tokens.

    Matrix products only, a multiply-add counted as two: patch embedding, query/key/value/output projections, the two
    attention products, MLP, classifier.
    """
    width, hidden = config.hidden_size, config.intermediate_size
    patch = config.patch_size if isinstance(config.patch_size, int) else config.patch_size[0]
    patch_columns = patch if isinstance(config.patch_size, int) else config.patch_size[1]
    pixels = config.num_channels * config.tubelet_size * patch * patch_columns
    block = 2 * tokens * (4 * width * width + 2 * width * hidden) + 4 * tokens * tokens * width
    return 2 * tokens * pixels * width + config.num_hidden_layers * block + 2 * width * config.num_labels


def _seconds(call: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved_seconds(calls: dict[str, Callable[[], object]], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Returns the median seconds of each call, measured in turn (A B A B ...) so that drift of the machine cancels.

    Args:
        calls: name -> function without arguments.
        repeats: measurements of each.
        warmup: rounds thrown away first.

    Raises:
        ValueError: if `repeats` is not positive.
    """
    if repeats < 1:
        raise ValueError(f"Expected repeats >= 1, received {repeats}.")
    for _ in range(warmup):
        for call in calls.values():
            call()
    rounds = [{name: _seconds(call) for name, call in calls.items()} for _ in range(repeats)]
    return {name: statistics.median(times[name] for times in rounds) for name in calls}
