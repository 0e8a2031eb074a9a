# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Measure a forward pass: floating-point operations, time and memory."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from ..errors import check_range
from ..models.runs import to_2tuple

Calls = dict[str, Callable[[], Any]]


def tokens_by_block(config: Any, tokens: int) -> list[int]:
    """Return the tokens of one clip before the first block and after each; `tokens` are those the method starts from."""
    if not hasattr(config, "token_counts"):  # a stock model computes all of them
        return [tokens] * (config.num_hidden_layers + 1)
    return config.token_counts(tokens)


def block_tokens(config: Any, tokens: int) -> list[tuple[int, int]]:
    """Return the tokens of one clip in attention and in the MLP of each block."""
    if not hasattr(config, "block_tokens"):
        return [(tokens, tokens)] * config.num_hidden_layers
    return config.block_tokens(tokens)


def analytic_flops(config: Any, tokens: int, head: bool = True) -> int:
    """Return the floating-point operations of one clip's forward pass.

    Matrix products only, a multiply-add counted as two: patch embedding, query/key/value/output projections, the two
    attention products, MLP, an attentive pooler, classifier, and what ToMe and STA compute to find similar tokens.

    Args:
        config: of VideoMAE, RLT or a baseline.
        tokens: of the clip: all of them, or those that RLT computes; a baseline takes its share of these.
        head: whether the model has its classifier, and with it the pooler, or is the encoder alone.
    """
    width, hidden = config.hidden_size, config.intermediate_size
    rows, columns = to_2tuple(config.patch_size)
    pixels = config.num_channels * config.tubelet_size * rows * columns
    counts = tokens_by_block(config, tokens)
    choice = config.choice_flops(tokens) if hasattr(config, "choice_flops") else 0
    total = 2 * counts[0] * pixels * width + choice
    if head:
        total += 2 * width * config.num_labels
        total += config.pool_flops(counts[-1]) if hasattr(config, "pool_flops") else 0
    for attended, processed in block_tokens(config, tokens):
        total += 8 * attended * width * width + 4 * attended * attended * width + 4 * processed * width * hidden
    return total


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, including the CUDA kernels it launched, and its result."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def interleaved_times(calls: Calls, repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Return the seconds of `repeats` measurements of each call, taken in turn so that drift cancels.

    Each round begins with another call (A B C, B C A, ...), so that none always follows the same one; `warmup` rounds are
    discarded first.
    """
    check_range("repeats", repeats, 1)
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
    """Return the median seconds of each call, see `interleaved_times`."""
    return {name: statistics.median(times) for name, times in interleaved_times(calls, repeats, warmup).items()}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def peak_bytes(call: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return the peak memory of tensors during a call, beyond what was in use before it.

    Counted by the CUDA allocator, or from every allocation that torch makes on the CPU, not from what the process reserves.
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


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def processor_name() -> str:
    """Return the name of the CPU."""
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.*)", cpus.read_text() if cpus.is_file() else "")
    return named[1] if named else platform.processor() or platform.machine()


def hardware_name(device: torch.device) -> str:
    """Return what computes on a device, such as "NVIDIA H200" or "AMD EPYC, 2 cores"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {os.cpu_count()} cores" if device.type == "cpu" else device.type
