# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line, `hf-rlt`: one file for each command."""

import logging

import typer
from transformers.utils import logging as transformers_logging

from ..benchmark.commands import app as benchmark
from ..benchmark.model_commands import app as models
from .evaluate import evaluate

app = typer.Typer(help="Run-Length Tokenization for video transformers.", no_args_is_help=True, add_completion=False)
app.command()(evaluate)
benchmark.add_typer(models)
app.add_typer(benchmark, name="benchmark")


@app.callback()
def options() -> None:
    """Run-Length Tokenization for video transformers."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main() -> None:
    """Returns never; runs the command line."""
    app()
