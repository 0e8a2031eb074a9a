# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What every part of hf_rlt asks a configuration for, whatever the network is."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import PreTrainedConfig

from .budget import token_number
from .errors import HfRltError, check_spelling
from .run_rule import RunRule, check_effect, complete_changes, rule_of
from .runs import grid_size, to_2tuple

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

RLT_PAPER = "[Choudhury et al., *Don't Look Twice*, NeurIPS 2024](https://arxiv.org/abs/2411.05222)"


class RLTConfigMixin(PreTrainedConfig if TYPE_CHECKING else object):  # type: ignore[misc]
    """Properties of a configuration that has these fields.

    Attributes:
        threshold: mean absolute difference of normalised pixels up to which a tubelet is dropped; None drops nothing.
        rule, max_tokens, num_tokens, budget, budget_groups: see `RunRule`.
        num_frames, num_channels, image_size: shape of a clip; image_size is a number or (height, width).
        tubelet_size, patch_size: shape of a tubelet.
        num_hidden_layers: number of blocks.
        length_embedding, proportional_attention, position_grid: see `RLTVideoMAEConfig`.
        network: on model cards, what RLT is built into, in Markdown.
        small_model: fields of a model to train from scratch on the built-in sets.
        drop_path_rate: stochastic depth per clip in the last block.
        method, card_tags: name of the way in which tokens are saved, and tags of model cards.
        any_frames: whether a model takes clips of other numbers of frames than its own.
        size_limits: upper bounds of sizes by the names of their fields.
    """

    network: ClassVar[str]
    small_model: ClassVar[dict[str, Any]] = {}
    method: ClassVar[str] = "RLT"
    card_tags: ClassVar[list[str]] = ["rlt", "run-length-tokenization"]
    any_frames: ClassVar[bool] = False
    size_limits: ClassVar[Mapping[str, int]] = SIZE_LIMITS
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["hidden_states", "attentions", "run_lengths"]

    # What not every family has.
    length_embedding: bool = False
    proportional_attention: bool = False
    position_grid: Sequence[int] | None = None
    rule: str = "threshold"
    max_tokens: float | int | None = None
    num_tokens: float | int | None = None
    budget: str = "clip"
    budget_groups: int = 1
    drop_path_rate: float | int = 0.0

    threshold: float | int | None
    num_frames: int
    num_channels: int
    image_size: int | Sequence[int]
    tubelet_size: int
    patch_size: int | Sequence[int]
    num_hidden_layers: int

    def __init_subclass__(cls, *args, **kwargs) -> None:
        super().__init_subclass__(*args, **kwargs)
        cls._auto_class = None  # the code that a folder carries is this file's, not that of a class derived from it

    @property
    def run_rule(self) -> RunRule:
        """The rule by which the model finds runs when it is called without `run_lengths`."""
        return rule_of(self)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Frames, channels, height and width of a clip."""
        return (self.num_frames, self.num_channels, *to_2tuple(self.image_size))

    @property
    def grid(self) -> tuple[int, int, int]:
        """The grid (T, H', W') of tubelets of a clip."""
        return grid_size(self.clip_shape, self.tubelet_size, self.patch_size)

    @property
    def budget_tokens(self) -> int | None:
        """The tokens of a clip, on average if a batch shares them, in the rule's budget; None without one."""
        wanted, tokens = self.run_rule.wanted_tokens, math.prod(self.grid)
        return None if wanted is None else min(token_number(wanted, tokens), tokens)

    @property
    def card_sentence(self) -> str:
        """What a model card says about the method, in Markdown."""
        rule = self.run_rule
        if not rule.drops:
            return f"{self.network} as an RLT model with threshold none: every token is computed."
        height, width = to_2tuple(self.patch_size)
        before = "the one before it" if self.rule == "threshold" else "the last one that was computed"
        start = f"{self.network} with Run-Length Tokenization (RLT, {RLT_PAPER})."
        tubelet = f"{height} x {width} pixels of {self.tubelet_size} frames"
        tokens, most = math.prod(self.grid), ""
        if self.budget_tokens is not None:
            number, mean = f"{self.budget_tokens:,}", " on average" if self.budget == "batch" else ""
            if rule.num_tokens is not None or rule.threshold is None:
                return (
                    f"{start} Of the {tokens:,} tubelets of a clip, each {tubelet}, {number}{mean} are computed "
                    f"({rule.describe()}): the first at each place, and those that differ most from {before} there. "
                    f"Every {self.budget} costs the same, whatever it shows."
                )
            most = f", and no {self.budget} costs more than {number} of {tokens:,} tokens{mean}"
        return (
            f"{start} A tubelet, {tubelet}, is not computed if it hardly differs from {before} at the same place "
            f"({rule.describe()}): what stands still costs nothing{most}."
        )

    def token_counts(self, computed: int) -> list[int]:
        """List the tokens of a clip before the first block and after each block, if `computed` tokens are computed."""
        return [computed] * (self.num_hidden_layers + 1)

    def block_tokens(self, computed: int) -> list[tuple[int, int]]:
        """List the tokens in attention and in the MLP of each block."""
        return [(count, count) for count in self.token_counts(computed)[:-1]]

    def choice_flops(self, computed: int) -> int:
        """Count the operations of the matrix products that choose which tokens of a clip to merge or discard."""
        return 0

    @classmethod
    def check_sizes(cls, values: Mapping[str, Any], before: str = "", after: str = "") -> None:
        """Raise HfRltError unless a model can be built with these fields of a configuration; missing ones are its defaults.

        `before` and `after` stand before and after "expected FIELD" in messages.
        """
        for field, most in cls.size_limits.items():
            name = cls.attribute_map.get(field, field)
            value = values.get(name, 1)
            pair = field in ("image_size", "patch_size") and isinstance(value, (list, tuple)) and len(value) == 2
            wrong = [each for each in (value if pair else [value]) if type(each) is not int or not 1 <= each <= most]
            if wrong and not (field == "num_labels" and value is None):
                raise HfRltError(
                    f"{before}expected {name}{after} to be a whole number from 1 to {most:,}, found {repr(value)[:60]}."
                )

    def validate_run_length_settings(self) -> None:
        """Raise HfRltError if a setting of the rule or drop_path_rate is out of range."""
        rule_of(self)
        if not 0 <= self.drop_path_rate < 1:
            raise HfRltError(f"Expected drop_path_rate in [0, 1), received {self.drop_path_rate}.")

    def validate_sizes(self) -> None:
        """Raise HfRltError unless a model of these sizes can be built."""
        self.check_sizes({**self.__dict__, "num_labels": self.num_labels})

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

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> Any:
        """Load the configuration of a model; `from_dict` gets the model's name, for its messages."""
        kwargs.setdefault("read_from", str(pretrained_model_name_or_path))
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read config.json; the model type of a parent class, such as VideoMAE, is supported, so without a warning."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if config_dict.get("model_type") in {getattr(base, "model_type", None) for base in cls.__mro__}:
            config_dict = {**config_dict, "model_type": cls.model_type}
        return config_dict, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> Any:
        """Make a configuration of `config_dict` changed by `kwargs`; settings of the rule replace each other."""
        name = kwargs.pop("read_from", None) or kwargs.get("name_or_path") or config_dict.get("_name_or_path")
        both = kwargs.pop("return_unused_kwargs", False)
        check_spelling(kwargs, cls.__dataclass_fields__)
        own = {cls.attribute_map.get(field, field): value for field, value in kwargs.items()}
        cls.check_sizes(config_dict, f"{name}: " if name else "", " in its config.json")
        cls.check_sizes({**config_dict, **own}, f"{name}: " if name else "")
        config, unused = super().from_dict(config_dict, return_unused_kwargs=True, **complete_changes(kwargs))
        config.validate()  # what kwargs changed, too
        check_effect(kwargs, rule_of(config))
        return (config, unused) if both else config
