# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Measurements behind `hf-rlt benchmark`: one file for each table or figure, a JSON record for each run."""
