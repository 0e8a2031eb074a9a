# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""LoRA: train small matrices beside the encoder's attention weights, and merge them at the end."""

from typing import Any

from transformers.trainer_utils import HubStrategy

from ..errors import HfRltError
from .parsing import library_refusals

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
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
    with library_refusals():  # of a family without such projections
        LoraModel(model, settings, "default")  # changes the model
    for name, parameter in model.named_parameters():
        if name in head or "run_length_embeddings" in name:  # zero in a checkpoint that has none
            parameter.requires_grad_(True)


def check_lora(trainer: Any) -> None:
    """Raise HfRltError for a training that LoRA cannot take part in; push to the Hub what is merged only."""
    args = trainer.args
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise HfRltError("--lora_r: expected whole weights to merge into; FSDP and DeepSpeed may split them: use DDP.")
    if args.gradient_checkpointing and (args.gradient_checkpointing_kwargs or {}).get("use_reentrant"):
        raise HfRltError("--lora_r: expected gradients behind a frozen layer, which use_reentrant loses: leave it out.")
    args.hub_strategy = HubStrategy.END


def merge_lora(model: Any) -> None:
    """Add LoRA's matrices to the weights that they stand beside: the model is then one of its family again."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    model.requires_grad_(True)
