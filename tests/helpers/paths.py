# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Where things are in a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"  # clips that some tests read if they are there
CLIPS = SHARED / "clips"
REAL, ODD = CLIPS / "real", CLIPS / "odd"
EXAMPLES = ROOT / "examples"
SPACE = EXAMPLES / "space"
