# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLT-VideoMAE: VideoMAE over the computed tokens of each clip, packed without padding."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.masking_utils import create_bidirectional_mask, packed_sequence_mask_function
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.videomae.modeling_videomae import VideoMAEPreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils.generic import (
    TransformersKwargs,
    can_return_tuple,
    is_flash_attention_requested,
    merge_with_config_defaults,
)
from transformers.utils.output_capturing import capture_outputs

from .attention_rlt_videomae import RLTVideoMAESelfAttention
from .configuration_rlt_videomae import RLTVideoMAEConfig
from .errors import HfRltError
from .layers_rlt_videomae import (
    RLTVideoMAEEmbeddings,
    RLTVideoMAEEncoder,
    RLTVideoMAELayer,
    RLTVideoMAERunLengthEmbedding,
)
from .packing import PackedLayout, mean_per_sequence, pack, packed_layout, unpack
from .runs import check_run_lengths, fill_runs, grid_size

CAPTURABLE = ("hidden_states", "attentions")
AUTO_CLASSES = {"AutoModel": "RLTVideoMAEModel", "AutoModelForVideoClassification": "RLTVideoMAEForVideoClassification"}


@dataclass
class RLTVideoMAEModelOutput(BaseModelOutputWithPooling):
    """Output of `RLTVideoMAEModel`.

    Attributes:
        last_hidden_state: `(B, N, D)`, runs filled back to the grid.
        pooler_output: `(B, D)`, mean over the computed tokens (first token with `use_mean_pooling=False`).
        run_lengths: `(B, N)` int64, the run lengths that were used.
    """

    run_lengths: Tensor | None = None


@dataclass
class RLTVideoMAEClassifierOutput(ImageClassifierOutput):
    """Output of `RLTVideoMAEForVideoClassification`: `ImageClassifierOutput` and the `run_lengths` that were used."""

    run_lengths: Tensor | None = None


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
        """Write config and weights, under VideoMAE's current key names so that it opens everywhere.

        Classes that are registered for an Auto class (`hf_rlt.register`) also write the code that `trust_remote_code=True`
        runs where hf_rlt is not installed.
        """
        kwargs.setdefault("save_original_format", False)
        # All of them: transformers itself names the saved class only, and keeps names of the folder that was loaded.
        module = self.__module__.split(".")[-1]
        self.config.auto_map = {name: f"{module}.{of}" for name, of in AUTO_CLASSES.items()} if self._auto_class else {}
        super().save_pretrained(save_directory, **kwargs)


