# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Share of compute that ranks spend waiting for the one with the most tokens, by sampler.

The samplers are those of the training; tokens are counted once, from the files. Work is taken to be proportional to tokens.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.utils.data import RandomSampler
from transformers.trainer_pt_utils import BatchRebalanceSampler

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import from_folder
from hf_rlt.data.token_samplers import TokenGroupedSampler, TokenRebalanceSampler, quadratic_cost, waited_share
from hf_rlt.tokens import count_tokens

from .common.options import OUTPUT, FrameStride, Output
from .common.record import Row, column, percent, report, save, table

EPOCHS, RANKS = 5, (2, 8, 32)
SAMPLERS = ("random", "Trainer's batch_rebalance", "batch_rebalance here", "group_by_length")


def balance(
    folder: Annotated[Path, typer.Argument(help="Folder with a subfolder per class.")],
    batch_size: Annotated[int, typer.Option(help="Clips per rank.", min=1)] = 8,
    frame_stride: FrameStride = 4,
    image_size: Annotated[int, typer.Option(help="Side of a frame in pixels.", min=1)] = 224,
    patch_size: Annotated[int, typer.Option(help="Side of a patch in pixels.", min=1)] = 16,
    output: Output = OUTPUT,
) -> None:
    """Share of compute that ranks spend waiting, by sampler."""
    size = {"height": image_size, "width": image_size}
    shape: dict[str, Any] = {"size": size, "crop_size": size, "patch_size": patch_size}
    processor = RLTVideoProcessor(num_frames=16, frame_stride=frame_stride, **shape)
    counts = torch.from_numpy(count_tokens(from_folder(folder), processor, on_bad_video="skip"))
    rows = []
    for ranks in RANKS:
        epochs = [_waited(counts, ranks, batch_size, epoch) for epoch in range(EPOCHS)]
        rows.append({"ranks": ranks, **{name: sum(each[name] for each in epochs) / EPOCHS for name in SAMPLERS}})
    numbers = {"clips": len(counts), "mean": float(counts.double().mean()), "std": float(counts.double().std())}
    report(save(output, "balance", rows, {"folder": str(folder), "batch_size": batch_size, **numbers}))


def _waited(counts: Tensor, ranks: int, batch: int, epoch: int) -> dict[str, float]:
    shuffled = list(RandomSampler(counts, generator=torch.Generator().manual_seed(epoch)))
    grouped = TokenGroupedSampler(counts.tolist(), batch)
    grouped.set_epoch(epoch)
    theirs = partial(BatchRebalanceSampler, counts.tolist(), batch * ranks, ranks, 1, drop_last=True)
    ours = partial(
        TokenRebalanceSampler, counts.tolist(), batch, ranks, drop_last=True, quadratic=quadratic_cost(768, 3072)
    )
    work = {"random": _dealt(shuffled, counts, ranks, batch)}
    for name, make in zip(SAMPLERS[1:3], (theirs, ours), strict=True):
        work[name] = _by_rank([make(rank=rank) for rank in range(ranks)], counts, epoch)
    work["group_by_length"] = _dealt(list(grouped), counts, ranks, batch)
    return {name: waited_share(tokens) for name, tokens in work.items()}


def _dealt(order: list[int], counts: Tensor, ranks: int, batch: int) -> Tensor:
    """Sum tokens `(ranks, steps)` where Accelerate deals out batches of clips in this order."""
    steps = len(order) // (ranks * batch)
    return counts[order[: steps * ranks * batch]].view(steps, ranks, batch).sum(-1).T.double()


def _by_rank(samplers: list[Any], counts: Tensor, epoch: int) -> Tensor:
    """Sum tokens `(ranks, steps)` of samplers that know their rank."""
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return torch.tensor([[int(counts[indices].sum()) for indices in sampler] for sampler in samplers]).double()


def markdown(record: Row) -> str:
    """Make the table."""
    settings = record["settings"]
    columns = [column("ranks", "ranks"), *(percent(name, name) for name in SAMPLERS)]
    return table(record["rows"], columns) + (
        f"\n{settings['clips']} clips, {settings['mean']:.0f} tokens (standard deviation {settings['std']:.0f}), "
        f"{settings['batch_size']} clips per rank, {EPOCHS} epochs.\n"
    )
