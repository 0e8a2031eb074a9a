# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line, `hf-rlt`: one file for each command.

Files of commands import torch and transformers inside functions only, so that `--help` answers at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..errors import TRACEBACK
from .benchmark import benchmark
from .card import card
from .classify import classify
from .console import quiet_libraries, user_errors
from .convert import convert
from .draw import draw
from .evaluate import evaluate
from .export import export
from .finetune import finetune
from .options import expand_options
from .predict import predict
from .tokens import tokens
from .watch import watch

COMMANDS = (classify, watch, predict, evaluate, tokens, draw, convert, export, card, benchmark)
app = typer.Typer(help="Run-Length Tokenization for video transformers.", no_args_is_help=True, add_completion=False)


@contextmanager
def running() -> Iterator[None]:
    """Context of a command: libraries print no logs or progress bars, and errors are handled."""
    with user_errors():
        quiet_libraries()  # here, not in the callback: it imports transformers, which `hf-rlt COMMAND --help` does without
        yield


for command in COMMANDS:
    app.command()(expand_options(running()(command)))
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # fine-tuning has a parser of its own
app.command(context_settings=PASS_ON, add_help_option=False)(user_errors()(finetune))


@app.callback()
def setup(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of every error.")] = False,
) -> None:
    """Run-Length Tokenization for video transformers."""
    if traceback:
        os.environ[TRACEBACK] = "1"


def main() -> None:
    """Run the command line."""
    with user_errors():  # printing help can fail, too
        app()
