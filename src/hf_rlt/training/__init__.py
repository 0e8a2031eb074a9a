# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tuning with `Trainer`: arguments, recipes, checkpoints that resume, the job."""
