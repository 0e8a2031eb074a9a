# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How many tokens RLT computes of videos: of one, or of folders with any number of them."""

from .count import Question, TokenCount, count_video
from .count_many import Counted, CountFile, count_videos, find

__all__ = ["CountFile", "Counted", "Question", "TokenCount", "count_video", "count_videos", "find"]
