# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Draws the README's picture: a clip, and below it the patches RLT computes at two thresholds.

python docs/draw_greyed_clip.py CLIP [OUT.jpg]
"""

import sys
from pathlib import Path

import numpy as np

from hf_rlt import RLTVideoProcessor, find_runs
from hf_rlt.visualize import grey_dropped, pixels_to_frames, sheet

clip = sys.argv[1]
out = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).with_name("greyed_clip.jpg"))
processor = RLTVideoProcessor(frame_stride=1)
pixels = processor(clip, return_tensors="pt")["pixel_values"]
frames = pixels_to_frames(pixels[0], processor.image_mean, processor.image_std)
shown = np.arange(0, len(frames), 4)
rows = [frames[shown]]
for threshold in (0.1, 0.2):
    run_lengths = find_runs(pixels, threshold)[0]
    print(f"threshold {threshold}: {(run_lengths > 0).float().mean():.1%} of the tokens computed")
    rows.append(grey_dropped(frames, run_lengths)[shown])
sheet(rows).save(out, quality=85)
print(out)
