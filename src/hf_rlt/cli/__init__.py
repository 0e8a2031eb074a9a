# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line, `hf-rlt`: one file for each command."""

import logging

import typer
from transformers.utils import logging as transformers_logging

from .card import card
from .classify import classify
from .console import one_line_errors
from .convert import convert
from .draw import draw
from .evaluate import evaluate
from .predict import predict_command
from .tokens import tokens

app = typer.Typer(help="Run-Length Tokenization for video transformers.", no_args_is_help=True, add_completion=False)
app.command()(card)
app.command()(classify)
app.command()(convert)
app.command()(draw)
app.command()(evaluate)
app.command("predict")(predict_command)
app.command()(tokens)


@app.callback()
def options() -> None:
    """Run-Length Tokenization for video transformers."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main() -> None:
    """Returns never; runs the command line."""
    with one_line_errors():  # printing a result can fail, too
        app()
