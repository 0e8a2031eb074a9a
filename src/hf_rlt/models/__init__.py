# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a Hub repository carries: flat files that import each other as `from .x import y`, and nothing else of hf_rlt."""