class RLTVideoMAEModel(RLTVideoMAEPreTrainedModel):
    """The bare encoder: `(B, F, C, H, W)` clips in, `(B, N, D)` tokens out."""

    _encoder_class: type[nn.Module] = RLTVideoMAEEncoder

    def __init__(self, config: RLTVideoMAEConfig) -> None:
        super().__init__(config)
        self.embeddings = RLTVideoMAEEmbeddings(config)
        self.encoder = self._encoder_class(config)
        eps = config.layer_norm_eps
        self.layernorm = None if config.use_mean_pooling else nn.LayerNorm(config.hidden_size, eps=eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embeddings

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: Tensor,
        run_lengths: Tensor | None = None,
        return_last_hidden_state: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTVideoMAEModelOutput:
        """Return the tokens on the grid, their pool, and the run lengths used.

        Args:
            pixel_values: `(B, F, C, H, W)` normalised clips.
            run_lengths: `(B, N)` int64 from the processor; None finds runs in float32 with `config.threshold`.
            return_last_hidden_state: whether `last_hidden_state` is wanted; a head that only pools saves the copy.
            **kwargs: `output_hidden_states`, `output_attentions` and other options of transformers.

        Raises:
            ValueError: if shapes disagree with the configuration or with each other, or a clip has no computed token.
        """
        run_lengths = self._checked_run_lengths(pixel_values, run_lengths, kwargs)
        grid = self.embeddings.patch_embeddings.grid
        layout = packed_layout(run_lengths, max_run=grid[0])
        tokens = self.embeddings(pixel_values, run_lengths, layout)
        on_grid = self._captures(kwargs) and not layout.is_dense
        if on_grid:
            # What is captured must be batch-first: a dropped position repeats its run's token and is masked as a key.
            flat = tokens.reshape(1, layout.total, -1)
            tokens = fill_runs(unpack(flat, layout), run_lengths, grid[0])
            mask = create_bidirectional_mask(self.config, tokens, (run_lengths > 0).long())
            options = {"attention_mask": mask, "key_bias": self._key_bias(run_lengths.clamp(min=1))}
        else:
            options = self._packed_arguments(tokens, layout)
            if not layout.is_dense:
                options["key_bias"] = self._key_bias(pack(run_lengths, layout).view(len(tokens), -1))
        tokens = self.encoder(tokens, **options).last_hidden_state
        if self.layernorm is not None:
            tokens = self.layernorm(tokens)
        packed = pack(tokens, layout) if on_grid else tokens
        return RLTVideoMAEModelOutput(
            last_hidden_state=self._on_grid(packed, run_lengths, layout) if return_last_hidden_state else None,
            pooler_output=self._pool(packed, layout),
            run_lengths=run_lengths,
        )

    def _captures(self, kwargs: dict) -> bool:
        return any(kwargs.get(f"output_{k}", getattr(self.config, f"output_{k}", False)) for k in CAPTURABLE)

    def _checked_run_lengths(self, pixel_values: Tensor, run_lengths: Tensor | None, kwargs: dict) -> Tensor:
        if kwargs.get("bool_masked_pos") is not None:
            raise HfRltError("bool_masked_pos is VideoMAE's: pass run_lengths with 0 where a token is masked, else 1.")
        embed = self.embeddings.patch_embeddings
        if pixel_values is None or pixel_values.ndim != 5:
            received = None if pixel_values is None else tuple(pixel_values.shape)
            raise HfRltError(
                f"Expected pixel_values of shape (batch, frames, channels, height, width), got {received}."
            )
        expected = (self.config.num_channels, *embed.image_size)
        grid = grid_size(pixel_values.shape, embed.tubelet_size, embed.patch_size)
        if tuple(pixel_values.shape[2:]) != expected or grid != embed.grid:
            raise HfRltError(
                f"Expected clips of {self.config.num_frames} frames of (channels, height, width) {expected}, received "
                f"{pixel_values.shape[1]} frames of {tuple(pixel_values.shape[2:])}: set the processor's num_frames and "
                "crop_size to the model's, or change num_frames and image_size in the configuration."
            )
        if run_lengths is None:
            with torch.no_grad():
                return self.config.rule.find(pixel_values)
        check_run_lengths(run_lengths, pixel_values.shape[0], embed.grid)
        return run_lengths.to(device=pixel_values.device, dtype=torch.int64)

    def _packed_arguments(self, tokens: Tensor, layout: PackedLayout) -> dict:
        """What the blocks need to keep clips apart, made once per forward."""
        drops = self.training and self.config.drop_path_rate > 0
        if layout.is_uniform:
            return {}
        options: dict = {"clip_ids": layout.clip_ids, "clips": layout.batch} if drops else {}
        if is_flash_attention_requested(self.config):
            offsets, longest = layout.cu_seqlens, layout.max_length
            names = {"cu_seq_lens_q": offsets, "cu_seq_lens_k": offsets}
            return {**options, **names, "max_length_q": longest, "max_length_k": longest}
        if self.config._attn_implementation == "flex_attention":
            same_clip = packed_sequence_mask_function(layout.clip_ids[None])
            mask = create_bidirectional_mask(self.config, tokens, None, and_mask_function=same_clip)
            return {**options, "attention_mask": mask}
        return {**options, "sequence_lengths": layout.lengths}

    def _key_bias(self, lengths: Tensor) -> Tensor | None:
        """Return `(B, 1, 1, n)`: with proportional attention a token that stands for k tubelets is k keys."""
        return lengths.float().log()[:, None, None] if self.config.proportional_attention else None

    def _on_grid(self, tokens: Tensor, run_lengths: Tensor, layout: PackedLayout) -> Tensor:
        if layout.is_dense:
            return tokens
        grid = unpack(tokens.reshape(1, layout.total, -1), layout)
        return fill_runs(grid, run_lengths, self.embeddings.patch_embeddings.grid[0])

    def _pool(self, tokens: Tensor, layout: PackedLayout) -> Tensor:
        if self.config.use_mean_pooling:
            return mean_per_sequence(tokens, layout)
        return tokens.reshape(layout.total, -1)[layout.cu_seqlens[:-1]]


class RLTVideoMAEForVideoClassification(RLTVideoMAEPreTrainedModel):
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
        pixel_values: Tensor,
        labels: Tensor | None = None,
        run_lengths: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTVideoMAEClassifierOutput:
        """Return logits `(B, K)`, the loss if `labels` are given, and the run lengths used.

        Args:
            pixel_values: `(B, F, C, H, W)`, or `(B, V, F, C, H, W)` for V views of each clip: the logits are then the
                logarithm of the mean of the views' probabilities.
            labels: `(B,)` class indices, or `(B, K)` float targets (mixup, cutmix) for soft-target cross-entropy; -100 (in
                all of a row) leaves a clip out.
            run_lengths: `(B, N)` or `(B, V, N)` int64; None finds runs with `config.threshold`.
            **kwargs: options of transformers; `num_items_in_batch` scales the loss for gradient accumulation.

        Raises:
            ValueError: as `RLTVideoMAEModel.forward` does.

        Source: mean over computed tokens as in the authors' classifier; mean over views as in VideoMAE's evaluation.
        """
        views = pixel_values.shape[1] if pixel_values is not None and pixel_values.ndim == 6 else None
        if views is not None:
            pixel_values = pixel_values.flatten(0, 1)
            run_lengths = None if run_lengths is None else run_lengths.flatten(0, 1)
        kwargs.setdefault("return_last_hidden_state", False)
        outputs = self.videomae(pixel_values, run_lengths=run_lengths, **kwargs)
        logits = self.classify_pooled(outputs.pooler_output, views)
        used, states, attentions = outputs.run_lengths, outputs.hidden_states, outputs.attentions
        if views is not None:
            used = used.unflatten(0, (-1, views))
            states = states and tuple(state.unflatten(0, (-1, views)) for state in states)
            attentions = attentions and tuple(attention.unflatten(0, (-1, views)) for attention in attentions)
        loss = None if labels is None else self._loss(labels, logits, **kwargs)
        return RLTVideoMAEClassifierOutput(
            loss=loss, logits=logits, hidden_states=states, attentions=attentions, run_lengths=used
        )

    def classify_pooled(self, pooled: Tensor, views: int | None = None) -> Tensor:
        """Return logits `(B, K)` from `videomae`'s pool: `(B, D)`, or `(B * views, D)` for several views per clip."""
        logits = self.classifier(pooled if self.fc_norm is None else self.fc_norm(pooled))
        return logits if views is None else self._mean_of_views(logits.unflatten(0, (-1, views)))

    def _mean_of_views(self, logits: Tensor) -> Tensor:
        if self.config.problem_type in ("regression", "multi_label_classification") or self.num_labels < 2:
            return logits.mean(1)
        return logits.log_softmax(-1).logsumexp(1) - math.log(logits.shape[1])

    def _loss(self, labels: Tensor, logits: Tensor, num_items_in_batch: Tensor | int | None = None, **kwargs) -> Tensor:
        if self.num_labels == 1 or self.config.problem_type in ("regression", "multi_label_classification"):
            return self.loss_function(labels, logits, self.config)
        soft = labels.is_floating_point()
        if soft and labels.shape != logits.shape:
            raise HfRltError(
                f"Expected float labels of shape {tuple(logits.shape)}, received {tuple(labels.shape)}: pass one target "
                "distribution per clip, or integer class indices of shape (batch,)."
            )
        # Rows of -100, clips to leave out, weigh nothing: integers are ignored by cross_entropy, targets become zeros.
        targets = labels.to(logits.device).float().clamp(min=0) if soft else labels.to(logits.device).view(-1)
        total = F.cross_entropy(logits.float(), targets, reduction="sum")
        if num_items_in_batch is None:
            items = labels.ne(-100).sum()
        else:
            items = torch.as_tensor(num_items_in_batch, device=total.device)
        # Trainer counts every element of a float label as an item: num_labels per clip.
        return total / (items / self.num_labels if soft else items).clamp(min=1).to(total)


# By class name, so that it holds for base, head and the baselines' model types: without this the q_bias and v_bias of
# published checkpoints would be dropped silently.
register_checkpoint_conversion_mapping(
    "RLTVideoMAEModel", get_checkpoint_conversion_mapping("videomae"), overwrite=True
)

__all__ = ["RLTVideoMAEForVideoClassification", "RLTVideoMAEModel", "RLTVideoMAEPreTrainedModel"]
