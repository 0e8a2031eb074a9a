# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Original checkpoints of VideoMAE, VideoMAEv2 and RLT."""

from dataclasses import replace
from typing import Any, ClassVar

import torch

from ..errors import HfRltError
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.layers_rlt_videomae import sinusoid_table
from .key_names import NamedWeights
from .layout import Layout
from .source import PRETRAINING_ONLY, ConversionSettings, pretraining_note

# VideoMAE's and VideoMAEv2's norms have eps 1e-6; the RLT authors' settings leave torch's default.
ORIGINAL_EPS, RLT_EPS = 1e-6, 1e-5
MAX_SIZE = 4096  # frames, or pixels of a side, that are believed to be those of a training
LENGTH_EMBEDDING_NOTE = (
    "The length embedding may not carry over: the authors' code lists run lengths place by place (h, w, t) while tokens "
    "stand slot by slot (t, h, w), so in training lengths reached other tokens than their own. Here each token gets its own."
)


class VideoMAELayout(Layout):
    """VideoMAE's, VideoMAEv2's and the RLT authors' checkpoints.

    Source: names and shapes from VideoMAE's and VideoMAEv2's modeling_finetune.py, modeling_pretrain.py and
    run_class_finetuning.py, and RLT's vit_helpers.py. All three normalise with ImageNet's mean and standard deviation
    (VideoMAE kinetics.py and ssv2.py, VideoMAEv2 dataset/datasets.py, RLT vit_mae.py), whatever their `_cfg` says.
    Norms have eps 1e-6 in VideoMAE and VideoMAEv2 (vit_*_patch16_224) and torch's 1e-5 in RLT, whose settings name none.
    Departure: fc_norm has 1e-5 in transformers' VideoMAE and here, whatever the configuration says.
    """

    kind = "rlt_videomae"
    origins = "VideoMAE, VideoMAEv2, RLT"
    renamed: ClassVar[dict[str, str]] = {
        "videomae.": "",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.run_length_embeddings.weight": "length_embed",
        "encoder.layer.": "blocks.",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "attention.attention.": "attn.",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        "layernorm": "norm",
        "classifier": "head",
    }
    # ViT-S, B, L, H and g of VideoMAE and VideoMAEv2 (their modeling_finetune.py).
    heads: ClassVar[dict[int, int]] = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
    clip: ClassVar[dict[str, int]] = {"num_frames": 16, "image_size": 224}
    untraced = "fixed positions leave no trace in the weights"

    def knows(self, names: set[str]) -> bool:
        """Return whether plain names may be VideoMAE's: those that no other layout knows."""
        return True

    def tidy(self, named: NamedWeights) -> NamedWeights:
        """Set aside the decoder of pre-training and the table of positions."""
        pretraining = sorted(name for name in named.weights if name.startswith(PRETRAINING_ONLY))
        weights = {name: value for name, value in named.weights.items() if name not in pretraining}
        positions = weights.pop("pos_embed", None)
        return replace(named, weights=weights, pretraining=pretraining, positions=positions)

    def fields(self, named: NamedWeights, settings: ConversionSettings) -> dict[str, Any]:
        """Return the fields of MLP, norms, run lengths and pooling."""
        own = "first" if named.classifies and not named.has(r"fc_norm\.") else "mean"
        if not named.pretrained:
            settings.check_same(named.path, {"pooling": own})
        return {
            "intermediate_size": named.size("blocks.0.mlp.fc1.weight", 2)[0],
            "qkv_bias": named.has(r"blocks.*\.attn\.(q_bias|v_bias|qkv\.bias)"),
            "layer_norm_eps": RLT_EPS if named.is_rlt else ORIGINAL_EPS,
            "length_embedding": "length_embed" in named.weights,
            "use_mean_pooling": (settings.pooling or own) == "mean",
        }

    def told_clip(self, named: NamedWeights, settings: ConversionSettings, tubelet: int, patch: int) -> dict[str, int]:
        """Return `num_frames` and `image_size` as tables and training arguments tell them."""
        frames, segments = named.arguments.get("num_frames"), named.arguments.get("num_segments", 1)
        if isinstance(frames, int) and isinstance(segments, int):
            frames *= segments
        found = {"num_frames": frames, "image_size": named.arguments.get("input_size")}
        told = {name: value for name, value in found.items() if isinstance(value, int) and 0 < value <= MAX_SIZE}
        side = settings.image_size or told.get("image_size") or self.clip["image_size"]
        per_frame = (side // patch) ** 2
        if "length_embed" in named.weights:
            told["num_frames"] = named.size("length_embed", 3)[1] * tubelet
        elif named.positions is not None and named.positions.ndim == 3 and per_frame:
            told["num_frames"] = max(named.positions.shape[1] // per_frame, 1) * tubelet
        return told

    def check_positions(self, named: NamedWeights, config: RLTVideoMAEConfig) -> None:
        """Raise HfRltError unless the checkpoint's positions, if it holds any, are the fixed table to rounding."""
        table = named.positions
        if table is None:
            return
        tubelets, rows, columns = config.grid
        expected = (1, tubelets * rows * columns, config.hidden_size)
        if tuple(table.shape) != expected:
            raise HfRltError(
                f"{named.path}: expected pos_embed of shape {expected} for {config.num_frames} frames of "
                f"{config.image_size} pixels, found {tuple(table.shape)}: give --num-frames and --image-size."
            )
        off = (table.double() - sinusoid_table(*expected[1:]).double()).abs().max().item()
        if not off <= max(1e-6, 2 * torch.finfo(table.dtype).eps):
            raise HfRltError(
                f"{named.path}: refused, its positions were learned (pos_embed is up to {off:.3g} from VideoMAE's fixed "
                "sines and cosines), and RLT-VideoMAE has the fixed ones only."
            )

    def sampling(self, named: NamedWeights) -> dict[str, Any]:
        """Return how training arguments say that frames were sampled."""
        rate = named.arguments.get("sampling_rate")
        # Something-Something is sampled uniformly (VideoMAE's FINETUNE.md and VideoMAEv2's dataset/build.py), all else
        # strided.
        if named.arguments.get("data_set") == "SSV2" or named.arguments.get("sparse_sample") is True:
            return {"sampling": "uniform"}
        return {"frame_stride": rate} if isinstance(rate, int) and rate > 0 else {}

    def describe(self, named: NamedWeights) -> str:
        """Say whose checkpoint it is, and of what."""
        origin = "RLT Lightning checkpoint" if named.is_rlt else "original VideoMAE or VideoMAEv2 checkpoint"
        if named.classifies:
            return f"{origin}, classifier"
        what = "pre-trained encoder" if named.pretrained else "encoder without a head"
        return f"{origin}, {what}{' with its decoder' if named.pretraining else ''}"

    def remarks(self, named: NamedWeights) -> list[str]:
        """Return notes on what was dropped, and on norms."""
        notes = pretraining_note(named.pretraining)
        if named.has_key_bias:
            notes.append(
                f"Dropped {named.depth} key biases: they add the same to all logits of a query, which softmax does not see."
            )
        if named.has_key_bias and not named.classifies:
            notes.append(
                "Taken for VideoMAE's. An encoder of V-JEPA 2 has the same names: for one, pass Meta's whole file, with its "
                "predictor."
            )
        if named.is_rlt:
            notes.append("Norms have eps 1e-5, torch's default, which the RLT authors' settings leave as it is.")
        elif named.classifies and named.has(r"fc_norm\."):
            notes.append("fc_norm has eps 1e-5, as in transformers' VideoMAE; the original's is 1e-6 (docs/hub.md).")
        if "length_embed" in named.weights:
            notes.append(LENGTH_EMBEDDING_NOTE)
        if named.positions is not None:
            notes.append("pos_embed is VideoMAE's fixed table: not stored again.")
        return notes
