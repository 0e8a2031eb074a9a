# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`python -m benchmarks NAME`: one file per table or figure, a JSON record per run."""
