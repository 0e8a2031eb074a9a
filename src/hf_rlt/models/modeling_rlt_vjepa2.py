# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLT-V-JEPA 2: V-JEPA 2 over the computed tokens of each clip, packed without padding."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.vjepa2.modeling_vjepa2 import (
    VJEPA2Predictor,
    VJEPA2WithMaskedInputPredictorOutput,
    apply_masks,
)
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs, can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention_rlt_vjepa2 import rotary_tables
from .configuration_rlt_vjepa2 import RLTVJEPA2Config
from .errors import HfRltError
from .layers_rlt_vjepa2 import RLTVJEPA2AttentivePooler, RLTVJEPA2Encoder
from .packing import Layout, PackedLayout, PaddedLayout
from .pretrained_rlt_vjepa2 import RLTVJEPA2PreTrainedModel
from .rlt_classifier import RLTClassifierMixin, RLTClassifierOutput
from .rlt_model import Pool, RLTModelMixin, RLTModelOutput
from .runs import grid_size


@dataclass
class RLTVJEPA2ModelOutput(RLTModelOutput):
    """Output of `RLTVJEPA2Model`: that of every encoder, and V-JEPA 2's two, which are None unless they are asked for.

    Attributes:
        masked_hidden_state: tokens of the grid at `context_mask`.
        predictor_output: what the predictor makes of them at `target_mask`.
    """

    masked_hidden_state: Tensor | None = None
    predictor_output: VJEPA2WithMaskedInputPredictorOutput | None = None


