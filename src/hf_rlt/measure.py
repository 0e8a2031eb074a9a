# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a forward pass costs: counted, timed, and in memory."""

import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import VideoMAEConfig

from .baselines import RandomMaskingVideoMAEConfig, STAVideoMAEConfig, ToMeVideoMAEConfig

Calls = dict[str, Callable[[], Any]]


def tokens_by_block(config: VideoMAEConfig, tokens: int) -> list[int]:
    """Returns the tokens of one clip before the first block and after each; `tokens` are those the method starts from."""
    if isinstance(config, (RandomMaskingVideoMAEConfig, ToMeVideoMAEConfig, STAVideoMAEConfig)):
        return config.token_counts(tokens)
    return [tokens] * (config.num_hidden_layers + 1)


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
    blocks, choice = [(n, n) for n in counts[:-1]], 0
    if isinstance(config, (ToMeVideoMAEConfig, STAVideoMAEConfig)):
        blocks, choice = config.block_tokens(tokens), config.choice_flops(tokens)
    total = 2 * counts[0] * pixels * width + 2 * width * config.num_labels + choice
    for attended, processed in blocks:
        total += 8 * attended * width * width + 4 * attended * attended * width + 4 * processed * width * hidden
    return total


def _seconds(call: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved_times(calls: Calls, repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Returns the seconds of every measurement of each call, taken in turn (A B A B ...) so that drift cancels.

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
    return {name: [times[name] for times in rounds] for name in calls}


def interleaved_seconds(calls: Calls, repeats: int, warmup: int = 1) -> dict[str, float]:
    """Returns the median seconds of each call, see `interleaved_times`."""
    return {name: statistics.median(times) for name, times in interleaved_times(calls, repeats, warmup).items()}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Returns the lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def peak_bytes(call: Callable[[], object]) -> int | None:
    """Returns how much memory a call took at most beyond what was in use before it; None where nobody counts it.

    On a CUDA device the allocator's count; else the process's resident memory (Linux).
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    status = Path("/proc/self/status")
    try:
        if hasattr(ctypes.CDLL(None), "malloc_trim"):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be reused, and not be counted
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _resident(status, "VmRSS")
        call()
        return max(_resident(status, "VmHWM") - before, 0)
    except OSError:
        return None


def _resident(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
