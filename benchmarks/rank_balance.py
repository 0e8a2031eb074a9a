# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Share of compute that ranks spend waiting for the one with the most tokens, by sampler, as a Markdown table.

python benchmarks/rank_balance.py FOLDER [--batch 8] [--frame_stride 4]      # a folder per class

The samplers are those of the training; the tokens are counted once, from the files. Work is taken to go with tokens.
"""

import argparse

import torch
from torch.utils.data import RandomSampler
from transformers.trainer_pt_utils import BatchRebalanceSampler

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import from_folder
from hf_rlt.data.token_samplers import TokenGroupedSampler, TokenRebalanceSampler, quadratic_cost, waited_share
from hf_rlt.tokens import count_tokens

EPOCHS = 5


def dealt(order: list[int], counts: torch.Tensor, ranks: int, batch: int) -> torch.Tensor:
    """Returns `(ranks, steps)` tokens when Accelerate deals out batches of `batch` clips in this order."""
    steps = len(order) // (ranks * batch)
    return counts[order[: steps * ranks * batch]].view(steps, ranks, batch).sum(-1).T.double()


def rebalanced(kind: type, counts: torch.Tensor, ranks: int, batch: int, epoch: int, **options) -> torch.Tensor:
    """Returns `(ranks, steps)` tokens of a sampler that knows its rank."""
    rows = []
    for rank in range(ranks):
        if kind is BatchRebalanceSampler:
            sampler = kind(counts.tolist(), batch * ranks, ranks, 1, rank=rank, drop_last=True)
        else:
            sampler = kind(counts.tolist(), batch, ranks, rank, drop_last=True, **options)
        sampler.set_epoch(epoch)
        rows.append([int(counts[indices].sum()) for indices in sampler])
    return torch.tensor(rows).double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--batch", type=int, default=8, help="clips per rank")
    parser.add_argument("--frame_stride", type=int, default=4)
    parser.add_argument("--side", type=int, default=224, help="of the square crop")
    parser.add_argument("--patch_size", type=int, default=16)
    args = parser.parse_args()
    size = {"height": args.side, "width": args.side}
    processor = RLTVideoProcessor(
        num_frames=16, frame_stride=args.frame_stride, size=size, crop_size=size, patch_size=args.patch_size
    )
    counts = torch.from_numpy(count_tokens(from_folder(args.folder), processor, on_bad_video="skip"))
    quadratic = quadratic_cost(768, 3072)
    print(
        f"{len(counts)} clips, {counts.double().mean():.0f} tokens (standard deviation {counts.double().std():.0f}), ",
        end="",
    )
    print(f"{args.batch} clips per rank, {EPOCHS} epochs\n")
    print(
        "| ranks | random | Trainer's batch_rebalance | batch_rebalance here | group_by_length |\n|---|---|---|---|---|"
    )
    for ranks in (2, 8, 32):
        cells: list[list[float]] = [[], [], [], []]
        for epoch in range(EPOCHS):
            shuffled = list(RandomSampler(counts, generator=torch.Generator().manual_seed(epoch)))
            grouped = TokenGroupedSampler(counts.tolist(), args.batch)
            grouped.set_epoch(epoch)
            work = (
                dealt(shuffled, counts, ranks, args.batch),
                rebalanced(BatchRebalanceSampler, counts, ranks, args.batch, epoch),
                rebalanced(TokenRebalanceSampler, counts, ranks, args.batch, epoch, quadratic=quadratic),
                dealt(list(grouped), counts, ranks, args.batch),
            )
            for cell, tokens in zip(cells, work, strict=True):
                cell.append(waited_share(tokens))
        print(f"| {ranks} | " + " | ".join(f"{sum(cell) / EPOCHS:.1%}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
