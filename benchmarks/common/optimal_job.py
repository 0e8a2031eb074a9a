# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line of `hf-rlt` with optimal runs as rules.

python -m benchmarks.common.optimal_job finetune --rule optimal --num_tokens 0.2       # p = 4; optimal_p1: p = 1
"""

from hf_rlt.cli import main

from . import optimal_runs  # noqa: F401  registers them, also in loading processes that import this anew

if __name__ == "__main__":
    main()
