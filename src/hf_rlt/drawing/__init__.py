# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Drawings of what RLT computes of a video: clips, sheets, GIFs and MP4s."""

from .animation import write_animation
from .drawn_clip import DrawnClip, draw_clip, draw_frames, draw_video, read_clip
from .overlays import label_rows
from .sheets import animated_rows, draw_sheet, plain_rows, write_drawing

__all__ = [
    "DrawnClip",
    "animated_rows",
    "draw_clip",
    "draw_frames",
    "draw_sheet",
    "draw_video",
    "label_rows",
    "plain_rows",
    "read_clip",
    "write_animation",
    "write_drawing",
]
