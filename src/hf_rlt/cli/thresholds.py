# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Thresholds as the command line gives them."""

import math
from typing import Literal

from ..errors import HfRltError


def parse_threshold(text: str) -> float | Literal["model"] | None:
    """Return the threshold of `--threshold`: a number, None for "none" (dense), or "model" (the model's own)."""
    if text.lower() == "model":
        return "model"
    if text.lower() == "none":
        return None
    try:
        return finite(float(text))
    except ValueError:
        raise HfRltError(f"--threshold: expected a number, none or model, received {text!r}.") from None


def finite(threshold: float) -> float:
    """Return a threshold; raise HfRltError unless it is a number."""
    if not math.isfinite(threshold):
        raise HfRltError(f"--threshold: expected a number, received {threshold}.")
    return threshold
