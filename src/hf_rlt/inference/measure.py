# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a forward pass costs: counted, timed, and in memory."""

import os
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import VideoMAEConfig

from ..baselines import RandomMaskingVideoMAEConfig, STAVideoMAEConfig, ToMeVideoMAEConfig
from ..errors import HfRltError

Calls = dict[str, Callable[[], Any]]


def tokens_by_block(config: VideoMAEConfig, tokens: int) -> list[int]:
    """Returns the tokens of one clip before the first block and after each; `tokens` are those the method starts from."""
    if isinstance(config, (RandomMaskingVideoMAEConfig, ToMeVideoMAEConfig, STAVideoMAEConfig)):
        return config.token_counts(tokens)
    return [tokens] * (config.num_hidden_layers + 1)


def block_tokens(config: VideoMAEConfig, tokens: int) -> list[tuple[int, int]]:
    """Returns how many tokens of one clip attention and MLP of each block compute."""
    if isinstance(config, (ToMeVideoMAEConfig, STAVideoMAEConfig)):
        return config.block_tokens(tokens)
    return [(n, n) for n in tokens_by_block(config, tokens)[:-1]]


def analytic_flops(config: VideoMAEConfig, tokens: int) -> int:
    """Returns the floating-point operations of one clip's forward pass.

    Matrix products only, a multiply-add counted as two: patch embedding, query/key/value/output projections, the two
    attention products, MLP, classifier, and what ToMe and STA compute to find what is alike.

    Args:
        config: of VideoMAE, RLT or a baseline.
        tokens: of the clip: all of them, or those that RLT computes; a baseline takes its share of these.
    """
    width, hidden = config.hidden_size, config.intermediate_size
    patch = config.patch_size if isinstance(config.patch_size, int) else config.patch_size[0]
    patch_columns = patch if isinstance(config.patch_size, int) else config.patch_size[1]
    pixels = config.num_channels * config.tubelet_size * patch * patch_columns
    counts = tokens_by_block(config, tokens)
    choice = config.choice_flops(tokens) if isinstance(config, (ToMeVideoMAEConfig, STAVideoMAEConfig)) else 0
    total = 2 * counts[0] * pixels * width + 2 * width * config.num_labels + choice
    for attended, processed in block_tokens(config, tokens):
        total += 8 * attended * width * width + 4 * attended * attended * width + 4 * processed * width * hidden
    return total


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Returns how many seconds a call took, to the end of what it started on a CUDA device, and what it returned."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def interleaved_times(calls: Calls, repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Returns the seconds of every measurement of each call, taken in turn so that drift cancels.

    Each round begins with another call (A B C, B C A, ...): none always follows the same one.

    Args:
        calls: name -> function without arguments.
        repeats: measurements of each.
        warmup: rounds thrown away first.

    Raises:
        ValueError: if `repeats` is not positive.
    """
    if repeats < 1:
        raise HfRltError(f"Expected repeats >= 1, received {repeats}.")
    for _ in range(warmup):
        for call in calls.values():
            call()
    names, times = list(calls), {name: list[float]() for name in calls}
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(timed(calls[name])[0])
    return times


def interleaved_seconds(calls: Calls, repeats: int, warmup: int = 1) -> dict[str, float]:
    """Returns the median seconds of each call, see `interleaved_times`."""
    return {name: statistics.median(times) for name, times in interleaved_times(calls, repeats, warmup).items()}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Returns the lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def peak_bytes(call: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Returns how much memory tensors took at most during a call, beyond what was in use before it.

    By the count of the CUDA allocator, or of every allocation that torch makes on the CPU: what the process holds in reserve
    does not come into it.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else a machine without a GPU is called an error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    changes = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in changes), initial=0))
