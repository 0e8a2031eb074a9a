# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""transformers' pipeline tests, for VideoMAE (the stock case) and RLT-VideoMAE. See `run.py`.

The source distribution leaves out `tests/pipelines` and the list of tiny models that the mixin reads: without a checkout
(`--sdist`) all of this is skipped, and with one it needs the Hub for stock, and tiny RLT models in the folder named by
`TRANSFORMERS_TINY_MODEL_PATH` for ours.
"""

import unittest

import pytest
from transformers import VideoMAEForVideoClassification, VideoMAEModel

from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoMAEModel

try:
    from tests.test_pipeline_mixin import PipelineTesterMixin
except (ImportError, OSError):

    class PipelineTesterMixin:
        """Stands in for the mixin where it cannot be imported."""

        def test_pipeline_video_classification(self) -> None:
            pytest.skip("the source distribution of transformers has no tests/pipelines")


class StockTest(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {  # noqa: RUF012
        "feature-extraction": VideoMAEModel,
        "video-classification": VideoMAEForVideoClassification,
    }


class RLTTest(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {  # noqa: RUF012
        "feature-extraction": RLTVideoMAEModel,
        "video-classification": RLTVideoMAEForVideoClassification,
    }
