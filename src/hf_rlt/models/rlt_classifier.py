# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the classifiers of all families share: views, logits and losses."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_outputs import ImageClassifierOutput

from .errors import HfRltError
from .packing import Layout
from .rlt_model import RLTModelOutput


@dataclass
class RLTClassifierOutput(ImageClassifierOutput):
    """Output of a classifier: `ImageClassifierOutput` and the `run_lengths` that were used."""

    run_lengths: Tensor | None = None


class RLTClassifierMixin:
    """Views, logits and losses of a classifier, which has `num_labels`, `base_model` and `head`."""

    config: Any
    num_labels: int
    base_model: Any
    loss_function: Any

    def head(self, pooled: Tensor) -> Tensor:
        """Compute logits of a pool."""
        raise NotImplementedError

    def encode(self, pixel_values: Tensor, run_lengths: Tensor | None = None, **kwargs) -> RLTModelOutput:
        """Run the encoder; `pooler_output` is what `classify_pooled` takes."""
        return self.base_model(pixel_values, run_lengths=run_lengths, **kwargs)

    def pool_tokens(self, tokens: Tensor, layout: Layout, options: dict[str, Any]) -> Tensor:
        """Pool the computed tokens of each clip as the head wants them: `(B, D)`."""
        return self.base_model.pool(tokens, layout, options)

    def classify(
        self, pixel_values: Any, labels: Tensor | None, run_lengths: Tensor | None, kwargs: dict[str, Any]
    ) -> RLTClassifierOutput:
        """Compute what the forward of a classifier returns."""
        if kwargs.get("tubelets") is not None:
            pixel_values = self.base_model.join(kwargs.pop("tubelets"), run_lengths, pixel_values)
        views = pixel_values.shape[1] if pixel_values is not None and pixel_values.ndim == 6 else None
        if views is not None:
            pixel_values = pixel_values.flatten(0, 1)
            run_lengths = None if run_lengths is None else run_lengths.flatten(0, 1)
        kwargs.setdefault("return_last_hidden_state", False)
        outputs = self.encode(pixel_values, run_lengths=run_lengths, **kwargs)
        pooled: Any = outputs.pooler_output
        logits = self.classify_pooled(pooled, views)
        used, states, attentions = outputs.run_lengths, outputs.hidden_states, outputs.attentions
        if views is not None and used is not None:
            used = used.unflatten(0, (-1, views))
            states = states and tuple(each.unflatten(0, (-1, views)) for each in states)
            attentions = attentions and tuple(each.unflatten(0, (-1, views)) for each in attentions)
        loss = None if labels is None else self._loss(labels, logits, **kwargs)
        return RLTClassifierOutput(
            loss=loss, logits=logits, hidden_states=states, attentions=attentions, run_lengths=used
        )

    def classify_pooled(self, pooled: Tensor, views: int | None = None) -> Tensor:
        """Compute logits `(B, K)` of the base model's pool: `(B, D)`, or `(B * views, D)` for several views per clip."""
        logits = self.head(pooled)
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
