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

TRACEBACK = "HF_RLT_TRACEBACK"
INTERRUPTED = 130  # exit code of a program that Ctrl-C ended, as shells have it


def print_line(console: Console, line: str) -> None:
    """Print a line that may name files as it is, however long and whatever is in it."""
    from ..errors import printable

    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def spinner(console: Console) -> Progress:
    """Return a progress line of a description and the time, gone when it ends; nothing where no terminal is.

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
def user_errors() -> Iterator[None]:
    """CLI error handling: for a user's mistake, or what the system says, print one line and exit with code 2.

    Anything else is a bug and shows its traceback. With HF_RLT_TRACEBACK=1 or `--traceback` everything does.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # as after `>&-`
                sys.stdout.flush()  # here, so that a full disk is reported in one line, too
    except BrokenPipeError:  # `hf-rlt ... | head`: whoever read has seen enough
        _give_up_stdout()
        raise SystemExit(1) from None
    except Exception as error:
        line = _one_line_of(error)
        if line is None or os.environ.get(TRACEBACK, "0") not in ("", "0"):
            raise
        typer.echo(f"hf-rlt: error: {line}", err=True)
        _give_up_stdout()
        raise SystemExit(2) from error


def _one_line_of(error: Exception) -> str | None:
    """Return what to tell the user about an error; None for a bug."""
    from ..errors import HfRltError, one_line, printable

    text = printable(one_line(error))
    # torch's own errors have no class of their own
    if isinstance(error, RuntimeError) and re.search("allocate memory|out of memory", str(error)):
        return f"not enough memory ({text[:160]}): ask for less."
    if isinstance(error, (MemoryError, OverflowError)):
        return f"not enough memory ({text[:160]}): ask for less."
    return text if isinstance(error, (HfRltError, OSError, ImportError)) else None


def _give_up_stdout() -> None:
    """Drop what cannot be written, or the interpreter would try again and complain at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
