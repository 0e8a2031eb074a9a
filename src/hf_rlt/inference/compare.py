# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Dense and RLT, the same weights, on somebody's own clips, which need no labels: what it saves, and what it changes."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ..errors import HfRltError
from ..jobs.worker_pool import Failure, call_safely
from ..tokens.count_many import problem_of, written_name
from .measure import analytic_flops, peak_bytes, timed
from .runner import score_kind

DENSE, RLT = "dense", "rlt"


@dataclass(frozen=True)
class ClipComparison:
    """What dense and RLT say about one clip.

    Attributes:
        video: its name.
        tokens_computed, tokens: with RLT, and dense.
        dense, rlt: the likeliest class of each.
        dense_score, rlt_score: their probabilities.
        change: largest change of a class's probability.
        changed_class: the class whose probability changes most.
    """

    video: str
    tokens_computed: int
    tokens: int
    dense: str
    dense_score: float
    rlt: str
    rlt_score: float
    change: float
    changed_class: str

    @property
    def agrees(self) -> bool:
        """Whether the likeliest class is the same."""
        return self.dense == self.rlt


@dataclass
class Comparison:
    """Dense and RLT on some clips.

    Attributes:
        rule: what RLT drops, in words.
        clips: one for each that could be read.
        errors: why the others could not, by name.
        seconds: of the forward passes of all clips, by method.
        flops: floating-point operations of all clips, by method.
        peak_bytes: memory that the largest forward pass takes beyond the weights, by method.
    """

    rule: str
    clips: list[ClipComparison] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((DENSE, RLT), 0.0))
    flops: dict[str, int] = field(default_factory=lambda: dict.fromkeys((DENSE, RLT), 0))
    peak_bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys((DENSE, RLT), 0))

    @property
    def share(self) -> float:
        """Share of the tokens that RLT computes."""
        return sum(clip.tokens_computed for clip in self.clips) / sum(clip.tokens for clip in self.clips)

    @property
    def agreement(self) -> float:
        """Share of the clips whose likeliest class is the same."""
        return sum(clip.agrees for clip in self.clips) / len(self.clips)

    @property
    def changed(self) -> list[ClipComparison]:
        """The clips whose likeliest class is another with RLT, the largest change first."""
        return sorted((clip for clip in self.clips if not clip.agrees), key=lambda clip: -clip.change)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        figures = {"tokens_computed": self.share, "agreement": self.agreement}
        figures["largest_change"] = max(clip.change for clip in self.clips)
        figures["expected_speed_up"] = self.flops[DENSE] / self.flops[RLT]
        figures["speed_up"] = self.seconds[DENSE] / self.seconds[RLT]
        clips = [{**asdict(clip), "agrees": clip.agrees} for clip in self.clips]
        return {**figures, **asdict(self), "clips": clips}


def compare(
    videos: Iterable[str],
    network: Any,
    processor: Any,
    batch_size: int = 4,
    on_progress: Callable[[bool], None] = lambda bad: None,
) -> Comparison:
    """Compute each video's clip densely and with RLT, and compare answers, time, operations and memory.

    The clips of a batch are decoded first; then both methods compute it in turn, the other one first each time.

    Args:
        videos: paths or addresses.
        network: a classifier, as `hf_rlt.inference.loading.load` returns it, on the device.
        processor: of the model; its rule is compared.
        batch_size: clips computed at once.
        on_progress: called with whether a video could not be read, for each.

    Raises:
        HfRltError: if the model is no classifier, or no video can be read.
    """
    if network.base_model is network:
        raise HfRltError("Expected a classifier, received a model without a trained head.")
    network.eval()
    found, rest, number = Comparison(processor.run_rule.describe()), iter(videos), 0
    while names := list(islice(rest, batch_size)):
        inputs = _decoded(names, processor, found)
        if inputs:
            pixels, runs = (
                torch.cat([each[key] for each in inputs.values()]) for key in ("pixel_values", "run_lengths")
            )
            order = (DENSE, RLT) if number % 2 == 0 else (RLT, DENSE)
            logits = _measured(network, pixels.to(network.device, network.dtype), runs, order, found, first=number == 0)
            found.clips += _compared(list(inputs), logits, runs, network.config)
            number += 1
        for name in names:
            on_progress(written_name(name) in found.errors)
    if not found.clips:
        raise HfRltError(f"Expected a video that can be read, received {len(found.errors)} that cannot.")
    return found


def _decoded(names: Sequence[str], processor: Any, found: Comparison) -> dict[str, Any]:
    """Return the inputs of each video that can be read."""
    with ThreadPoolExecutor(len(names)) as threads:
        read = partial(call_safely, partial(processor, return_tensors="pt"))
        decoded = dict(zip(names, threads.map(read, names), strict=True))
    for name, result in decoded.items():
        if isinstance(result, Failure):
            found.errors[written_name(name)] = problem_of(result, name)
    return {name: result for name, result in decoded.items() if not isinstance(result, Failure)}


@torch.inference_mode()
def _measured(
    network: Any, pixels: Tensor, runs: Tensor, order: Sequence[str], found: Comparison, first: bool
) -> dict[str, Tensor]:
    """Compute a batch with both methods; return their logits, `(B, K)` float32."""
    lengths = {DENSE: torch.ones_like(runs), RLT: runs}
    calls = {method: partial(network, pixels, run_lengths=lengths[method].to(pixels.device)) for method in order}
    logits = {}
    for method, call in calls.items():
        if first:  # a warm-up, too
            found.peak_bytes[method] = peak_bytes(call, pixels.device)
        seconds, outputs = timed(call)
        logits[method] = outputs.logits.float().cpu()
        found.seconds[method] += seconds
        counts = (lengths[method] > 0).sum(1).tolist()
        found.flops[method] += sum(analytic_flops(network.config, count) for count in counts)
    return logits


def _compared(names: list[str], logits: dict[str, Tensor], runs: Tensor, config: Any) -> list[ClipComparison]:
    turn = {"softmax": lambda x: x.softmax(-1), "sigmoid": torch.sigmoid, "none": lambda x: x}[score_kind(config)]
    dense, rlt = turn(logits[DENSE]), turn(logits[RLT])
    change, where = (dense - rlt).abs().max(1)
    rows = []
    for number, name in enumerate(names):
        best = {method: int(scores[number].argmax()) for method, scores in ((DENSE, dense), (RLT, rlt))}
        row = ClipComparison(
            video=written_name(name),
            tokens_computed=int((runs[number] > 0).sum()),
            tokens=runs.shape[1],
            dense=config.id2label[best[DENSE]],
            dense_score=round(float(dense[number, best[DENSE]]), 6),
            rlt=config.id2label[best[RLT]],
            rlt_score=round(float(rlt[number, best[RLT]]), 6),
            change=round(float(change[number]), 6),
            changed_class=config.id2label[int(where[number])],
        )
        rows.append(row)
    return rows
