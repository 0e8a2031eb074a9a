# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`python -m benchmarks NAME`."""

from .commands import app
from .cost_commands import app as costs
from .model_commands import app as models

app.add_typer(models)
app.add_typer(costs)

if __name__ == "__main__":
    app()
