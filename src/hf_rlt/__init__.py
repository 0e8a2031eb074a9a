# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Run-Length Tokenization for Hugging Face video transformers. Importing it registers the Auto classes."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import baselines
    from .drawing import draw_clip as draw
    from .families import register
    from .inference.compare import compare
    from .inference.evaluate import evaluate_model as evaluate
    from .inference.loading import load
    from .inference.predict import predict
    from .models.configuration_rlt_videomae import RLTVideoMAEConfig
    from .models.configuration_rlt_vjepa2 import RLTVJEPA2Config
    from .models.errors import HfRltError
    from .models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
    from .models.modeling_rlt_vjepa2 import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model
    from .models.run_rule import RunRule, find_runs
    from .models.runs import fill_runs
    from .models.video_processing_rlt import RLTVideoProcessor
    from .models.video_processing_rlt_vjepa2 import RLTVJEPA2VideoProcessor

__version__ = "0.1.0"

_MODULES = {  # of each name; after a colon what it is called there
    "compare": "inference.compare",
    "draw": "drawing:draw_clip",
    "evaluate": "inference.evaluate:evaluate_model",
    "load": "inference.loading",
    "predict": "inference.predict",
    "RLTVJEPA2Config": "models.configuration_rlt_vjepa2",
    "RLTVJEPA2ForVideoClassification": "models.modeling_rlt_vjepa2",
    "RLTVJEPA2Model": "models.modeling_rlt_vjepa2",
    "RLTVJEPA2VideoProcessor": "models.video_processing_rlt_vjepa2",
    "RLTVideoMAEConfig": "models.configuration_rlt_videomae",
    "RLTVideoMAEForVideoClassification": "models.modeling_rlt_videomae",
    "RLTVideoMAEModel": "models.modeling_rlt_videomae",
    "RLTVideoProcessor": "models.video_processing_rlt",
    "RunRule": "models.run_rule",
    "fill_runs": "models.runs",
    "find_runs": "models.run_rule",
    "HfRltError": "models.errors",
    "register": "families",
}

__all__ = [
    "HfRltError",
    "RLTVJEPA2Config",
    "RLTVJEPA2ForVideoClassification",
    "RLTVJEPA2Model",
    "RLTVJEPA2VideoProcessor",
    "RLTVideoMAEConfig",
    "RLTVideoMAEForVideoClassification",
    "RLTVideoMAEModel",
    "RLTVideoProcessor",
    "RunRule",
    "baselines",
    "compare",
    "draw",
    "evaluate",
    "fill_runs",
    "find_runs",
    "load",
    "predict",
    "register",
]


def __getattr__(name: str) -> Any:
    if name == "baselines":
        return import_module(".baselines", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, other = _MODULES[name].partition(":")
    return getattr(import_module(f".{module}", __name__), other or name)


# Only the program hf-rlt waits: it answers --help without importing torch, and its commands import what they need.
if Path(sys.argv[0] if sys.argv else "").stem != "hf-rlt":
    import_module(".baselines", __name__)
