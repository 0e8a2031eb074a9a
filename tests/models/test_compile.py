# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`torch.compile`: how often it compiles, and where it breaks. Counts, not seconds."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from helpers.tiny import TINY, TINY_VJEPA2, moving_clips, randomise
from hf_rlt import find_runs
from hf_rlt.families import FAMILIES
from hf_rlt.models.runs import drop_random

BATCHES = 50
# The settings of a family, and its calls of attention in a forward.
SETTINGS = {"rlt_videomae": (TINY, 3), "rlt_vjepa2": (TINY_VJEPA2, 3 + 2 + 1)}
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("family", SETTINGS)]


def make(family, backend="sdpa", **changes):
    config = FAMILIES[family].config(**{**SETTINGS[family][0], **changes})
    config._attn_implementation = backend
    return randomise(FAMILIES[family].classifier(config))


def batches():
    """Yield 50 batches whose clips keep other numbers of tokens each time."""
    generator = torch.Generator().manual_seed(0)
    for seed in range(BATCHES):
        clips = moving_clips(4, seed=seed)
        ratio = 0.3 + 0.7 * torch.rand(1, generator=generator).item()
        torch.manual_seed(seed)
        yield clips, drop_random(find_runs(clips, 0.1, 2, 8), ratio)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_batches_of_any_lengths_share_the_compiled_blocks(family, backend):
    model = make(family, backend)
    counter = CompileCounter()
    compiled = torch.compile(model, dynamic=True, backend=counter)
    shapes, first = set(), 0
    with torch.no_grad():
        for clips, runs in batches():
            logits = compiled(clips, run_lengths=runs).logits
            torch.testing.assert_close(logits, model(clips, run_lengths=runs).logits, atol=5e-6, rtol=0)
            shapes.add(tuple((runs > 0).sum(1).tolist()))
            first = first or counter.frame_count
    assert len(shapes) > 30
    assert counter.frame_count - first <= 2
    # The host reads the lengths, once and before the blocks; nothing else breaks.
    reasons = [reason for reason in counters["graph_break"] if "packed_layout" not in reason]
    assert not reasons


def test_the_blocks_are_one_graph(family):
    model = make(family)
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, dynamic=True, backend=keep)
    clips = moving_clips(4)
    with torch.no_grad():
        compiled(clips, run_lengths=find_runs(clips, 0.1, 2, 8))
    attention = [str(graph.code).count("scaled_dot_product_attention(") for graph in graphs]
    assert sum(attention) == max(attention) == 4 * SETTINGS[family][1]  # one call for each clip in each block


@pytest.mark.parametrize("rule", ["threshold", "anchor", "optimal"])
@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_with_as_many_tokens_in_each_clip_the_whole_model_is_one_graph_compiled_once(family, rule, given):
    model = make(family, rule=rule, num_tokens=0.3)
    counter = CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    tokens = model.config.run_rule.exact_tokens(model.config.grid)
    with torch.no_grad():
        for seed in range(5):
            clips = moving_clips(4, seed=seed)
            runs = model.config.run_rule.find(clips) if given else None
            outputs = compiled(clips, run_lengths=runs)
            assert ((outputs.run_lengths > 0).sum(1) == tokens).all()
            torch.testing.assert_close(outputs.logits, model(clips, run_lengths=runs).logits, atol=5e-6, rtol=0)
        assert counter.frame_count == 1
        with pytest.raises(RuntimeError, match=f"Expected run lengths of {tokens} computed tokens"):
            compiled(clips, run_lengths=torch.ones_like(outputs.run_lengths))


def test_inductor_compiles_a_budget(family):
    model = make(family, num_tokens=0.3)
    compiled = torch.compile(model, fullgraph=True)
    clips = moving_clips(2)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clips).logits, model(clips).logits, atol=5e-6, rtol=0)
