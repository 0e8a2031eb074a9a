# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the RLT-VideoMAE models share: how they are initialised, loaded and saved."""

from typing import ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.models.videomae.modeling_videomae import VideoMAEPreTrainedModel

from .attention_rlt_videomae import RLTVideoMAESelfAttention
from .configuration_rlt_videomae import RLTVideoMAEConfig
from .layers_rlt_videomae import RLTVideoMAELayer, RLTVideoMAERunLengthEmbedding
from .pretrained_rlt import RLTPreTrainedMixin


def read_old_keys(class_name: str) -> None:
    """Let a class read the keys of published checkpoints, whose q_bias and v_bias would be lost silently."""
    mapping = get_checkpoint_conversion_mapping("videomae")
    register_checkpoint_conversion_mapping(class_name, mapping, overwrite=True)


class RLTVideoMAEPreTrainedModel(RLTPreTrainedMixin, VideoMAEPreTrainedModel):
    """Weights, loading and saving. Parameter names are VideoMAE's."""

    config: RLTVideoMAEConfig
    config_class = RLTVideoMAEConfig
    auto_classes: ClassVar[dict[str, str]] = {
        "AutoModel": "RLTVideoMAEModel",
        "AutoModelForVideoClassification": "RLTVideoMAEForVideoClassification",
    }
    _no_split_modules = ["RLTVideoMAEEmbeddings", "RLTVideoMAELayer"]  # noqa: RUF012
    _can_record_outputs = {"hidden_states": RLTVideoMAELayer, "attentions": RLTVideoMAESelfAttention}  # noqa: RUF012
    _keys_to_ignore_on_load_missing = [r"run_length_embeddings"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, RLTVideoMAERunLengthEmbedding):
            init.zeros_(module.weight)
        else:
            super()._init_weights(module)
