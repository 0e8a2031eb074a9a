# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tune RLT-VideoMAE for video classification: `accelerate launch examples/finetune.py [options]`, see --help."""

from hf_rlt.training.finetune import main

if __name__ == "__main__":
    main()
