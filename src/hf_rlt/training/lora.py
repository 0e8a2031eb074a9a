# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""LoRA: train small matrices beside the encoder's attention weights, and merge them at the end."""

from typing import Any

from ..errors import HfRltError

TARGETS = r".*encoder\..*\.(query|value)"  # not those of V-JEPA 2's predictor


def add_lora(model: Any, rank: int) -> None:
    """Freeze the encoder, and put matrices of this rank beside its query and value projections; the head stays trainable.

    They are layers of the model itself, so that checkpoints and restarts need nothing special.

    Source: arXiv 2106.09685, sections 4.1 (no change at the start) and 7.1 (which projections). Departure: alpha is twice
    the rank.
    """
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError as error:
        raise HfRltError("--lora_r needs peft: `pip install peft`.") from error
    head = {name for name, _ in model.named_parameters()} - {
        f"{model.base_model_prefix}.{name}" for name, _ in model.base_model.named_parameters()
    }
    LoraModel(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS), "default")  # changes the model
    for name, parameter in model.named_parameters():
        if name in head:
            parameter.requires_grad_(True)


def merge_lora(model: Any) -> None:
    """Add LoRA's matrices to the weights that they stand beside: the model is then one of its family again."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    model.requires_grad_(True)
