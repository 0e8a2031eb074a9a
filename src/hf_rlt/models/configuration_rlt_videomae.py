# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Configuration of RLT-VideoMAE models."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import VideoMAEConfig

from .errors import HfRltError
from .rlt_config import RLTConfigMixin
from .runs import grid_size, to_2tuple

GRID_FIELDS = ("num_frames", "image_size", "tubelet_size", "patch_size")
MAX_TABLE_SIZE = 1 << 26  # numbers in a position table; reached by ViT-B at 890 frames of 224 pixels


@strict
class RLTVideoMAEConfig(RLTConfigMixin, VideoMAEConfig):
    """Configuration of an RLT-VideoMAE model: every field of `VideoMAEConfig`, and these.

    Args:
        threshold: a tubelet is dropped if its pixels differ from the previous tubelet's by at most this much (mean
            absolute difference of *normalised* pixels). Used when the model is called without `run_lengths`. None
            computes every token: VideoMAE bit for bit.
        rule: "threshold", the paper's, "anchor", which compares with a run's first tubelet, or "optimal", see `RunRule`.
        max_tokens: tokens of a clip, at most: a whole number, or a share of all as a float.
        num_tokens: tokens of a clip, exactly, whatever the threshold.
        budget: "clip", or "batch": the clips of one call share their tokens.
        budget_groups: number of groups of consecutive tubelets over which a budget is spread evenly.
        length_embedding: whether a learned embedding of the run length is added to each token. The table starts at zero.
        proportional_attention: whether a token that stands for k tubelets counts k times as a key, which brings a model
            trained without RLT nearer to what it computes of all tokens.
        drop_path_rate: stochastic depth per clip in the last block; it grows linearly from 0 over the blocks.
        position_grid: the grid (T, H', W') of tubelets that the weights were trained on, on which positions and run
            lengths are measured: its position table is resized to the model's own grid. None: the model's own grid, as
            in VideoMAE. `from_pretrained` sets it when num_frames, image_size, ... change the grid.

    Source: arXiv 2411.05222 section 3 (threshold 0.1, length encoding). Departure: the table starts at zero rather than
    at a truncated normal, so that a converted checkpoint equals training-free RLT.
    """

    model_type = "rlt_videomae"
    network: ClassVar[str] = "[VideoMAE](https://arxiv.org/abs/2203.12602)"
    small_model: ClassVar[dict[str, Any]] = {
        **{"image_size": 64, "patch_size": 8, "num_frames": 16},
        **{"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256},
        "initializer_range": 0.06,  # narrow layers: with VideoMAE's 0.02 the first epochs learn nothing
    }

    threshold: float | int | None = 0.1
    rule: str = "threshold"
    max_tokens: float | int | None = None
    num_tokens: float | int | None = None
    budget: str = "clip"
    budget_groups: int = 1
    length_embedding: bool = False
    proportional_attention: bool = False
    drop_path_rate: float | int = 0.0
    position_grid: list[int] | tuple[int, ...] | None = None

    @classmethod
    def check_sizes(cls, values: Mapping[str, Any], before: str = "", after: str = "") -> None:
        """Raise HfRltError unless a model can be built with these fields of a configuration, its position table included."""
        super().check_sizes(values, before, after)
        trained = values.get("position_grid")
        is_grid = (
            isinstance(trained, (list, tuple)) and len(trained) == 3 and all(type(each) is int for each in trained)
        )
        if trained is not None and not (is_grid and min(trained) >= 1):
            raise HfRltError(
                f"{before}expected position_grid{after} to be three positive integers, such as (8, 14, 14) for 16 frames of "
                f"224 pixels, or None for the model's own, found {repr(trained)[:60]}."
            )
        frames, image, tubelet, patch = (values.get(name, getattr(cls, name)) for name in GRID_FIELDS)
        (height, width), (rows, columns) = to_2tuple(image), to_2tuple(patch)
        tokens = max((frames // tubelet) * (height // rows) * (width // columns), math.prod(trained or [0]))
        width = values.get("hidden_size", cls.hidden_size)
        if tokens * width > MAX_TABLE_SIZE:
            raise HfRltError(
                f"{before}expected num_frames, image_size and position_grid{after} that make at most "
                f"{MAX_TABLE_SIZE // width:,} tokens of width {width}, found {tokens:,}: make clips shorter or smaller."
            )

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> Any:
        """Make a configuration of `config_dict` changed by `kwargs`; if the grid changes, store the trained one."""
        given, both = "position_grid" in kwargs, kwargs.pop("return_unused_kwargs", False)
        config, unused = super().from_dict(config_dict, return_unused_kwargs=True, **kwargs)
        if not given and config.position_grid is None:
            frames, image, *tubelet = (config_dict.get(name, getattr(cls, name)) for name in GRID_FIELDS)
            trained = grid_size((frames, 1, *to_2tuple(image)), *tubelet)
            config.position_grid = None if trained == config.grid else list(trained)
        return (config, unused) if both else config


__all__ = ["RLTVideoMAEConfig"]
