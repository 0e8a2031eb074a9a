# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a visitor of the Space can choose: the model, and what it drops."""

import filecmp
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, constants

from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.inference.loading import load
from hf_rlt.models.run_rule import RULES

HERE = Path(__file__).parent
DIGITS = "Digits (64 pixels, patches of 8)"
UNTRAINED = "VideoMAE-S, untrained (224 pixels, patches of 16)"
BUILT_IN = HERE / "digits"
CLIPS = sorted(str(path) for path in (HERE / "clips").glob("*.mp4"))
VIDEOMAE_S = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
ON_THE_HUB = ("MCG-NJU/videomae-base-finetuned-kinetics", "facebook/vjepa2-vitl-fpc16-256-ssv2")
MOST_BYTES = 4_000_000_000  # of a model that a visitor asks for
NO_LIMIT, AT_MOST, EXACTLY = "No limit", "At most", "Exactly"


def model_names(first: str | None = None) -> list[str]:
    """Return the models to choose from: `first`, those built in and, with a network, two of the Hub."""
    offline = constants.HF_HUB_OFFLINE
    return [*([first] if first else []), UNTRAINED, DIGITS, *(() if offline else ON_THE_HUB)]


@lru_cache(maxsize=2)
def open_model(name: str) -> tuple[Any, Any]:
    """Return a model by one of its names, or Hub id, and its processor.

    Raises:
        ValueError, OSError: if there is no such model, or it is no classifier of a supported family.
    """
    if name == UNTRAINED:  # how long a computation takes does not depend on the weights
        return RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**VIDEOMAE_S)), RLTVideoProcessor()
    return load(str(BUILT_IN if name == DIGITS else name))


def check_choice(name: str, known: list[str]) -> None:
    """Raise ValueError unless a model is one of the known ones, or a public one on the Hub that is not too large.

    No visitor opens a folder of the server, or with its token a private repository.
    """
    if name in known:
        return
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)) or Path(name).exists():
        raise ValueError(f"Expected the id of a model on the Hub, such as {ON_THE_HUB[0]}, received {name!r}.")
    check_public(name)


@lru_cache(maxsize=64)  # asked once, not at each move of a slider
def check_public(name: str) -> None:
    """Raise ValueError or OSError unless a model on the Hub is public and not too large."""
    info = HfApi().model_info(name, files_metadata=True, token=False)
    size = sum(file.size or 0 for file in info.siblings or ())
    if size > MOST_BYTES:
        raise ValueError(
            f"{name}: expected at most {MOST_BYTES / 1e9:g} GB of files, found {size / 1e9:.1f}: run the page yourself."
        )


def is_of_digits(video: str) -> bool:
    """Return whether a video is one of the page's own clips of digits, whatever it is called."""
    own = (clip for clip in CLIPS if Path(clip).name.startswith("digit_"))
    return any(filecmp.cmp(video, clip, shallow=False) for clip in own)


def knows(model: str, video: str) -> bool:
    """Return whether what a model says of a video means something."""
    return is_of_digits(video) if model == DIGITS else model != UNTRAINED


def needed_limit(rule: str, limit: str) -> str:
    """Return the limit, or for a rule that cannot do without a budget an exact one."""
    return EXACTLY if RULES[rule].needs_budget and limit == NO_LIMIT else limit


class Choice(NamedTuple):
    """What to drop, as the page's controls say it.

    Attributes:
        rule: see `hf_rlt.models.run_rule.RunRule`.
        threshold: of the rule; not used with an exact number of tokens.
        limit: whether there is a budget of tokens.
        share: of the tokens, for a budget.
    """

    rule: str
    threshold: float
    limit: str
    share: float

    @classmethod
    def of(cls, config: Any) -> "Choice":
        """Return the choice that a model comes with; a dense one is shown at the paper's threshold."""
        rule = config.run_rule
        limit = NO_LIMIT if rule.wanted_tokens is None else AT_MOST if rule.num_tokens is None else EXACTLY
        share = 0.25 if limit == NO_LIMIT else round(config.budget_tokens / math.prod(config.grid), 2)
        return cls(rule.rule, 0.1 if rule.threshold is None else rule.threshold, limit, share)

    def settings(self) -> dict[str, Any]:
        """Return the settings of a processor."""
        limit = needed_limit(self.rule, self.limit)
        tokens = {"max_tokens": AT_MOST, "num_tokens": EXACTLY}
        budget = {name: float(self.share) if limit == kind else None for name, kind in tokens.items()}
        groups = {"budget_groups": 1} if RULES[self.rule].needs_budget else {}
        return {"rule": self.rule, "threshold": float(self.threshold), **budget, **groups}
