# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLT-VideoMAE: VideoMAE over the computed tokens of each clip, packed without padding."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask, packed_sequence_mask_function
from transformers.processing_utils import Unpack
from transformers.utils.generic import (
    TransformersKwargs,
    can_return_tuple,
    is_flash_attention_requested,
    merge_with_config_defaults,
)
from transformers.utils.output_capturing import capture_outputs

from .configuration_rlt_videomae import RLTVideoMAEConfig
from .errors import HfRltError
from .layers_rlt_videomae import RLTVideoMAEEmbeddings, RLTVideoMAEEncoder
from .packing import PackedLayout, equal_layout, mean_per_sequence, pack, packed_layout, unpack
from .pretrained_rlt_videomae import (
    RLTVideoMAEClassifierOutput,
    RLTVideoMAEModelOutput,
    RLTVideoMAEPreTrainedModel,
    read_old_keys,
)
from .runs import check_run_lengths, fill_runs, grid_size

CAPTURABLE = ("hidden_states", "attentions")


class RLTVideoMAEModel(RLTVideoMAEPreTrainedModel):
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
        pixel_values: Tensor,
        run_lengths: Tensor | None = None,
        return_last_hidden_state: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTVideoMAEModelOutput:
        """Compute the tokens on the grid, their pool, and the run lengths used.

        Args:
            pixel_values: `(B, F, C, H, W)` normalised clips.
            run_lengths: `(B, N)` int64 from the processor; None finds runs in float32 with `config.threshold`.
            return_last_hidden_state: whether `last_hidden_state` is wanted; a head that only pools saves the copy.
            **kwargs: `output_hidden_states`, `output_attentions` and other options of transformers.
        """
        found = run_lengths is None
        run_lengths = self._checked_run_lengths(pixel_values, run_lengths, kwargs)
        layout = self._layout(run_lengths, found)
        tokens = self.embeddings(pixel_values, run_lengths, layout)
        captured = any(kwargs.get(f"output_{k}", getattr(self.config, f"output_{k}", False)) for k in CAPTURABLE)
        states, pooled = self._encode(tokens, run_lengths, layout, captured, return_last_hidden_state)
        return RLTVideoMAEModelOutput(last_hidden_state=states, pooler_output=pooled, run_lengths=run_lengths)

    def _layout(self, run_lengths: Tensor, found: bool) -> PackedLayout:
        """Lay out the computed tokens; nothing is read from the device if the model has `found` as many in each clip."""
        grid = self.embeddings.patch_embeddings.grid
        tokens = self.config.run_rule.exact_tokens(grid)
        if tokens is not None and (found or torch.compiler.is_compiling()):
            return equal_layout(run_lengths, self.config.token_counts(tokens)[0])
        return packed_layout(run_lengths, max_run=grid[0])

    def _encode(
        self, tokens: Tensor, run_lengths: Tensor, layout: PackedLayout, captured: bool, wanted: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Compute the blocks; return the tokens on the grid, if they are `wanted`, and their pool.

        What is `captured` must be batch-first: a dropped position repeats its run's token then, and is masked as a key.
        """
        padded = captured and not layout.is_dense
        if padded:
            tokens = self._on_grid(tokens, run_lengths, layout)
            mask = create_bidirectional_mask(self.config, tokens, (run_lengths > 0).long())
            options = {"attention_mask": mask, "key_bias": self._key_bias(run_lengths.clamp(min=1))}
        else:
            options = self._packed_arguments(tokens, layout)
            if not layout.is_dense:
                options["key_bias"] = self._key_bias(pack(run_lengths, layout).view(len(tokens), -1))
        tokens = self.encoder(tokens, **options).last_hidden_state
        if self.layernorm is not None:
            tokens = self.layernorm(tokens)
        packed = pack(tokens, layout) if padded else tokens
        return self._on_grid(packed, run_lengths, layout) if wanted else None, self._pool(packed, layout)

    def _checked_run_lengths(self, pixel_values: Tensor, run_lengths: Tensor | None, kwargs: dict) -> Tensor:
        """Check what the model was given; find the runs if it was given none."""
        if kwargs.get("bool_masked_pos") is not None:
            raise HfRltError("bool_masked_pos is VideoMAE's: pass run_lengths with 0 where a token is masked, else 1.")
        embed = self.embeddings.patch_embeddings
        if pixel_values is None or pixel_values.ndim != 5:
            received = None if pixel_values is None else tuple(pixel_values.shape)
            raise HfRltError(
                f"Expected pixel_values of shape (batch, frames, channels, height, width), received {received}."
            )
        expected = (self.config.num_channels, *embed.image_size)
        grid = grid_size(pixel_values.shape, embed.tubelet_size, embed.patch_size)  # not the rule's: this is compiled
        if tuple(pixel_values.shape[2:]) != expected or grid != embed.grid:
            raise HfRltError(
                f"Expected clips of {self.config.num_frames} frames of (channels, height, width) {expected}, received "
                f"{pixel_values.shape[1]} frames of {tuple(pixel_values.shape[2:])}: set the processor's num_frames and "
                "crop_size to the model's, or change num_frames and image_size in the configuration."
            )
        if run_lengths is None:
            with torch.no_grad():
                return self.config.run_rule.find(pixel_values)
        check_run_lengths(run_lengths, pixel_values.shape[0], embed.grid)
        return run_lengths.to(device=pixel_values.device, dtype=torch.int64)

    def _packed_arguments(self, tokens: Tensor, layout: PackedLayout) -> dict:
        """Say how the blocks keep clips apart; made once per forward."""
        if layout.is_uniform:
            return {}
        drops = self.training and self.config.drop_path_rate > 0
        options: dict = {"clip_ids": layout.clip_ids, "clips": layout.batch} if drops else {}
        if is_flash_attention_requested(self.config):
            for side in "qk":
                options |= {f"cu_seq_lens_{side}": layout.cu_seqlens, f"max_length_{side}": layout.max_length}
            return options
        if self.config._attn_implementation == "flex_attention":
            same_clip = packed_sequence_mask_function(layout.clip_ids[None])
            mask = create_bidirectional_mask(self.config, tokens, None, and_mask_function=same_clip)
            return {**options, "attention_mask": mask}
        return {**options, "sequence_lengths": layout.lengths}

    def _key_bias(self, lengths: Tensor) -> Tensor | None:
        """Make the bias `(B, 1, 1, n)` that counts a token of k tubelets k times as a key."""
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
        """Compute logits `(B, K)`, and the loss if `labels` are given.

        Args:
            pixel_values: `(B, F, C, H, W)`, or `(B, V, F, C, H, W)` for V views of each clip: the logits are then the
                logarithm of the mean of the views' probabilities.
            labels: `(B,)` class indices, or `(B, K)` float targets (mixup, cutmix) for soft-target cross-entropy; -100 (in
                all of a row) leaves a clip out.
            run_lengths: `(B, N)` or `(B, V, N)` int64; None finds runs with `config.threshold`.
            **kwargs: options of transformers; `num_items_in_batch` scales the loss for gradient accumulation.

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
            states = states and tuple(each.unflatten(0, (-1, views)) for each in states)
            attentions = attentions and tuple(each.unflatten(0, (-1, views)) for each in attentions)
        loss = None if labels is None else self._loss(labels, logits, **kwargs)
        return RLTVideoMAEClassifierOutput(
            loss=loss, logits=logits, hidden_states=states, attentions=attentions, run_lengths=used
        )

    def classify_pooled(self, pooled: Tensor, views: int | None = None) -> Tensor:
        """Compute logits `(B, K)` of the base model's pool: `(B, D)`, or `(B * views, D)` for several views per clip."""
        logits = self.classifier(pooled if self.fc_norm is None else self.fc_norm(pooled))
        if views is None:
            return logits
        logits = logits.unflatten(0, (-1, views))
        return logits.log_softmax(-1).logsumexp(1) - math.log(views) if self._one_class else logits.mean(1)

    @property
    def _one_class(self) -> bool:
        """Whether a clip has one class, and its logits are those of a softmax."""
        return self.num_labels > 1 and self.config.problem_type not in ("regression", "multi_label_classification")

    def _loss(self, labels: Tensor, logits: Tensor, num_items_in_batch: Tensor | int | None = None, **kwargs) -> Tensor:
        if not self._one_class:
            return self.loss_function(labels, logits, self.config)
        soft = labels.is_floating_point()
        if soft and labels.shape != logits.shape:
            expected = f"Expected float labels of shape {tuple(logits.shape)}, or integer class indices"
            raise HfRltError(f"{expected}, received {tuple(labels.shape)}.")
        # Rows of -100, clips to leave out, weigh nothing: integers are ignored by cross_entropy, targets become zeros.
        targets = labels.to(logits.device).float().clamp(min=0) if soft else labels.to(logits.device).view(-1)
        total = F.cross_entropy(logits.float(), targets, reduction="sum")
        counted = labels.ne(-100).sum() if num_items_in_batch is None else num_items_in_batch
        items = torch.as_tensor(counted, device=total.device)
        # Trainer counts every element of a float label as an item: num_labels per clip.
        return total / (items / self.num_labels if soft else items).clamp(min=1).to(total)


read_old_keys(RLTVideoMAEModel.__name__)

__all__ = ["RLTVideoMAEForVideoClassification", "RLTVideoMAEModel", "RLTVideoMAEPreTrainedModel"]
