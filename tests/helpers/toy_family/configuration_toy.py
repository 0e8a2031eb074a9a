# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Configuration of a tiny video transformer."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hf_rlt.models.rlt_config import RLTConfigMixin


@strict
class ToyConfig(RLTConfigMixin, PreTrainedConfig):
    """A tiny video transformer with RLT."""

    model_type = "toy_rlt"
    network: ClassVar[str] = "A toy"

    threshold: float | int | None = 0.1
    num_frames: int = 8
    num_channels: int = 3
    image_size: int = 32
    tubelet_size: int = 2
    patch_size: int = 8
    hidden_size: int = 24
    intermediate_size: int = 48
    num_hidden_layers: int = 2
    num_attention_heads: int = 2
