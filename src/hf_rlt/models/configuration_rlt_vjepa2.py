# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Configuration of RLT-V-JEPA 2: V-JEPA 2's, and what RLT adds."""

from collections.abc import Mapping
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import VJEPA2Config

from .errors import HfRltError
from .rlt_config import SIZE_LIMITS, RLTConfigMixin
from .runs import to_2tuple


@strict
class RLTVJEPA2Config(RLTConfigMixin, VJEPA2Config):
    """Configuration of an RLT-V-JEPA 2 model: every field of `VJEPA2Config`, and these.

    `num_frames`, `image_size` and `num_channels` are other names of frames_per_clip, crop_size and in_chans.

    Args:
        threshold: a tubelet is dropped if its pixels differ from the previous tubelet's by at most this much (mean
            absolute difference of *normalised* pixels). Used when the model is called without `run_lengths`. None
            computes every token: V-JEPA 2 bit for bit.
        rule: "threshold", the paper's, "anchor", which compares with a run's first tubelet, or "optimal", see `RunRule`.
        max_tokens: tokens of a clip, at most: a whole number, or a share of all as a float.
        num_tokens: tokens of a clip, exactly, whatever the threshold.
        budget: "clip", or "batch": the clips of one call share their tokens.
        budget_groups: number of groups of consecutive tubelets over which a budget is spread evenly.
        proportional_attention: whether a token that stands for k tubelets counts k times as a key, in encoder and pooler,
            which brings a model trained without RLT nearer to what it computes of all tokens.
        interleave: V-JEPA 2.1's rotary positions, which rotate each pair of channels by one angle. V-JEPA 2 does not.
        interpolate_rope: V-JEPA 2.1's scaling of rows and columns to those of 256 pixels.
    """

    model_type = "rlt_vjepa2"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_frames": "frames_per_clip",
        "image_size": "crop_size",
        "num_channels": "in_chans",
    }
    network: ClassVar[str] = "[V-JEPA 2](https://arxiv.org/abs/2506.09985)"
    small_model: ClassVar[dict[str, Any]] = {
        **{"crop_size": 64, "patch_size": 8, "frames_per_clip": 16},
        **{"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "mlp_ratio": 2},
        **{"num_pooler_layers": 1, "pred_hidden_size": 32, "pred_num_hidden_layers": 1, "pred_num_attention_heads": 2},
        "initializer_range": 0.06,  # as for VideoMAE
    }
    any_frames: ClassVar[bool] = True
    size_limits: ClassVar[Mapping[str, int]] = {
        **SIZE_LIMITS,
        **{f"pred_{name}": SIZE_LIMITS[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
        "pred_num_mask_tokens": 1 << 16,
    }

    threshold: float | int | None = 0.1
    rule: str = "threshold"
    max_tokens: float | int | None = None
    num_tokens: float | int | None = None
    budget: str = "clip"
    budget_groups: int = 1
    proportional_attention: bool = False
    interleave: bool = False
    interpolate_rope: bool = False

    @property
    def trained_side(self) -> int | None:
        """Side of the grid to which rows and columns are scaled; None: they are not."""
        return 256 // to_2tuple(self.patch_size)[0] if self.interpolate_rope else None

    @property
    def intermediate_size(self) -> int:
        """Width of the MLP of a block."""
        return int(self.hidden_size * self.mlp_ratio)

    @classmethod
    def check_sizes(cls, values: Mapping[str, Any], before: str = "", after: str = "") -> None:
        """Raise HfRltError unless a model can be built with these fields, its MLPs and pooler included."""
        super().check_sizes(values, before, after)
        for field, limits in {
            "mlp_ratio": (1e-3, 64),
            "pred_mlp_ratio": (1e-3, 64),
            "num_pooler_layers": (0, 512),
        }.items():
            value, (least, most) = values.get(field, getattr(cls, field)), limits
            kinds = (int,) if field == "num_pooler_layers" else (int, float)
            if type(value) not in kinds or not least <= value <= most:
                raise HfRltError(
                    f"{before}expected {field}{after} to be a number from {least:g} to {most}, found {repr(value)[:60]}."
                )

    def validate_rotary(self) -> None:
        """Raise HfRltError for what rotary positions do not bear: patches that are not square, a length embedding."""
        if not isinstance(self.patch_size, int):
            raise HfRltError(f"Expected patch_size to be one number, for square patches, received {self.patch_size}.")
        if self.length_embedding:
            raise HfRltError("RLT-V-JEPA 2 has no length embedding: leave length_embedding out.")

    def pool_flops(self, computed: int) -> int:
        """Count the operations of the matrix products of the attentive pooler on one clip of `computed` tokens."""
        width, hidden = self.hidden_size, 4 * self.hidden_size  # whatever mlp_ratio says
        block = 8 * computed * width * width + 4 * computed * computed * width + 4 * computed * width * hidden
        crossing = 4 * computed * width * width + 2 * width * width + 4 * computed * width + 4 * width * hidden
        return self.num_pooler_layers * block + crossing


__all__ = ["RLTVJEPA2Config"]
