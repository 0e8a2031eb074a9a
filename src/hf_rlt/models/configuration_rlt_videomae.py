# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Configuration of RLT-VideoMAE: VideoMAE's, and what RLT adds."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import VideoMAEConfig

from .errors import HfRltError
from .rlt_config import RLTConfigMixin
from .run_rule import check_effect, complete_changes, rule_of
from .runs import grid_size, to_2tuple

GRID_FIELDS = ("num_frames", "image_size", "tubelet_size", "patch_size")
# Upper bounds for sizes in config.json: above any model's, but low enough that a wrong number costs nothing.
SIZE_LIMITS = {
    "num_frames": 1 << 16,
    "image_size": 1 << 14,
    "tubelet_size": 1 << 10,
    "patch_size": 1 << 10,
    "num_channels": 1 << 8,
    "hidden_size": 1 << 15,
    "intermediate_size": 1 << 17,
    "num_hidden_layers": 1 << 9,
    "num_attention_heads": 1 << 10,
    "num_labels": 1 << 17,
}
MAX_TABLE_SIZE = 1 << 26  # numbers in a position table; reached by ViT-B at 890 frames of 224 pixels


def check_sizes(values: Mapping[str, Any], before: str = "", after: str = "") -> None:
    """Raise HfRltError unless a model can be built with these fields of a configuration; missing ones are VideoMAE's.

    `before` and `after` stand before and after "expected FIELD" in messages.
    """
    for field, most in SIZE_LIMITS.items():
        value = values.get(field, 1)
        pair = field in ("image_size", "patch_size") and isinstance(value, (list, tuple)) and len(value) == 2
        wrong = [each for each in (value if pair else [value]) if type(each) is not int or not 1 <= each <= most]
        if wrong and not (field == "num_labels" and value is None):
            raise HfRltError(
                f"{before}expected {field}{after} to be a whole number from 1 to {most:,}, found {repr(value)[:60]}."
            )
    trained = values.get("position_grid")
    is_grid = isinstance(trained, (list, tuple)) and len(trained) == 3 and all(type(each) is int for each in trained)
    if trained is not None and not (is_grid and min(trained) >= 1):
        raise HfRltError(
            f"{before}expected position_grid{after} to be three positive integers, such as (8, 14, 14) for 16 frames of "
            f"224 pixels, or None for the model's own, found {repr(trained)[:60]}."
        )
    frames, image, tubelet, patch = (values.get(name, getattr(VideoMAEConfig, name)) for name in GRID_FIELDS)
    (height, width), (rows, columns) = to_2tuple(image), to_2tuple(patch)
    tokens = max((frames // tubelet) * (height // rows) * (width // columns), math.prod(trained or [0]))
    width = values.get("hidden_size", VideoMAEConfig.hidden_size)
    if tokens * width > MAX_TABLE_SIZE:
        raise HfRltError(
            f"{before}expected num_frames, image_size and position_grid{after} that make at most "
            f"{MAX_TABLE_SIZE // width:,} tokens of width {width}, found {tokens:,}: make clips shorter or smaller."
        )


@strict
class RLTVideoMAEConfig(RLTConfigMixin, VideoMAEConfig):
    """Configuration of an RLT-VideoMAE model: every field of `VideoMAEConfig`, and these.

    Args:
        threshold: a tubelet is dropped if its pixels differ from the previous tubelet's by at most this much (mean
            absolute difference of *normalised* pixels). Used when the model is called without `run_lengths`. None
            computes every token: VideoMAE bit for bit.
        rule: "threshold", the paper's, or "anchor", which compares with a run's first tubelet.
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

    def __init_subclass__(cls, *args, **kwargs) -> None:
        super().__init_subclass__(*args, **kwargs)
        cls._auto_class = None  # the code that a folder carries is this file's, not that of a class derived from it

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs) -> None:
        """Write config.json, and this file if the class is registered for `AutoConfig`."""
        if self._auto_class is None:
            self.__dict__.pop("auto_map", None)  # of the folder it was loaded from, which holds other classes
        maps = getattr(self, "auto_map", None) or {}
        # A model's own save_pretrained has written its file by now.
        model = str(maps.get("AutoModel", "")).split(".")[0]
        if model and "--" not in model and not (Path(save_directory) / f"{model}.py").is_file():
            self.auto_map = {name: value for name, value in maps.items() if name == "AutoConfig"}
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def validate_run_length_settings(self) -> None:
        """Raise HfRltError if a setting of the rule or drop_path_rate is out of range."""
        rule_of(self)
        if not 0 <= self.drop_path_rate < 1:
            raise HfRltError(f"Expected drop_path_rate in [0, 1), received {self.drop_path_rate}.")

    def validate_sizes(self) -> None:
        """Raise HfRltError unless a model of these sizes can be built."""
        check_sizes({name: getattr(self, name) for name in (*SIZE_LIMITS, "position_grid")})

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> Any:
        """Load the configuration of a model; `from_dict` gets the model's name, for its messages."""
        kwargs.setdefault("name_or_path", str(pretrained_model_name_or_path))
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read config.json; the model type of a parent class, i.e. VideoMAE, is supported, so without a warning."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        derived_from = {getattr(base, "model_type", None) for base in cls.__mro__ if issubclass(base, VideoMAEConfig)}
        if config_dict.get("model_type") in derived_from:
            config_dict = {**config_dict, "model_type": cls.model_type}
        return config_dict, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> Any:
        """Make a configuration of `config_dict` changed by `kwargs`; if the grid changes, store the trained one."""
        name = kwargs.get("name_or_path") or config_dict.get("_name_or_path")
        check_sizes(config_dict, f"{name}: " if name else "", " in its config.json")
        check_sizes({**config_dict, **kwargs}, f"{name}: " if name else "")
        given, both = "position_grid" in kwargs, kwargs.pop("return_unused_kwargs", False)
        config, unused = super().from_dict(config_dict, return_unused_kwargs=True, **complete_changes(kwargs))
        config.validate()  # what kwargs changed, too
        check_effect(kwargs, rule_of(config))
        if not given and config.position_grid is None:
            frames, image, *tubelet = (config_dict.get(name, getattr(cls, name)) for name in GRID_FIELDS)
            trained = grid_size((frames, 1, *to_2tuple(image)), *tubelet)
            config.position_grid = None if trained == config.grid else list(trained)
        return (config, unused) if both else config


__all__ = ["RLTVideoMAEConfig"]
