# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A model card's metadata: what we know, joined with what a person wrote."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import HfRltError
from .model_facts import RLT, ModelFacts
from .results import TASK, RLTCardData, merged, own_results, read_card

VIDEOMAE = "mcg-nju/videomae"
NON_COMMERCIAL = "cc-by-nc-4.0"
OUR_TAGS = {
    RLT: ["rlt", "run-length-tokenization"],
    "random_masking_videomae": ["random-masking"],
    "tome_videomae": ["tome", "token-merging"],
    "sta_videomae": ["sta", "semantic-aware-temporal-accumulation"],
}
MANAGED_TAGS = {
    *(tag for tags in OUR_TAGS.values() for tag in tags),
    TASK,
    "videomae",
    "custom_code",
    "endpoints-template",
}


@dataclass(frozen=True)
class CardSettings:
    """What a person says of a model beyond its folder. None and empty: as the card has it, or unknown.

    Attributes:
        repo_id: of the model on the Hub.
        base_model: Hub id of what it was made from, or a folder, whose card then says.
        license: identifier of the licence, as the Hub spells it.
        dataset: Hub id or name of the data set that it was trained and evaluated on.
        evaluations: results on that data set, see `results.own_results`.
        widget: examples for the model's page, see `parse_widget`.
    """

    repo_id: str | None = None
    base_model: str | None = None
    license: str | None = None
    dataset: str | None = None
    evaluations: Sequence[Mapping[str, Any]] = ()
    widget: Sequence[Mapping[str, Any]] = ()


def parse_widget(text: str, folder: str | Path) -> dict[str, str]:
    """Returns `{"src": ..., "example_title": ...}` of `URL`, `URL=TITLE` or `FILE=TITLE`, the file inside the folder.

    A title is what follows the `=` right behind the file's extension, so addresses may hold queries.

    Raises:
        ValueError: if it is no address and no file in the folder.
    """
    found = re.fullmatch(r"(.+?\.\w{2,4})=(.+)", text)
    source, title = found.groups() if found else (text, "")
    if not source.startswith(("http://", "https://")):
        root, path = Path(folder).resolve(), (Path(folder) / source).resolve()
        if not path.is_file() or not path.is_relative_to(root):
            raise HfRltError(
                f"--widget {source}: expected an http(s) address or a file inside {folder}, found neither: copy the clip "
                "there first."
            )
        source = path.relative_to(root).as_posix()
    return {"src": source, "example_title": title or Path(source.split("?")[0]).stem}


def build_metadata(facts: ModelFacts, settings: CardSettings, existing: RLTCardData | None = None) -> RLTCardData:
    """Returns a card's metadata. What a person wrote stays where the settings and the model do not say otherwise.

    Raises:
        ValueError: if an id is none, evaluations come without a data set, or the licence is not the base model's.
    """
    existing = RLTCardData() if existing is None else existing
    base, inherited = resolve_base(settings.base_model)
    base = base or existing.base_model
    results = existing.eval_results or []
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": TASK,
        "license": choose_license(base, settings.license, inherited or existing.license),
        "base_model": base,
        "base_model_relation": "finetune" if base and facts.training else existing.get("base_model_relation"),
        "datasets": _datasets(settings.dataset, existing.datasets),
        "tags": _tags(facts, existing.tags),
        "metrics": existing.metrics or ["accuracy"],
        "widget": _widget(settings.widget, existing.get("widget")),
        "model_name": _model_name(settings.repo_id) or existing.model_name or facts.name,
        "eval_results": merged(results, _own(facts, settings, results)),
    }
    others = {key: value for key, value in existing.__dict__.items() if key not in fields}
    return RLTCardData(**{key: value for key, value in {**fields, **others}.items() if _is_given(value)})


def _own(facts: ModelFacts, settings: CardSettings, existing: Sequence[EvalResult]) -> list[EvalResult]:
    """Returns the results to add: those given, or training's own where the card has none."""
    if settings.dataset is None:
        if settings.evaluations:
            raise HfRltError("Expected the data set that the results are of, received none: pass --dataset NAME.")
        return []
    evaluations = list(settings.evaluations)
    if not evaluations and facts.results and all(result.source_url for result in existing):
        evaluations = [facts.results]
    return [result for each in evaluations for result in own_results(each, settings.dataset, facts.clip[0])]


def resolve_base(base: str | None) -> tuple[Any, str | None]:
    """Returns the Hub id of a base model and a licence to inherit; of a folder, what its card says. Paths stay private.

    Raises:
        ValueError: if it is neither a folder nor a Hub id.
    """
    if base is None:
        return None, None
    if Path(base).is_dir():
        card = Path(base) / "README.md"
        if not card.is_file():
            return None, None
        data = read_card(card, check=False).data
        return data.base_model, data.license
    return hub_id(base, "base model"), None


def hub_id(text: str, what: str) -> str:
    """Returns an id of the Hub. Raises ValueError for what cannot be one."""
    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise HfRltError(
            f"{text}: expected the {what} as on the Hub, user/name, received neither that nor a folder."
        ) from error
    return text


def choose_license(base: Any, asked: str | None, known: str | None) -> str | None:
    """Returns the licence: VideoMAE's published weights hand on theirs, else the one asked for or known.

    Raises:
        ValueError: if another licence is asked for weights that come from VideoMAE's.
    """
    if from_videomae(base):
        if asked not in (None, NON_COMMERCIAL):
            names = ", ".join(base_models(base))
            raise HfRltError(f"--license {asked}: weights from {names} inherit {NON_COMMERCIAL}: leave --license out.")
        return NON_COMMERCIAL
    return asked or known


def base_models(base: Any) -> list[str]:
    """Returns the ids in a card's `base_model`, which is one or a list."""
    return [base] if isinstance(base, str) else [str(name) for name in base or []]


def from_videomae(base: Any) -> bool:
    """Returns whether a card's `base_model` is one of VideoMAE's published checkpoints."""
    return any(name.lower().startswith(VIDEOMAE) for name in base_models(base))


def _datasets(dataset: str | None, existing: Any) -> list[str] | None:
    if dataset and "/" in dataset:
        if Path(dataset).exists():
            raise HfRltError(f"{dataset}: expected the data set's name or its Hub id, user/name, received a path.")
        hub_id(dataset, "data set")
    known = [existing] if isinstance(existing, str) else list(existing or [])
    # Only ids of the Hub lead anywhere; the results carry the names of others.
    return [*known, *([dataset] if dataset and "/" in dataset and dataset not in known else [])] or None


def _tags(facts: ModelFacts, existing: Any) -> list[str]:
    ours = [TASK, "videomae", *OUR_TAGS[facts.kind]]
    ours += OUR_TAGS[RLT] if facts.kind != RLT and facts.threshold is not None else []
    ours += ["custom_code"] if facts.carries_code else []
    ours += ["endpoints-template"] if facts.has_handler else []
    return [*ours, *(tag for tag in existing or [] if tag not in MANAGED_TAGS)]


def _widget(asked: Sequence[Mapping[str, Any]], existing: Any) -> list[dict[str, Any]] | None:
    named = {example["src"] for example in asked}
    kept = [each for each in existing or [] if not isinstance(each, dict) or each.get("src") not in named]
    return [*kept, *map(dict, asked)] or None


def _model_name(repo_id: str | None) -> str | None:
    return None if repo_id is None else hub_id(repo_id, "repo id").split("/")[-1]


def _is_given(value: Any) -> bool:
    return value is not None and value != []
