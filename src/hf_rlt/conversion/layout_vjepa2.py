# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Original checkpoints of V-JEPA 2: an encoder with its predictor, and attentive probes."""

from dataclasses import replace
from typing import Any, ClassVar

import torch

from ..errors import HfRltError
from .key_names import NamedWeights
from .layout import Layout
from .source import ConversionSettings, no_pooling

PREDICTOR_HEADS = {384: 12}  # by its width
PROBE_HEADS = 16  # of all published probes
PROBE_NOTES = [
    "The probe's norms have eps 1e-6, as in transformers' V-JEPA 2; the original's is 1e-5.",
    "The probe reads the tokens of the last layer. Meta's for Diving48 and Jester read those of four layers: with one of "
    "those, scores differ from Meta's.",
]


class VJEPA2Layout(Layout):
    """Meta's checkpoints of V-JEPA 2.

    Source: facebookresearch/vjepa2, commit c2963a4: hubconf.py with src/hub/backbones.py, src/models (vision_transformer.py,
    predictor.py, attentive_pooler.py, utils/modules.py) and configs/eval. Norms have eps 1e-6, ImageNet's mean and standard
    deviation normalise. Departure: the norms of a probe have torch's 1e-5 there, 1e-6 in transformers' V-JEPA 2 and here.
    """

    kind = "rlt_vjepa2"
    origins = "V-JEPA 2"
    renamed: ClassVar[dict[str, str]] = {
        "vjepa2.": "",
        "encoder.embeddings.patch_embeddings": "patch_embed",
        "predictor.embeddings.predictor_embeddings": "predictor_embed",
        "predictor.embeddings.mask_tokens": "mask_tokens",
        "predictor.layernorm": "predictor_norm",
        "predictor.proj.": "predictor_proj.",
        "predictor.layer.": "predictor_blocks.",
        "encoder.layernorm": "norm",
        "encoder.layer.": "blocks.",
        "attention.": "attn.",
        "pooler.cross_attention_layer.": "pooler.cross_attention_block.",
        "pooler.self_attention_layers.": "pooler.blocks.",
        ".layer_norm": ".norm",
        "cross_attn.q_proj": "xattn.q",
        "cross_attn.k_proj": "xattn.key",
        "cross_attn.v_proj": "xattn.value",
        "self_attn.q_proj": "attn.query",
        "self_attn.k_proj": "attn.key",
        "self_attn.v_proj": "attn.value",
        "self_attn.out_proj": "attn.proj",
        "classifier.": "linear.",
    }
    # ViT-L, H and g (vit_giant_xformers, whose blocks have 22 heads).
    heads: ClassVar[dict[int, int]] = {1024: 16, 1280: 16, 1408: 22}
    clip: ClassVar[dict[str, int]] = {"num_frames": 64, "image_size": 256}
    head = "linear."
    untraced = "rotary positions leave no trace in the weights (vitg-384 has image_size 384)"

    def knows(self, names: set[str]) -> bool:
        """Return whether there is a predictor."""
        return any(name.startswith("predictor_blocks.") for name in names)

    def tidy(self, named: NamedWeights) -> NamedWeights:
        """Set aside tables of positions, which Meta's own loader ignores, and make one weight of all mask tokens."""
        weights = dict(named.weights)
        tables = [name for name in ("pos_embed", "predictor_pos_embed") if weights.pop(name, None) is not None]
        notes = [f"Dropped {', '.join(tables)}: V-JEPA 2's positions are rotary."] * bool(tables)
        masks = [f"mask_tokens.{i}" for i in range(named.count("mask_tokens"))]
        if masks and len({weights[name].shape if name in weights else None for name in masks}) == 1:
            weights["mask_tokens"] = torch.stack([weights.pop(name) for name in masks])
        return replace(named, weights=weights, notes=[*named.notes, *notes])

    def fields(self, named: NamedWeights, settings: ConversionSettings) -> dict[str, Any]:
        """Return the fields of MLPs, predictor and pooler."""
        if settings.pooling:
            raise no_pooling(named.path, self.family)
        hidden, width = named.size("blocks.0.mlp.fc1.weight", 2)
        pred_width = named.size("predictor_embed.weight", 2)[0]
        if pred_width not in PREDICTOR_HEADS:
            raise HfRltError(
                f"{named.path}: its predictor has width {pred_width}, which no published V-JEPA 2 has (384): the number of "
                "its attention heads is not known."
            )
        return {
            "mlp_ratio": hidden / width,
            "qkv_bias": named.has(r"blocks.*\.attn\.qkv\.bias"),
            "pred_hidden_size": pred_width,
            "pred_num_attention_heads": PREDICTOR_HEADS[pred_width],
            "pred_num_hidden_layers": named.count("predictor_blocks"),
            "pred_mlp_ratio": named.size("predictor_blocks.0.mlp.fc1.weight", 2)[0] / pred_width,
            "pred_num_mask_tokens": named.size("mask_tokens", 4)[0],
            **(self._pooler(named, settings) if named.classifies else {}),
        }

    def _pooler(self, named: NamedWeights, settings: ConversionSettings) -> dict[str, Any]:
        width = named.size("norm.weight", 1)[0]
        heads = settings.num_attention_heads or self.heads.get(width)
        if heads != PROBE_HEADS:
            raise HfRltError(
                f"{settings.probe}: refused, Meta's probes have {PROBE_HEADS} attention heads, and the pooler of "
                f"transformers' V-JEPA 2 and of ours has as many as the encoder, {heads}, so that scores would be others: "
                "leave --probe out."
            )
        return {"num_pooler_layers": named.count("pooler.blocks")}

    def describe(self, named: NamedWeights) -> str:
        """Say what it is."""
        return f"original V-JEPA 2 checkpoint, encoder with its predictor{' and a probe' if named.classifies else ''}"

    def remarks(self, named: NamedWeights) -> list[str]:
        """Return notes on what may not carry over from a probe."""
        return PROBE_NOTES if named.classifies else []
