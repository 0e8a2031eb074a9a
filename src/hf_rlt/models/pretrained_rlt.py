# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How the models of all families choose their attention, and how they are saved."""

from typing import Any, ClassVar

from .errors import HfRltError
from .varlen_attention import default_attention


class RLTPreTrainedMixin:
    """Chooses the attention, and saves a model with the code that opens it, if `hf_rlt.register` asked for it.

    Attributes:
        auto_classes: the family's models, by the names of the Auto classes that open them.
    """

    auto_classes: ClassVar[dict[str, str]]
    _auto_class: ClassVar[str | None]
    config: Any

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        cls._auto_class = None  # the code that a folder carries is this file's, not that of a class derived from it

    @classmethod
    def from_stock(cls, model: Any, **settings: Any) -> Any:
        """Make an RLT model of a stock one in memory, such as one with merged LoRA weights; the two share their weights.

        Args:
            model: VideoMAE's or V-JEPA 2's model or classifier, whichever this class is of.
            **settings: of the configuration, such as `threshold`.

        Raises:
            HfRltError: if the model's weights are not those of this class.
        """
        config = cls.config_class.from_dict({**model.config.to_dict(), **settings})  # type: ignore[attr-defined]
        config._attn_implementation = model.config._attn_implementation
        made = cls(config)  # type: ignore[call-arg]
        found = made.load_state_dict(model.state_dict(), strict=False, assign=True)  # type: ignore[attr-defined]
        lacking = [name for name in found.missing_keys if "run_length_embeddings" not in name]
        if lacking or found.unexpected_keys:
            odd = (lacking + found.unexpected_keys)[0]
            raise HfRltError(
                f"Expected a stock model with the weights of {cls.__name__}, received {type(model).__name__}, in which "
                f"{len(lacking)} are missing and {len(found.unexpected_keys)} too many, such as {odd}."
            )
        return made.to(model.device).train(model.training)  # type: ignore[attr-defined]

    def get_correct_attn_implementation(self, requested_attention: str | None, is_init_check: bool = False) -> str:
        """Choose the attention backend, `torch_varlen` on GPUs that have it unless another is asked for by name."""
        requested_attention = requested_attention or default_attention()
        return super().get_correct_attn_implementation(requested_attention, is_init_check)  # type: ignore[misc]

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Write config and weights under transformers' current key names, and the code."""
        kwargs.setdefault("save_original_format", False)
        # All of them: transformers itself names the saved class only, and keeps names of the folder that was loaded.
        module = self.__module__.split(".")[-1]
        self.config.auto_map = (
            {name: f"{module}.{of}" for name, of in self.auto_classes.items()} if self._auto_class else {}
        )
        super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]
