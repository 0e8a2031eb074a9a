# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How many tokens RLT computes of videos: of one, or of folders with any number of them."""

from .count import CountConfig, TokenCount, count_video
from .count_many import CountFile, VideoCounts, count_tokens, count_videos, find

__all__ = [
    "CountConfig",
    "CountFile",
    "TokenCount",
    "VideoCounts",
    "count_tokens",
    "count_video",
    "count_videos",
    "find",
]
