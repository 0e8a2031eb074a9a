# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Run-Length Tokenization for Hugging Face video transformers."""

__version__ = "0.1.0"