class RLTVJEPA2Model(RLTModelMixin, RLTVJEPA2PreTrainedModel):
    """The encoder, `(B, F, C, H, W)` clips in, `(B, N, D)` tokens out, and the predictor, which runs only if asked to."""

    def __init__(self, config: RLTVJEPA2Config) -> None:
        super().__init__(config)
        self.encoder = RLTVJEPA2Encoder(config)
        self.predictor = VJEPA2Predictor(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the patch embeddings."""
        return self.encoder.embeddings.patch_embeddings

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: Tensor | None = None,
        run_lengths: Tensor | None = None,
        return_last_hidden_state: bool = True,
        *,
        pixel_values_videos: Tensor | None = None,
        tubelets: Tensor | None = None,
        context_mask: list[Tensor] | None = None,
        target_mask: list[Tensor] | None = None,
        skip_predictor: bool = True,
        pool: Pool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTVJEPA2ModelOutput:
        """Compute the tokens on the grid, their pool, and the run lengths used.

        Args:
            pixel_values: `(B, F, C, H, W)` normalised clips of any number of frames.
            run_lengths: `(B, N)` int64 from the processor; None finds runs in float32 with `config.run_rule`.
            return_last_hidden_state: whether `last_hidden_state` is wanted; a head that only pools saves the copy.
            pixel_values_videos: V-JEPA 2's name of `pixel_values`.
            tubelets: `(L, s, C, p, p)` in place of `pixel_values`: the computed ones alone, in the order of `run_lengths`.
            context_mask: `(B, n)` positions that the predictor sees, in a list; all unless given.
            target_mask: `(B, n)` positions that it predicts, in a list; all unless given.
            skip_predictor: False runs the predictor on the tokens of the grid. Departure: V-JEPA 2's default is False.
            pool: makes `pooler_output` of the packed tokens; their mean unless given.
            **kwargs: `output_hidden_states`, `output_attentions` and other options of transformers.
        """
        pixel_values, found = one_input(pixel_values, pixel_values_videos), run_lengths is None
        if tubelets is not None:
            pixel_values = self.join(tubelets, run_lengths, pixel_values)
        if pixel_values is not None and pixel_values.ndim == 5 and pixel_values.shape[1] < self.config.tubelet_size:
            pixel_values = pixel_values.repeat(1, self.config.tubelet_size, 1, 1, 1)  # as V-JEPA 2 takes an image
        run_lengths = self._checked_run_lengths(pixel_values, run_lengths)
        layout = self._layout(run_lengths, self.clip_grid(pixel_values), found)
        tokens = self.encoder.embeddings(pixel_values, layout)
        wanted = return_last_hidden_state or not skip_predictor or context_mask is not None
        output = RLTVJEPA2ModelOutput(**self.encode(tokens, run_lengths, layout, kwargs, wanted, pool))
        if not skip_predictor or context_mask is not None:
            everything = [torch.arange(layout.positions, device=tokens.device).expand(layout.batch, -1)]
            context_mask = everything if context_mask is None else context_mask
            target_mask = everything if target_mask is None else target_mask
            output.masked_hidden_state = apply_masks(output.last_hidden_state, context_mask)
        if not skip_predictor:
            if self.config.interleave or self.config.interpolate_rope:
                raise HfRltError("The predictor has V-JEPA 2's positions only: leave skip_predictor=True.")
            states = output.last_hidden_state
            predicted = self.predictor(states, context_mask, target_mask, **kwargs).last_hidden_state
            output.predictor_output = VJEPA2WithMaskedInputPredictorOutput(
                last_hidden_state=predicted, target_hidden_state=apply_masks(states, target_mask)
            )
        return output

    def get_vision_features(self, pixel_values_videos: Tensor) -> Tensor:
        """Return the tokens of the grid `(B, N, D)`."""
        return self(pixel_values_videos).last_hidden_state

    def clip_grid(self, pixel_values: Tensor) -> tuple[int, int, int]:
        """Return the grid of clips of the model's size, and of any number of frames."""
        config, expected = self.config, self.config.clip_shape[1:]
        if tuple(pixel_values.shape[2:]) != expected:
            raise HfRltError(
                f"Expected clips of (channels, height, width) {expected}, received {tuple(pixel_values.shape[2:])}: set the "
                "processor's crop_size to the model's, or change crop_size in the configuration."
            )
        return grid_size(pixel_values.shape, config.tubelet_size, config.patch_size)

    def embed_tubelets(self, tubelets: Tensor, run_lengths: Tensor, layout: PaddedLayout) -> Tensor:
        """Embed tubelets: positions are in the attention."""
        return self.encoder.embeddings.patch_embeddings.proj(tubelets).view(*run_lengths.shape, -1)

    def blocks(self, tokens: Tensor, layout: Layout | None, options: dict[str, Any]) -> Tensor:
        """Compute the blocks; each token is rotated by its own place."""
        if layout is None or layout.is_dense:
            places = torch.arange(tokens.shape[1], device=tokens.device)[None]
        else:
            places = (layout.indices % layout.positions).view(tokens.shape[0], -1)
        config, device = self.config, tokens.device.type
        cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if cast else tokens.dtype
        size = config.hidden_size // config.num_attention_heads
        rotary = rotary_tables(places[..., None], config.grid[2], size, dtype, config.interleave, config.trained_side)
        return self.encoder(tokens, rotary, **options)


class RLTVJEPA2ForVideoClassification(RLTClassifierMixin, RLTVJEPA2PreTrainedModel):
    """RLT-V-JEPA 2 with its attentive pooler on each clip's computed tokens, and a linear classifier."""

    _base_model_class: type[RLTVJEPA2Model] = RLTVJEPA2Model

    def __init__(self, config: RLTVJEPA2Config) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.vjepa2 = self._base_model_class(config)
        self.pooler = RLTVJEPA2AttentivePooler(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels, bias=True)
        self.post_init()
        self._freeze_predictor()

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> Any:
        """Load a model; see `PreTrainedModel.from_pretrained`, which makes all weights trainable."""
        loaded = super().from_pretrained(*args, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded)._freeze_predictor()
        return loaded

    def _freeze_predictor(self) -> None:
        """Freeze what never runs here: data-parallel training would wait for its gradients."""
        self.vjepa2.predictor.requires_grad_(False)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        run_lengths: Tensor | None = None,
        *,
        pixel_values_videos: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RLTClassifierOutput:
        """Compute logits `(B, K)`, and the loss if `labels` are given.

        Args:
            pixel_values: `(B, F, C, H, W)`, or `(B, V, F, C, H, W)` for V views of each clip: the logits are then the
                logarithm of the mean of the views' probabilities.
            labels: `(B,)` class indices, or `(B, K)` float targets (mixup, cutmix) for soft-target cross-entropy; -100 (in
                all of a row) leaves a clip out.
            run_lengths: `(B, N)` or `(B, V, N)` int64; None finds runs with `config.run_rule`.
            pixel_values_videos: V-JEPA 2's name of `pixel_values`.
            **kwargs: `tubelets` `(L, s, C, p, p)` in place of `pixel_values`; options of transformers; `num_items_in_batch`
                scales the loss for gradient accumulation.
        """
        return self.classify(one_input(pixel_values, pixel_values_videos), labels, run_lengths, kwargs)

    def encode(self, pixel_values: Tensor, run_lengths: Tensor | None = None, **kwargs) -> RLTModelOutput:
        """Run the encoder and the attentive pooler."""
        return self.vjepa2(pixel_values, run_lengths=run_lengths, pool=self.pool_tokens, **kwargs)

    def head(self, pooled: Tensor) -> Tensor:
        """Compute logits `(B, K)` of a pool `(B, D)`."""
        return self.classifier(pooled)

    def pool_tokens(self, tokens: Tensor, layout: Layout, options: dict[str, Any]) -> Tensor:
        """Pool the computed tokens of each clip by the attentive pooler: `(B, D)`."""
        options = {name: value for name, value in options.items() if name not in ("clip_ids", "clips")}
        return self.pooler(tokens, layout, options, {**options, **self._crossing(tokens, layout, options)})

    def _crossing(self, tokens: Tensor, layout: Layout, options: dict[str, Any]) -> dict[str, Any]:
        """Say where attention from one query per clip differs from that among tokens."""
        if "cu_seq_lens_q" in options:
            ends = torch.arange(layout.batch + 1, dtype=torch.int32, device=tokens.device)
            return {"cu_seq_lens_q": ends, "max_length_q": 1}
        if "sequence_lengths" in options:
            return {"query_lengths": (1,) * layout.batch}
        if options.get("attention_mask") is None or not isinstance(layout, PackedLayout):
            return {}
        # Looked up by query: looked up by key, the CPU's kernel (torch 2.14) checks against the number of queries.
        starts, ends = layout.cu_seqlens[:-1], layout.cu_seqlens[1:]
        mask = create_bidirectional_mask(
            self.config,
            tokens[:, : layout.batch],
            None,
            encoder_hidden_states=tokens,
            and_mask_function=lambda batch, head, query, key: (starts[query] <= key) & (key < ends[query]),
        )
        return {"attention_mask": mask}


def one_input(pixel_values: Tensor | None, pixel_values_videos: Tensor | None) -> Any:
    """Return the clips by whichever name they were given; raise HfRltError if by both."""
    if pixel_values is not None and pixel_values_videos is not None:
        raise HfRltError(
            "Expected pixel_values or pixel_values_videos, another name of it, received both: leave one out."
        )
    return pixel_values_videos if pixel_values is None else pixel_values


__all__ = ["RLTVJEPA2ForVideoClassification", "RLTVJEPA2Model", "RLTVJEPA2PreTrainedModel"]
