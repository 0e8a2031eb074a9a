# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLT-VideoMAE: VideoMAE over the computed tokens of each clip, packed without padding."""

from typing import Any

from torch import Tensor, nn
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs, can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_rlt_videomae import RLTVideoMAEConfig
from .errors import HfRltError
from .layers_rlt_videomae import RLTVideoMAEEmbeddings, RLTVideoMAEEncoder
from .packing import Layout, PackedLayout, PaddedLayout, mean_per_sequence
from .pretrained_rlt_videomae import RLTVideoMAEPreTrainedModel, read_old_keys
from .rlt_classifier import RLTClassifierMixin, RLTClassifierOutput
from .rlt_model import RLTModelMixin, RLTModelOutput
from .runs import grid_size


class RLTVideoMAEModel(RLTModelMixin, RLTVideoMAEPreTrainedModel):
    """The bare encoder: `(B, F, C, H, W)` clips in, `(B, N, D)` tokens out."""

    _encoder_class: type[RLTVideoMAEEncoder] = RLTVideoMAEEncoder

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        super().__init__(config)
        self.embeddings = RLTVideoMAEEmbeddings(config)
        self.encoder = self._encoder_class(config)
        width, eps = config.hidden_size, config.layer_norm_eps
        self.layernorm = None if config.use_mean_pooling else nn.LayerNorm(width, eps=eps)
        self.post_init()

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        cls._no_split_modules = ["RLTVideoMAEEmbeddings", cls._encoder_class._layer_class.__name__]
        read_old_keys(cls.__name__)

    def get_input_embeddings(self) -> nn.Module:
        """Return the patch embeddings."""
        return self.embeddings.patch_embeddings

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: Tensor | None = None,
        run_lengths: Tensor | None = None,
        return_last_hidden_state: bool = True,
        *,
        tubelets: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTModelOutput:
        """Compute the tokens on the grid, their pool, and the run lengths used.

        Args:
            pixel_values: `(B, F, C, H, W)` normalised clips.
            run_lengths: `(B, N)` int64 from the processor; None finds runs in float32 with `config.threshold`.
            return_last_hidden_state: whether `last_hidden_state` is wanted; a head that only pools saves the copy.
            tubelets: `(L, s, C, p, p)` in place of `pixel_values`: the computed ones alone, in the order of `run_lengths`.
            **kwargs: `output_hidden_states`, `output_attentions` and other options of transformers.
        """
        if kwargs.get("bool_masked_pos") is not None:
            raise HfRltError("bool_masked_pos is VideoMAE's: pass run_lengths with 0 where a token is masked, else 1.")
        if tubelets is not None:
            pixel_values = self.join(tubelets, run_lengths, pixel_values)
        found = run_lengths is None
        run_lengths = self._checked_run_lengths(pixel_values, run_lengths)
        layout = self._layout(run_lengths, self.config.grid, found)
        tokens = self.embeddings(pixel_values, run_lengths, layout)
        return self.encode(tokens, run_lengths, layout, kwargs, return_last_hidden_state)

    def clip_grid(self, pixel_values: Tensor) -> tuple[int, int, int]:
        """Return the grid of clips, which are of the size that the positions are for."""
        embed = self.embeddings.patch_embeddings
        expected = (self.config.num_channels, *embed.image_size)
        grid = grid_size(pixel_values.shape, embed.tubelet_size, embed.patch_size)  # not the rule's: this is compiled
        if tuple(pixel_values.shape[2:]) != expected or grid != embed.grid:
            raise HfRltError(
                f"Expected clips of {self.config.num_frames} frames of (channels, height, width) {expected}, received "
                f"{pixel_values.shape[1]} frames of {tuple(pixel_values.shape[2:])}: set the processor's num_frames and "
                "crop_size to the model's, or change num_frames and image_size in the configuration."
            )
        return grid

    def embed_tubelets(self, tubelets: Tensor, run_lengths: Tensor, layout: PaddedLayout) -> Tensor:
        """Embed tubelets: patch, position, run length."""
        tokens = self.embeddings.patch_embeddings.projection(tubelets)[None]
        return self.embeddings.place(tokens, run_lengths.flatten()[None], layout)

    def blocks(self, tokens: Tensor, layout: Layout | None, options: dict[str, Any]) -> Tensor:
        """Compute the blocks."""
        tokens = self.encoder(tokens, **options).last_hidden_state
        return tokens if self.layernorm is None else self.layernorm(tokens)

    def pool(self, tokens: Tensor, layout: Layout, options: dict[str, Any]) -> Tensor:
        """Pool the computed tokens of each clip: their mean, or the first with `use_mean_pooling=False`."""
        if self.config.use_mean_pooling:
            return mean_per_sequence(tokens, layout)
        return (
            tokens[:, 0]
            if not isinstance(layout, PackedLayout) or layout.is_uniform
            else tokens[0, layout.cu_seqlens[:-1]]
        )


class RLTVideoMAEForVideoClassification(RLTClassifierMixin, RLTVideoMAEPreTrainedModel):
    """RLT-VideoMAE with a linear classifier on the mean of each clip's computed tokens."""

    _base_model_class: type[RLTVideoMAEModel] = RLTVideoMAEModel

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.videomae = self._base_model_class(config)
        self.fc_norm = nn.LayerNorm(config.hidden_size) if config.use_mean_pooling else None
        self.classifier = nn.Linear(config.hidden_size, config.num_labels) if config.num_labels > 0 else nn.Identity()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        run_lengths: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTClassifierOutput:
        """Compute logits `(B, K)`, and the loss if `labels` are given.

        Args:
            pixel_values: `(B, F, C, H, W)`, or `(B, V, F, C, H, W)` for V views of each clip: the logits are then the
                logarithm of the mean of the views' probabilities.
            labels: `(B,)` class indices, or `(B, K)` float targets (mixup, cutmix) for soft-target cross-entropy; -100 (in
                all of a row) leaves a clip out.
            run_lengths: `(B, N)` or `(B, V, N)` int64; None finds runs with `config.threshold`.
            **kwargs: `tubelets` `(L, s, C, p, p)` in place of `pixel_values`; options of transformers; `num_items_in_batch`
                scales the loss for gradient accumulation.

        Source: mean over computed tokens as in the authors' classifier; mean over views as in VideoMAE's evaluation.
        """
        return self.classify(pixel_values, labels, run_lengths, kwargs)

    def head(self, pooled: Tensor) -> Tensor:
        """Compute logits `(B, K)` of a pool `(B, D)`."""
        return self.classifier(pooled if self.fc_norm is None else self.fc_norm(pooled))


read_old_keys(RLTVideoMAEModel.__name__)

__all__ = ["RLTVideoMAEForVideoClassification", "RLTVideoMAEModel", "RLTVideoMAEPreTrainedModel"]
