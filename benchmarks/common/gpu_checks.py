# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Does every way to attend compute what the loop over clips does, forward and backward?"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers.utils import is_flash_attn_2_available

from hf_rlt import (
    RLTVideoMAEConfig,
    RLTVideoMAEForVideoClassification,
    RLTVJEPA2Config,
    RLTVJEPA2ForVideoClassification,
)
from hf_rlt.errors import one_line
from hf_rlt.models.runs import lengths_from_later_starts
from hf_rlt.models.varlen_attention import VARLEN, takes_varlen

LOOP, WITHOUT_CUDNN = "sdpa", f"{VARLEN} without cuDNN"
SHARES = (0.2, 0.6, 0.3, 0.5)  # of the tokens that the clips of a batch compute, in turn
SLACK = 1e-3  # beyond twice the loop's own distance from float32
COMMON: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 2,
    "patch_size": 8,
    "num_labels": 10,
}
SMALL: dict[str, Callable[[], Any]] = {
    "VideoMAE": lambda: RLTVideoMAEForVideoClassification(
        RLTVideoMAEConfig(**COMMON, image_size=64, num_frames=16, intermediate_size=256)
    ),
    "V-JEPA 2": lambda: RLTVJEPA2ForVideoClassification(
        RLTVJEPA2Config(
            **COMMON, crop_size=64, num_frames=16, mlp_ratio=2, num_pooler_layers=1, pred_num_hidden_layers=1
        )
    ),
}


def backends(device: torch.device) -> list[str]:
    """List the ways to attend within the clips of a pack that there are on a device, the loop first."""
    found = [LOOP]
    if takes_varlen(torch.empty(0, device=device, dtype=torch.bfloat16)):
        found += [VARLEN, WITHOUT_CUDNN]
    if device.type == "cuda" and is_flash_attn_2_available():
        found.append("flash_attention_2")
    return [*found, "flex_attention"] if device.type == "cuda" else found


@contextmanager
def attending(model: Any, backend: str) -> Iterator[None]:
    """Context in which a model attends with a backend."""
    before = model.config._attn_implementation
    model.config._attn_implementation = VARLEN if backend == WITHOUT_CUDNN else backend
    with ExitStack() as stack:
        if backend == WITHOUT_CUDNN:
            where = "torch.nn.attention.varlen._should_use_cudnn"
            stack.enter_context(mock.patch(where, return_value=False))
        try:
            yield
        finally:
            model.config._attn_implementation = before


def unequal_runs(grid: tuple[int, int, int], batch: int, device: Any) -> Tensor:
    """Make run lengths `(B, N)` of clips that compute 20 to 60 % of their tokens, 40 % on average; one alone 40 %."""
    tubelets, rows, columns = grid
    shares = torch.tensor([SHARES[clip % len(SHARES)] for clip in range(batch)] if batch > 1 else [0.4])
    chance = (shares * tubelets - 1) / (tubelets - 1)  # the first tubelets are always computed
    draws = torch.rand((batch, tubelets - 1, rows, columns), generator=torch.Generator().manual_seed(0))
    return lengths_from_later_starts(draws < chance[:, None, None, None]).to(device)


def check(device: torch.device, compiled: bool, until: float) -> Iterator[dict[str, Any]]:
    """Yield, for each family, precision and backend, how far logits and gradients are from float32's.

    Args:
        device: to compute on.
        compiled: whether the models are compiled.
        until: when to stop, by `time.monotonic`.
    """
    torch.backends.cudnn.allow_tf32 = False  # what is called float32 is to be it
    for (family, make), dtype in product(SMALL.items(), (torch.bfloat16, torch.float16)):
        torch.manual_seed(0)
        model = make().to(device)
        clips = torch.randn(4, *model.config.clip_shape, generator=torch.Generator().manual_seed(1)).to(device)
        runs = unequal_runs(model.config.grid, 4, device)
        with attending(model, LOOP):
            exact = _computed(model, clips, runs)
            loop = _errors(_computed(model.to(dtype), clips.to(dtype), runs), exact)
        for backend in backends(device):
            if time.monotonic() > until:
                return
            row: dict[str, Any] = {"family": family, "dtype": str(dtype).removeprefix("torch."), "backend": backend}
            row["compiled"] = compiled
            try:
                with attending(model, backend):
                    called = torch.compile(model, dynamic=True) if compiled else model
                    errors = _errors(_computed(model, clips.to(dtype), runs, called), exact)
            except Exception as error:  # whatever a backend does, the others are still checked
                yield {**row, "error": told(error)}
            else:
                right = all(each <= 2 * own + SLACK for each, own in zip(errors, loop, strict=True))
                yield {**row, "forward": errors[0], "backward": errors[1], "right": right}
            finally:
                torch.compiler.reset()


def told(error: Exception) -> str:
    """Say in a line what went wrong."""
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def _computed(model: Any, clips: Tensor, runs: Tensor, called: Any = None) -> list[Tensor]:
    model.zero_grad(set_to_none=True)
    logits = (called or model)(clips, run_lengths=runs).logits.float()
    logits.square().sum().backward()
    grads = [each.grad.float().flatten() for each in model.parameters() if each.grad is not None]
    return [logits.detach(), torch.cat(grads)]


def _errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]
