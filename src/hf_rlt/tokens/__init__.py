# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How many tokens RLT computes of videos: of one, or of folders with any number of them."""

from .files import Counted, CountFile, count_videos, find
from .videos import Question, TokenCount, count_video

__all__ = ["CountFile", "Counted", "Question", "TokenCount", "count_video", "count_videos", "find"]
