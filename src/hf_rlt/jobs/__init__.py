# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Long work over many files that survives interruptions and worker crashes."""
