# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line of `hf-rlt` with optimal runs as rules.

python -m benchmarks.common.optimal_job finetune --rule optimal --num_tokens 0.2       # p = 4; optimal_p1: p = 1
"""

from hf_rlt.cli import main
from hf_rlt.models.run_rule import RULES

from .optimal_runs import OPTIMAL

RULES.update(OPTIMAL)  # also in loading processes, if they import this file anew

if __name__ == "__main__":
    main()
