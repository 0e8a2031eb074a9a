# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Configuration of RLT-VideoMAE: VideoMAE's, plus three settings."""

import math
from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import VideoMAEConfig


@strict
class RLTVideoMAEConfig(VideoMAEConfig):
    """Configuration of an RLT-VideoMAE model: every field of `VideoMAEConfig`, and these.

    Args:
        threshold: a tubelet is dropped if its pixels differ from the previous tubelet's by at most this much (mean
            absolute difference of *normalised* pixels). Used when the model is called without `run_lengths`. None
            computes every token: VideoMAE bit for bit.
        length_embedding: whether a learned embedding of the run length is added to each token. The table starts at zero.
        drop_path_rate: stochastic depth per clip in the last block; it grows linearly from 0 over the blocks.

    Raises:
        A validation error naming the field, the values expected and the value received.

    Source: arXiv 2411.05222 section 3 (threshold 0.1, length encoding). Departure: the table starts at zero rather than
    at a truncated normal, so that a converted checkpoint equals training-free RLT.
    """

    model_type = "rlt_videomae"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["hidden_states", "attentions", "run_lengths"]

    threshold: float | int | None = 0.1
    length_embedding: bool = False
    drop_path_rate: float | int = 0.0

    def validate_run_length_settings(self) -> None:
        """Returns nothing; raises if threshold or drop_path_rate is out of range."""
        if self.threshold is not None and math.isnan(self.threshold):
            raise ValueError("Expected threshold to be a number or None, received NaN: pass 0.1, or None for dense.")
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f"Expected drop_path_rate in [0, 1), received {self.drop_path_rate}.")


__all__ = ["RLTVideoMAEConfig"]
