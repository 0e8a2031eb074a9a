# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The model and processor that a fine-tuning starts from."""

import logging
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from ..errors import HfRltError
from ..families import Family, family_of
from ..models.run_rule import check_effect, rule_of, rule_settings
from .arguments import ModelArguments
from .lora import add_lora

logger = logging.getLogger("finetune")

BASELINES = {"tome": "tome_r", "by_difference": "num_tokens"}  # that can be trained, and the option that each needs
TRAINABLE = ("all", "head")


def load_model(args: ModelArguments, names: list[str], clip_frames: int = 32) -> tuple[Any, Any]:
    """Load a model, or make a small one, and a processor that fits it; `names` are the classes.

    Clips of a small one span `clip_frames` frames of the video, unless `args` say otherwise.

    Raises:
        HfRltError, OSError: for settings out of range, a damaged model, or one of a family that is not known.
    """
    if args.train_only not in TRAINABLE:
        raise HfRltError(f"--train_only: expected one of {', '.join(TRAINABLE)}, received {args.train_only!r}.")
    if args.lora_r < 0 or (args.lora_r and (args.train_only == "head" or not args.model_name_or_path)):
        wanted = "a rank from 1 on, with --model_name_or_path and without --train_only head"
        raise HfRltError(f"--lora_r: expected {wanted}, received {args.lora_r}.")
    path = args.model_name_or_path
    changes = _given(args, "length_embedding", "proportional_attention")
    changes |= _given(args, "num_frames") | args.rule_changes | {"drop_path_rate": args.drop_path_rate}
    changes |= {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    changes |= {"r": args.tome_r} if args.tome_r else {}
    family = _family(args)
    try:
        if path:
            model, new_head = _from_checkpoint(family, path, changes)
        else:
            model, new_head = family.classifier(family.config(**{**family.config.small_model, **changes})), True
            check_effect(changes, rule_of(model.config))
    except (StrictDataclassError, SafetensorError) as error:
        raise HfRltError(str(error)) from error
    if new_head:
        with torch.no_grad():
            model.classifier.weight.mul_(args.head_init_scale)
    if args.train_only == "head":
        model.base_model.requires_grad_(False)
    if args.lora_r:
        add_lora(model, args.lora_r)
    return model, _processor(family, args, model.config, clip_frames)


def _family(args: ModelArguments) -> Family:
    """Return the family to train: a baseline if one is asked for, else that of the model to start from."""
    path, method = args.model_name_or_path, args.method or ("tome" if args.tome_r else None)
    if path and args.model_type:
        raise HfRltError(f"--model_type is for a model from scratch: leave out that, or --model_name_or_path {path}.")
    model_type = AutoConfig.from_pretrained(path).model_type if path else args.model_type or "rlt_videomae"
    if method is None:
        return family_of(model_type, path or "--model_type")
    if method not in BASELINES:
        raise HfRltError(f"--method: expected one of {', '.join(BASELINES)}, received {method!r}.")
    if not getattr(args, BASELINES[method]):
        raise HfRltError(f"--method {method} needs --{BASELINES[method]}: add it.")
    if args.tome_r and method != "tome":
        raise HfRltError(f"--tome_r is for ToMe: leave out that, or --method {method}.")
    return family_of(f"{method}_{model_type.split('_')[-1]}", method)


def _given(args: ModelArguments, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _from_checkpoint(family: Family, path: str, changes: dict[str, Any]) -> tuple[Any, bool]:
    """Load all weights that fit; return the model, and whether its classifier is new."""
    config = family.config.from_pretrained(path, **changes)
    options = {"config": config, "ignore_mismatched_sizes": True, "output_loading_info": True}
    model, info = family.classifier.from_pretrained(path, **options)
    if any(".lora_A." in key for key in info["unexpected_keys"]):
        raise HfRltError(
            f"{path}: a checkpoint of a training with --lora_r, not merged: start from the folder above it."
        )
    new_head = "classifier.weight" in {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    if new_head and not getattr(config, "use_mean_pooling", True):
        # The published pre-trained checkpoints say so of their own task. For a new classifier it would mean the token
        # of the first corner; VideoMAE's and RLT's authors fine-tune on the mean.
        logger.info(f"{path} pools nothing: the new classifier gets the mean of the tokens.")
        config.use_mean_pooling = True
        model, _ = family.classifier.from_pretrained(path, **options)
    return model, new_head


def _processor(family: Family, args: ModelArguments, config: Any, clip_frames: int) -> Any:
    settings = _given(args, "frame_stride", "sampling")
    settings |= {name: getattr(config, name) for name in ("num_frames", "tubelet_size", "patch_size")}
    settings |= rule_settings(config.run_rule)  # not all of a baseline are for pixels
    if args.model_name_or_path:
        return family.processor.from_pretrained(args.model_name_or_path, **settings)
    _, _, height, width = config.clip_shape  # whole frames: whatever the family's processor would cut from its borders
    size = {"size": {"shortest_edge": min(height, width)}, "crop_size": {"height": height, "width": width}}
    return family.processor(**{**size, "frame_stride": max(clip_frames // config.num_frames, 1), **settings})
