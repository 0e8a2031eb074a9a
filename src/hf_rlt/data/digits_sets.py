# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The built-in sets by name."""

from collections.abc import Callable
from pathlib import Path

from ..errors import HfRltError
from .digits import DigitsSettings
from .hard_digits import HardDigitsSettings
from .rendered import RenderSettings, render_set

DIGITS_SETS: dict[str, type[RenderSettings]] = {each.set_name: each for each in (DigitsSettings, HardDigitsSettings)}


def digits_settings(name: str, **changes: int) -> RenderSettings:
    """Return the settings of the built-in set `name`, with changes; raise HfRltError if there is none of this name."""
    if name not in DIGITS_SETS:
        raise HfRltError(f"--digits_set: expected {' or '.join(DIGITS_SETS)}, received {name!r}.")
    return DIGITS_SETS[name](**changes)


def render_digits(
    folder: str | Path | None = None,
    settings: RenderSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the standard set, or the one of the settings, unless it is there already: see `render_set`."""
    return render_set(folder, settings or DigitsSettings(), progress)
