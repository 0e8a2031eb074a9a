# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a command prints beside its results: progress, and the one line of an error."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..errors import HfRltError, one_line, printable


def say(console: Console, line: str) -> None:
    """Returns nothing; prints a line that may name files as it is, however long and whatever is in it."""
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def spinner(console: Console) -> Progress:
    """Returns a progress line of a description and the time, gone when it ends; nothing where no terminal is.

    Args:
        console: of stderr, so that results on stdout can be piped.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    # rich would send what is printed to this console, also when stdout is a file.
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Returns a context, also a decorator, in which a user's mistake ends the program with one line and exit code 2.

    What was printed is on its way when it ends, so that a full disk is such a mistake, too.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # as after `>&-`
                sys.stdout.flush()
    except BrokenPipeError:  # `hf-rlt ... | head`: whoever read has seen enough
        _give_up_stdout()
        raise SystemExit(1) from None
    except (MemoryError, OverflowError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("allocate memory|out of memory", str(error)):
            raise  # torch's own errors have no class of their own
        typer.echo(f"hf-rlt: error: not enough memory ({printable(one_line(error))[:160]}): ask for less.", err=True)
        raise SystemExit(2) from error
    except (HfRltError, OSError, ImportError) as error:
        typer.echo(f"hf-rlt: error: {printable(one_line(error))}", err=True)
        _give_up_stdout()
        raise SystemExit(2) from error


def _give_up_stdout() -> None:
    """Returns nothing; drops what cannot be written, or the interpreter would try again and complain at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
