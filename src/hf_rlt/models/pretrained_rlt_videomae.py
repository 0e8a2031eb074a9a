# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the RLT-VideoMAE models share: how they are initialised, loaded and saved."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.models.videomae.modeling_videomae import VideoMAEPreTrainedModel

from .attention_rlt_videomae import RLTVideoMAESelfAttention
from .configuration_rlt_videomae import RLTVideoMAEConfig
from .layers_rlt_videomae import RLTVideoMAELayer, RLTVideoMAERunLengthEmbedding

AUTO_CLASSES = {"AutoModel": "RLTVideoMAEModel", "AutoModelForVideoClassification": "RLTVideoMAEForVideoClassification"}


def read_old_keys(class_name: str) -> None:
    """Let a class read the keys of published checkpoints, whose q_bias and v_bias would be lost silently."""
    mapping = get_checkpoint_conversion_mapping("videomae")
    register_checkpoint_conversion_mapping(class_name, mapping, overwrite=True)


class RLTVideoMAEPreTrainedModel(VideoMAEPreTrainedModel):
    """Weights, loading and saving. Parameter names are VideoMAE's."""

    config: RLTVideoMAEConfig
    config_class = RLTVideoMAEConfig
    _no_split_modules = ["RLTVideoMAEEmbeddings", "RLTVideoMAELayer"]  # noqa: RUF012
    _can_record_outputs = {"hidden_states": RLTVideoMAELayer, "attentions": RLTVideoMAESelfAttention}  # noqa: RUF012
    _keys_to_ignore_on_load_missing = [r"run_length_embeddings"]  # noqa: RUF012

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        cls._auto_class = None  # the code that a folder carries is this file's, not that of a class derived from it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, RLTVideoMAERunLengthEmbedding):
            init.zeros_(module.weight)
        else:
            super()._init_weights(module)

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Write config and weights under VideoMAE's current key names, and the code if `hf_rlt.register` asked for it."""
        kwargs.setdefault("save_original_format", False)
        # All of them: transformers itself names the saved class only, and keeps names of the folder that was loaded.
        module = self.__module__.split(".")[-1]
        self.config.auto_map = {name: f"{module}.{of}" for name, of in AUTO_CLASSES.items()} if self._auto_class else {}
        super().save_pretrained(save_directory, **kwargs)
