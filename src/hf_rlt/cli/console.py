# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a command prints beside its results: progress, and the one line of an error."""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Self

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..errors import HfRltError, one_line, printable, traceback_wanted

BEGAN = time.monotonic()  # this file is imported before PyTorch
INTERRUPTED = 130  # exit code of a program that Ctrl-C ended, as shells have it


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: not wrapped, no markup, and with control characters written out."""
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """Switch off the logs and progress bars of libraries, up to errors; without importing them, which takes seconds."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if "transformers" in sys.modules:  # which has read these
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
    logging.getLogger("httpx").setLevel(logging.WARNING)


def spinner(console: Console) -> Progress:
    """Return a progress line with a description and the time, which disappears at the end; nothing without a terminal.

    Args:
        console: of stderr, so that results on stdout can be piped.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    # otherwise rich sends what is printed to this console, even if stdout is a file
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )


class VideoProgress:
    """Show how far a job over many videos, or other items, is: how many are done, the rate, the time left, how many are bad.

    On a terminal one line that is rewritten; elsewhere, as in a log file, a line each minute. Use it in a `with` block.

    Attributes:
        total: number of videos; None while that is not known.
        unit: what they are called, in the plural.
        done, known, bad: videos so far; of these, those known before, and those that cannot be read.
    """

    def __init__(self, console: Console, total: int | None = None, unit: str = "videos") -> None:
        self.console, self.total, self.unit = console, total, unit
        self.done = self.known = self.bad = 0
        self._start = self._said = time.monotonic()  # the rate is that of the work, without loading
        self._line = spinner(console)

    def __enter__(self) -> Self:
        self._line.start()
        self._task = self._line.add_task("starting")
        return self

    def __exit__(self, *error: object) -> None:
        self._line.stop()

    def expect(self, total: int) -> None:
        """Take note of how many videos there will be, and that work begins."""
        self.total, self._start = total, time.monotonic()
        self.show()

    def reach(self, done: int, total: int) -> None:
        """Take note that so many of so many videos are done."""
        self.done, self.total = done, total
        self.show()

    def add(self, *, known: bool = False, bad: bool = False) -> None:
        """Count an item."""
        self.done, self.known, self.bad = self.done + 1, self.known + known, self.bad + bad
        self.show()

    def show(self) -> None:
        """Say how far the job is."""
        self._line.update(self._task, description=str(self))
        if not self.console.is_terminal and time.monotonic() - self._said > 60:
            self._said = time.monotonic()
            print_line(self.console, str(self))

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - BEGAN

    def __str__(self) -> str:
        rate = (self.done - self.known) / max(time.monotonic() - self._start, 1e-9)
        parts = [f"{self.done:,} {self.unit}" if self.total is None else f"{self.done:,} of {self.total:,} {self.unit}"]
        parts += [f"{self.known:,} known"] if self.known else []
        parts += [f"{self.bad:,} unreadable"] if self.bad else []
        if rate > 0:
            parts.append(f"{rate:.1f} per second" if rate >= 1 else f"{1 / rate:.1f} seconds each")
            if self.total is not None and self.done < self.total:
                parts.append(f"{timedelta(seconds=round((self.total - self.done) / rate))} left")
        return ", ".join(parts)


@contextmanager
def user_errors() -> Iterator[None]:
    """CLI error handling: for a user's mistake or an error of the system print one line, and exit with code 2.

    Anything else is a bug and shows its traceback. With HF_RLT_TRACEBACK=1 or `--traceback` everything does.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # as after `>&-`
                sys.stdout.flush()  # here, so that a full disk is reported in one line, too
    except BrokenPipeError:  # `hf-rlt ... | head` has read enough
        _give_up_stdout()
        raise SystemExit(1) from None
    except Exception as error:
        line = _one_line_of(error)
        if line is None or traceback_wanted():
            raise
        typer.echo(f"hf-rlt: error: {line}", err=True)
        _give_up_stdout()
        raise SystemExit(2) from error


def _one_line_of(error: Exception) -> str | None:
    """Return what to tell the user about an error; None for a bug."""
    text = printable(one_line(error))
    # torch's own errors have no class of their own
    of_torch = isinstance(error, RuntimeError) and re.search("allocate memory|out of memory", str(error))
    if of_torch or isinstance(error, (MemoryError, OverflowError)):
        return f"not enough memory ({text[:160]}): ask for less."
    return text if isinstance(error, (HfRltError, OSError)) else None


def _give_up_stdout() -> None:
    """Discard unwritten output; otherwise the interpreter tries again at its end, and complains."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
