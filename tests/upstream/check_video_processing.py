# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""transformers' common video processor tests, for VideoMAE's and V-JEPA 2's (the stock cases) and RLT's. See `run.py`."""

import unittest

from tests.test_video_processing_common import VideoProcessingTestMixin, prepare_video_inputs
from transformers import VideoMAEVideoProcessor, VJEPA2VideoProcessor

from hf_rlt import RLTVideoProcessor
from hf_rlt.models.video_processing_rlt_vjepa2 import RLTVJEPA2VideoProcessor


class ProcessorTester:
    """What the mixin asks of a processor tester: settings, videos, the shape to expect."""

    batch_size = 5
    num_frames = 8
    num_channels = 3

    settings = {  # noqa: RUF012
        "do_resize": True,
        "size": {"shortest_edge": 20},
        "do_center_crop": True,
        "crop_size": {"height": 18, "width": 18},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }

    def expected_output_video_shape(self, videos) -> tuple[int, ...]:
        return self.num_frames, self.num_channels, 18, 18

    def prepare_video_inputs(self, equal_resolution: bool = False, return_tensors: str = "pil") -> list:
        sizes = {"min_resolution": 30, "max_resolution": 80}
        return prepare_video_inputs(
            self.batch_size,
            self.num_frames,
            self.num_channels,
            equal_resolution=equal_resolution,
            return_tensors=return_tensors,
            **sizes,
        )


class CommonTests(VideoProcessingTestMixin):
    input_name = "pixel_values"

    def setUp(self) -> None:
        super().setUp()
        self.video_processor_tester = ProcessorTester()

    @property
    def video_processor_dict(self) -> dict:
        return dict(self.video_processor_tester.settings)

    def test_its_input_name_is_known(self) -> None:
        assert self.input_name in self.fast_video_processing_class().model_input_names


class StockVideoMAETest(CommonTests, unittest.TestCase):
    fast_video_processing_class = VideoMAEVideoProcessor


class RLTVideoMAETest(CommonTests, unittest.TestCase):
    fast_video_processing_class = RLTVideoProcessor


class StockVJEPA2Test(CommonTests, unittest.TestCase):
    fast_video_processing_class = VJEPA2VideoProcessor
    input_name = "pixel_values_videos"


class RLTVJEPA2Test(CommonTests, unittest.TestCase):
    fast_video_processing_class = RLTVJEPA2VideoProcessor

    def test_call_sample_frames(self) -> None:
        """Our clips have 64 frames unless told otherwise, stock's as many as `fps` gives: tell it how many that are."""
        self.video_processor_tester.settings = {**ProcessorTester.settings, "num_frames": 6}
        super().test_call_sample_frames()
