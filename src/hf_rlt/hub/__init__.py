# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a model folder carries to the Hub beside weights and code: its card, and the handler of Inference Endpoints."""

from .card import render, write_card, write_handler
from .card_metadata import CardSettings, build_metadata, parse_widget, read_card
from .model_facts import ModelFacts, read_facts
from .results import read_evaluation

__all__ = [
    "CardSettings",
    "ModelFacts",
    "build_metadata",
    "parse_widget",
    "read_card",
    "read_evaluation",
    "read_facts",
    "render",
    "write_card",
    "write_handler",
]
