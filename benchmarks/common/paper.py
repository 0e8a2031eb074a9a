# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The paper's numbers, to stand beside ours. None: no source at hand confirms the number, so it stays empty.

Accuracies in percent, training times in hours on 8 GPUs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAPER = "Choudhury et al., Don't Look Twice, NeurIPS 2024, arXiv 2411.05222"
CODE = "github.com/rccchoudhury/rlt, commit 69ec8b4, README"


@dataclass(frozen=True)
class FineTuning:
    """A row of Table 1: one model fine-tuned by one method on one data set."""

    model: str
    method: str  # dense, ToMe, random or RLT
    dataset: str  # K400 or SSv2
    accuracy: float
    hours: float
    speedup: float
    source: str = f"{PAPER}, Table 1"


@dataclass(frozen=True)
class Inference:
    """A row of inference without training on a data set: top-1, and what RLT changes of it by two sources."""

    model: str
    method: str  # dense, ToMe, STA, random or RLT
    dataset: str
    accuracy: float | None = None
    change: float | None = None  # points of accuracy against dense, in the paper's table
    gflops: float | None = None
    clips_per_second: float | None = None
    source: str = f"top-1: {CODE}; change: {PAPER}"


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, in its words' sense, about `subject`."""

    subject: str
    value: str
    source: str = PAPER


def _fine_tuning() -> tuple[FineTuning, ...]:
    table = {
        ("ViT-B", "dense"): ((80.1, 14.4, 1.0), (70.3, 10.1, 1.0)),
        ("ViT-B", "ToMe"): ((80.0, 13.4, 1.1), (69.7, 9.4, 1.1)),
        ("ViT-B", "random"): ((79.2, 10.2, 1.4), (69.3, 7.2, 1.4)),
        ("ViT-B", "RLT"): ((80.1, 10.2, 1.4), (70.2, 7.2, 1.4)),
        ("ViT-L", "dense"): ((84.8, 21.6, 1.0), (74.3, 15.2, 1.0)),
        ("ViT-L", "ToMe"): ((84.4, 18.3, 1.2), (74.3, 12.9, 1.2)),
        ("ViT-L", "random"): ((83.1, 15.4, 1.4), (74.3, 10.8, 1.4)),
        ("ViT-L", "RLT"): ((84.7, 15.4, 1.4), (74.4, 10.8, 1.4)),
    }
    return tuple(
        FineTuning(*key, dataset, *numbers)
        for key, both in table.items()
        for dataset, numbers in zip(("K400", "SSv2"), both, strict=True)
    )


FINE_TUNING = _fine_tuning()
RANDOM_RATIO = 0.7  # share of the tokens that Table 1's random masking keeps
TOME_R = 64  # tokens that Table 1's ToMe merges in each block of ViT-B

INFERENCE = (
    Inference("ViT-B", "dense", "K400", accuracy=80.9),
    Inference("ViT-B", "RLT", "K400", accuracy=80.9, change=0.1),
    Inference("ViT-L", "dense", "K400", accuracy=84.7),
    Inference("ViT-L", "RLT", "K400", accuracy=84.7, change=-0.2),
    Inference("ViT-H", "dense", "K400", accuracy=86.2),
    Inference("ViT-H", "RLT", "K400", accuracy=86.2, change=-0.5),
    Inference("ViT-B", "RLT", "SSv2", change=-1.0),
    Inference("ViT-L", "RLT", "SSv2", change=-0.2),
    *(Inference(model, name, "K400") for model in ("ViT-B", "ViT-L", "ViT-H") for name in ("ToMe", "STA", "random")),
)

# Which of the two is with length encoding: the authors contradict themselves.
RLT_AND_RANDOM = (84.2, 83.3)
RLT_AND_RANDOM_NOTE = (
    "For RLT + random on ViT-L, K400, the paper's ablation has 84.2 % and 83.3 %, with and without length encoding; the "
    "authors themselves dispute which is which, so both stand in both rows, and a benefit of the encoding is unproven."
)

TOKENS = (
    Claim("K400, SSv2, UCF101", "about 30 % fewer"),
    Claim("long or high-FPS video", "up to 80 % fewer"),
)
HEADLINES = (
    Claim("throughput of inference", "+35 % at -0.1 % accuracy"),
    Claim("training at 30 FPS", "more than 2 x faster"),
    Claim("thresholds, swept from 0 to 0.2", "accuracy falls above 0.1"),
    *TOKENS,
)


def fine_tuning(model: str, method: str, dataset: str) -> FineTuning | None:
    """Return the row of Table 1; None where it has none."""
    wanted = (model, method, dataset)
    return next((row for row in FINE_TUNING if (row.model, row.method, row.dataset) == wanted), None)


def fine_tuning_cell(variant: str, model: str, dataset: str) -> str:
    """Return what the paper has for a variant of the fine-tuning benchmark; "" where nothing is confirmed."""
    if variant in ("RLT+random", "RLT+random+length") and (model, dataset) == ("ViT-L", "K400"):
        return " or ".join(f"{value:.1f} %" for value in RLT_AND_RANDOM) + ", disputed"
    row = fine_tuning(model, variant, dataset)
    if row is None:
        return ""
    kept = f" (keeps {100 * RANDOM_RATIO:.0f} %)" if variant == "random" else ""
    return f"{row.accuracy:.1f} %, {row.hours:.1f} h, {row.speedup:.1f} x{kept}"


def inference_row(row: Inference) -> Mapping[str, Any]:
    """Return the row for `table`; cells that no source confirms are None."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
