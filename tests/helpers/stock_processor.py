# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""transformers' own video processor, to compare pixels with."""

from transformers.video_processing_utils import BaseVideoProcessor

from hf_rlt import RLTVideoProcessor


class StockProcessor(BaseVideoProcessor):
    """Has the settings of ours and nothing else."""

    resample, default_to_square = 2, False
    image_mean, image_std = RLTVideoProcessor.image_mean, RLTVideoProcessor.image_std
    do_resize = do_center_crop = do_rescale = do_normalize = do_convert_rgb = True
