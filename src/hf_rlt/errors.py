# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""How the command line ends when its user made a mistake: one line, exit code 2."""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from .data import one_line

MISTAKES = (ValueError, OSError, ImportError, StrictDataclassError, SafetensorError)


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
    except MISTAKES as error:
        typer.echo(f"hf-rlt: error: {printable(one_line(error))}", err=True)
        _give_up_stdout()
        raise SystemExit(2) from error


def printable(text: str) -> str:
    """Returns text, such as a file's name, that any terminal can print and that tells it to do nothing else.

    Bytes that are no text become question marks; control characters, line breaks and what turns the direction of writing
    around are written out, such as \\x1b.
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "\ufffd"
    turns = unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return ascii(character)[1:-1] if turns or kind in {"Cc", "Zl", "Zp"} else character


def _give_up_stdout() -> None:
    """Returns nothing; drops what cannot be written, or the interpreter would try again and complain at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
