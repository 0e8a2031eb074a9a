# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the benchmarks share: records, tables, pictures, the paper's numbers, methods, options."""
