# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line, `hf-rlt`: one file for each command.

Files of commands import torch and transformers inside functions only, so that `--help` answers at once.
"""

import logging
import os
from typing import Annotated

import typer

from .benchmark import benchmark
from .card import card
from .classify import classify
from .console import TRACEBACK, user_errors
from .convert import convert
from .draw import draw
from .evaluate import evaluate
from .finetune import finetune
from .predict import predict
from .tokens import tokens

app = typer.Typer(help="Run-Length Tokenization for video transformers.", no_args_is_help=True, add_completion=False)
for command in (classify, predict, evaluate, tokens, draw, convert, card, benchmark):
    app.command()(user_errors()(command))
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # fine-tuning has a parser of its own
app.command(context_settings=PASS_ON, add_help_option=False)(user_errors()(finetune))


@app.callback()
def setup(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of every error.")] = False,
) -> None:
    """Run-Length Tokenization for video transformers."""
    from transformers.utils import logging as transformers_logging

    if traceback:
        os.environ[TRACEBACK] = "1"
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main() -> None:
    """Run the command line."""
    with user_errors():  # printing help can fail, too
        app()
