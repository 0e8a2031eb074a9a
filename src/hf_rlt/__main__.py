# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`python -m hf_rlt`, and `accelerate launch -m hf_rlt`."""

from .cli import main

main()
