# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify live video: cameras, streams, and files in real time."""

from .classifier import StreamClassifier, StreamPrediction
from .watch import Event, watch
from .window import SlidingWindow, Window

__all__ = ["Event", "SlidingWindow", "StreamClassifier", "StreamPrediction", "Window", "watch"]
