# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A model family of its own: what somebody adds who wants RLT in another network."""

from hf_rlt.families import Family, register_family

from .configuration_toy import ToyConfig
from .modeling_toy import ToyForVideoClassification, ToyModel

register_family(Family(ToyConfig, ToyModel, ToyForVideoClassification, carries_code=True))

__all__ = ["ToyConfig", "ToyForVideoClassification", "ToyModel"]
