# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The error that says a user made a mistake."""


class HfRltError(ValueError):
    """A mistake in what the user gave, such as a file, a setting or an array.

    The message is one sentence: what was expected, what was received, what to do. Errors of any other class, but for what
    the system says (OSError), are bugs.
    """
