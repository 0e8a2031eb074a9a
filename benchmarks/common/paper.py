# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The paper's numbers, to stand beside ours. What no source at hand confirms is left out.

Accuracies in percent, training times in hours on 8 GPUs, changes in points of accuracy against dense.
"""

PAPER = "Choudhury et al., Don't Look Twice, NeurIPS 2024, arXiv 2411.05222"
CODE = "github.com/rccchoudhury/rlt, commit 69ec8b4, README"

# Table 1: (model, method) -> data set -> accuracy, hours, speed-up.
FINE_TUNING = {
    ("ViT-B", "dense"): {"K400": (80.1, 14.4, 1.0), "SSv2": (70.3, 10.1, 1.0)},
    ("ViT-B", "ToMe"): {"K400": (80.0, 13.4, 1.1), "SSv2": (69.7, 9.4, 1.1)},
    ("ViT-B", "random"): {"K400": (79.2, 10.2, 1.4), "SSv2": (69.3, 7.2, 1.4)},
    ("ViT-B", "RLT"): {"K400": (80.1, 10.2, 1.4), "SSv2": (70.2, 7.2, 1.4)},
    ("ViT-L", "dense"): {"K400": (84.8, 21.6, 1.0), "SSv2": (74.3, 15.2, 1.0)},
    ("ViT-L", "ToMe"): {"K400": (84.4, 18.3, 1.2), "SSv2": (74.3, 12.9, 1.2)},
    ("ViT-L", "random"): {"K400": (83.1, 15.4, 1.4), "SSv2": (74.3, 10.8, 1.4)},
    ("ViT-L", "RLT"): {"K400": (84.7, 15.4, 1.4), "SSv2": (74.4, 10.8, 1.4)},
}

# Inference without training for it: (model, method, data set) -> accuracy (CODE), change (PAPER).
INFERENCE: dict[tuple[str, str, str], dict[str, float]] = {
    ("ViT-B", "dense", "K400"): {"accuracy": 80.9},
    ("ViT-B", "RLT", "K400"): {"accuracy": 80.9, "change": 0.1},
    ("ViT-L", "dense", "K400"): {"accuracy": 84.7},
    ("ViT-L", "RLT", "K400"): {"accuracy": 84.7, "change": -0.2},
    ("ViT-H", "dense", "K400"): {"accuracy": 86.2},
    ("ViT-H", "RLT", "K400"): {"accuracy": 86.2, "change": -0.5},
    ("ViT-B", "RLT", "SSv2"): {"change": -1.0},
    ("ViT-L", "RLT", "SSv2"): {"change": -0.2},
}
INFERENCE_SOURCE = f"top-1: {CODE}; change: {PAPER}"

# Which of the two is with length encoding: the authors contradict themselves.
RLT_AND_RANDOM_NOTE = (
    "For RLT + random on ViT-L, K400, the paper's ablation has 84.2 % and 83.3 %, with and without length encoding; the "
    "authors themselves dispute which is which, so both stand in both rows, and a benefit of the encoding is unproven."
)

TOKENS = {"K400, SSv2, UCF101": "about 30 % fewer", "long or high-FPS video": "up to 80 % fewer"}


def fine_tuning_cell(variant: str, model: str, dataset: str) -> str:
    """Return what the paper has for a variant of the fine-tuning benchmark; "" where nothing is confirmed."""
    if variant in ("RLT+random", "RLT+random+length") and (model, dataset) == ("ViT-L", "K400"):
        return "84.2 % or 83.3 %, disputed"
    if (model, variant) not in FINE_TUNING:
        return ""
    accuracy, hours, speedup = FINE_TUNING[model, variant][dataset]
    kept = " (keeps 70 %)" if variant == "random" else ""
    return f"{accuracy:.1f} %, {hours:.1f} h, {speedup:.1f} x{kept}"
