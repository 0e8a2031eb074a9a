# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What RLT is compared with, on the same checkpoints: random masking, ToMe, STA."""
