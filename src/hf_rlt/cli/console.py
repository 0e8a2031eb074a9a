# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The line on the terminal that says how far a command is."""

import sys

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..errors import printable


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
