# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches of equal work."""

import pytest
import torch

from hf_rlt import RLTVideoMAEConfig
from hf_rlt.data.token_samplers import TokenRebalanceSampler, quadratic_cost, waited_share
from hf_rlt.inference.measure import analytic_flops


def test_share_of_waiting_is_that_of_the_definition():
    assert waited_share(torch.tensor([[10.0, 30.0], [20.0, 10.0]])) == pytest.approx(1 - 70 / 100)
    assert waited_share(torch.tensor([[5.0, 7.0], [5.0, 7.0]])) == 0


@pytest.mark.parametrize("accumulation", [1, 2])
def test_ranks_get_equal_work_and_every_clip_once(accumulation):
    counts = torch.randint(64, 512, (330,), generator=torch.Generator().manual_seed(0))
    counts[7:30:2] = 0  # could not be read
    batches, tokens = [], []
    for rank in (0, 1):
        sampler = TokenRebalanceSampler(counts.tolist(), 16, 2, rank, accumulation, quadratic_cost(768, 3072), seed=3)
        mine = list(sampler)
        assert len(mine) == len(sampler)
        batches += mine
        tokens.append([int(counts[batch].sum()) for batch in mine])
    assert sorted(index for batch in batches for index in batch) == list(range(330))
    steps = torch.tensor(tokens).view(2, -1, accumulation).sum(-1).double()  # the last one is not full
    plain = counts[torch.randperm(320, generator=torch.Generator().manual_seed(1))].view(2, 10, 16).sum(-1)
    assert waited_share(steps[:, :-1]) < 0.01 < 0.03 < waited_share(plain.double())


def test_cost_of_attention_is_that_of_the_analytic_count():
    config = RLTVideoMAEConfig()
    few, many = (analytic_flops(config, n) - analytic_flops(config, 0) for n in (100, 1568))
    embedding = 2 * (3 * 2 * 256) * 768  # operations per token that the cost leaves out
    few, many = few - 100 * embedding, many - 1568 * embedding
    cost = [n + quadratic_cost(768, 3072) * n**2 for n in (100, 1568)]
    assert many / few == pytest.approx(cost[1] / cost[0], rel=1e-9)
