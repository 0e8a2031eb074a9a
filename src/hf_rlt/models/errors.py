# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The error that says a user made a mistake."""

from collections.abc import Iterable
from difflib import get_close_matches


class HfRltError(ValueError):
    """A mistake in what the user gave, such as a file, a setting or an array.

    The message is one sentence: what was expected, what was received, what to do. Errors of any other class, but for what
    the system says (OSError), are bugs.
    """


def check_spelling(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise HfRltError for the name of a setting that is not known but nearly one that is.

    Others pass: files and subclasses may have settings of their own.
    """
    known = list(known)
    for name in given:
        near = [] if name in known else get_close_matches(name, known, 1, 0.85)
        if near:
            raise HfRltError(f"Expected the name of a setting, received {name!r}: did you mean {near[0]!r}?")
