# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Options of the rule: from the text of a command line to the settings that change."""

import math
import re
from collections.abc import Mapping
from typing import Any

from .errors import HfRltError
from .models.run_rule import RULE_SETTINGS, complete_changes


def rule_changes(given: Mapping[str, Any], separator: str = "_") -> dict[str, Any]:
    """Return the settings of the rule that options change, numbers as numbers, and what they clear.

    Args:
        given: values by the settings' names; None, or "model" as the threshold, leaves the model's own.
        separator: between the words of an option, for messages.

    Raises:
        HfRltError: for what is no number, or both a threshold and an exact number of tokens, which would ignore it.
    """
    found: dict[str, Any] = {
        name: given.get(name) for name in RULE_SETTINGS if name != "threshold" and given.get(name) is not None
    }
    for name in {"max_tokens", "num_tokens"} & set(found):
        found[name] = parse_tokens(f"--{name.replace('_', separator)}", found[name])
    text = str(given.get("threshold", "model"))
    if text.lower() == "model":
        return complete_changes(found)
    if "num_tokens" in found:
        name = f"--num{separator}tokens"
        raise HfRltError(
            f"Expected --threshold or {name}, which ignores it, received {text} and {given['num_tokens']}: leave one out."
        )
    return complete_changes({**found, "threshold": parse_threshold(text)})


def parse_threshold(text: str) -> float | None:
    """Return the value of `--threshold`: a number, or None for "none" (dense)."""
    if text.lower() == "none":
        return None
    try:
        if math.isfinite(found := float(text)):
            return found
    except ValueError:
        pass
    raise HfRltError(f"--threshold: expected a number, none or model, received {text!r}.")


def parse_tokens(option: str, text: str | float) -> float:
    """Return what an option says of tokens: a whole number, or a share if it has a decimal point."""
    if not re.fullmatch(r"\d+|\d*\.\d+|\d+\.", str(text)):
        raise HfRltError(
            f"{option}: expected a number of tokens such as 512, or a share such as 0.2, received {text!r}."
        )
    return float(text) if "." in str(text) else int(text)
