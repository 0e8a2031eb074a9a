# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How the command line ends when its user made a mistake: one line, exit code 2."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from .data import one_line

MISTAKES = (ValueError, OSError, ImportError, StrictDataclassError, SafetensorError)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Returns a context, also a decorator, in which a user's mistake ends the program with one line and exit code 2."""
    try:
        yield
    except BrokenPipeError:  # `hf-rlt ... | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or closing it would fail again
        raise typer.Exit(1) from None
    except MISTAKES as error:
        typer.echo(f"hf-rlt: error: {one_line(error)}", err=True)
        raise typer.Exit(2) from error
