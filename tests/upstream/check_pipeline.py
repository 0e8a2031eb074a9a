# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""transformers' pipeline tests, for VideoMAE and V-JEPA 2 (the stock cases) and RLT's. See `run.py`.

The source distribution leaves out `tests/pipelines` and the list of tiny models that the mixin reads: without a checkout
(`--sdist`) all of this is skipped, and with one it needs the Hub for stock, and tiny RLT models in the folder named by
`TRANSFORMERS_TINY_MODEL_PATH` for ours.
"""

import unittest

import pytest
from transformers import VideoMAEForVideoClassification, VideoMAEModel, VJEPA2ForVideoClassification, VJEPA2Model

from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from hf_rlt.models.modeling_rlt_vjepa2 import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model

try:
    from tests.test_pipeline_mixin import PipelineTesterMixin
except (ImportError, OSError):

    class PipelineTesterMixin:
        """Stands in for the mixin where it cannot be imported."""

        def test_pipeline_video_classification(self) -> None:
            pytest.skip("the source distribution of transformers has no tests/pipelines")


class StockVideoMAETest(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {  # noqa: RUF012
        "feature-extraction": VideoMAEModel,
        "video-classification": VideoMAEForVideoClassification,
    }


class RLTVideoMAETest(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {  # noqa: RUF012
        "feature-extraction": RLTVideoMAEModel,
        "video-classification": RLTVideoMAEForVideoClassification,
    }


class StockVJEPA2Test(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {  # noqa: RUF012
        "feature-extraction": VJEPA2Model,
        "video-classification": VJEPA2ForVideoClassification,
    }


class RLTVJEPA2Test(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {  # noqa: RUF012
        "feature-extraction": RLTVJEPA2Model,
        "video-classification": RLTVJEPA2ForVideoClassification,
    }
