# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What RLT-V-JEPA 2's model and classifier share: weights, loading and saving."""

from typing import ClassVar

from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2PreTrainedModel
from transformers.utils.output_capturing import OutputRecorder

from .attention_rlt_vjepa2 import RLTVJEPA2Attention
from .configuration_rlt_vjepa2 import RLTVJEPA2Config
from .layers_rlt_vjepa2 import RLTVJEPA2Layer
from .pretrained_rlt import RLTPreTrainedMixin


class RLTVJEPA2PreTrainedModel(RLTPreTrainedMixin, VJEPA2PreTrainedModel):
    """Weights, loading and saving. Parameter names are V-JEPA 2's."""

    config: RLTVJEPA2Config
    config_class = RLTVJEPA2Config
    auto_classes: ClassVar[dict[str, str]] = {
        "AutoModel": "RLTVJEPA2Model",
        "AutoModelForVideoClassification": "RLTVJEPA2ForVideoClassification",
    }
    main_input_name = "pixel_values"
    _no_split_modules = [  # noqa: RUF012
        *("RLTVJEPA2Embeddings", "RLTVJEPA2Layer", "RLTVJEPA2PoolerSelfAttentionLayer"),
        *("RLTVJEPA2PoolerCrossAttentionLayer", "VJEPA2Layer", "VJEPA2PredictorEmbeddings"),
    ]
    _supports_flex_attn = True
    _can_record_outputs = {  # noqa: RUF012
        "hidden_states": OutputRecorder(RLTVJEPA2Layer, layer_name="encoder.layer"),
        "attentions": OutputRecorder(RLTVJEPA2Attention, index=1, layer_name="encoder.layer"),
    }
