# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A model card's metadata: what is known of the model, joined with what a person wrote."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index

from ..errors import HfRltError
from ..families import FAMILIES
from ..models.rlt_config import RLTConfigMixin
from .model_facts import ModelFacts
from .repo_config import is_hub_id
from .results import TASK, merged, own_results

VIDEOMAE = "mcg-nju/videomae"
NON_COMMERCIAL = "cc-by-nc-4.0"


class RLTCardData(ModelCardData):
    """Metadata in which huggingface_hub does not join our results on a data set with those of other sources."""

    def _to_dict(self, data_dict: dict[str, Any]) -> None:
        super()._to_dict(data_dict)
        for key, value in data_dict.items():
            data_dict[key] = _without_nulls(value)
        results = self.eval_results or []
        if not results:
            data_dict.pop("model-index", None)
            return
        groups: dict[Any, list[EvalResult]] = {}
        for result in results:
            groups.setdefault((result.source_name, result.source_url), []).append(result)
        indexes = [eval_results_to_model_index(str(self.model_name), group)[0] for group in groups.values()]
        data_dict["model-index"] = [{**indexes[0], "results": [each for index in indexes for each in index["results"]]}]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value if each is not None] if isinstance(value, list) else value


class RLTModelCard(ModelCard):
    """A model card with `RLTCardData`."""

    data: RLTCardData
    card_data_class = RLTCardData


def read_card(path: str | Path, check: bool = True) -> RLTModelCard:
    """Read a card; if `check` is false, leave out results that cannot be understood.

    Raises:
        HfRltError: if its metadata cannot be read.
    """
    try:
        return RLTModelCard.load(Path(path), ignore_metadata_errors=not check)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise HfRltError(f"{path}: its metadata cannot be read ({error}): mend or remove the file.") from error


@dataclass(frozen=True)
class CardSettings:
    """What a person says of a model beyond its folder. None and empty: as the card has it, or unknown.

    Attributes:
        repo_id, license: as the Hub spells them.
        base_model: Hub id of what it was made from, or a folder, whose card then says.
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
    """Return `{"src": ..., "example_title": ...}` of `URL[=TITLE]` or `FILE[=TITLE]`, the file inside the folder.

    A title is what follows the `=` right behind the file's extension, so addresses may hold queries.
    """
    found = re.fullmatch(r"(.+?\.\w{2,4})=(.+)", text)
    source, title = found.groups() if found else (text, "")
    if not source.startswith(("http://", "https://")):
        root, path = Path(folder).resolve(), (Path(folder) / source).resolve()
        if not path.is_file() or not path.is_relative_to(root):
            raise HfRltError(f"--widget {source}: expected an http(s) address or a file inside {folder}.")
        source = path.relative_to(root).as_posix()
    return {"src": source, "example_title": title or Path(source.split("?")[0]).stem}


def build_metadata(facts: ModelFacts, settings: CardSettings, existing: RLTCardData | None = None) -> RLTCardData:
    """Return a card's metadata. What a person wrote stays where the settings and the model do not say otherwise."""
    existing = existing or RLTCardData()
    base, inherited = _base(settings.base_model)
    base = base or existing.base_model
    results = existing.eval_results or []
    widgets = {each["src"]: dict(each) for each in settings.widget}
    known = existing.get("widget") or []
    kept = [each for each in known if not isinstance(each, dict) or each.get("src") not in widgets]
    repo_name = _hub_id(settings.repo_id, "repo id").split("/")[-1] if settings.repo_id else None
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": TASK,
        "license": _license(base, settings.license, inherited or existing.license),
        "base_model": base,
        "base_model_relation": "finetune" if base and facts.training else existing.get("base_model_relation"),
        "datasets": _datasets(settings.dataset, existing.datasets),
        "tags": _tags(facts, existing.tags or []),
        "metrics": existing.metrics or ["accuracy"],
        "widget": [*kept, *widgets.values()],
        "model_name": repo_name or existing.model_name or facts.name,
        "eval_results": merged(results, _own(facts, settings, results)),
    }
    return RLTCardData(
        **{key: value for key, value in {**fields, **vars(existing), **fields}.items() if value not in (None, [])}
    )


def _own(facts: ModelFacts, settings: CardSettings, existing: Sequence[EvalResult]) -> list[EvalResult]:
    """Return the results to add: those given, or training's own where the card has none."""
    if settings.dataset is None:
        if settings.evaluations:
            raise HfRltError("Expected the data set that the results are of, received none: pass --dataset NAME.")
        return []
    evaluations = list(settings.evaluations)
    if not evaluations and facts.results and all(result.source_url for result in existing):
        evaluations = [facts.results]
    frames = facts.config.clip_shape[0]
    return [result for each in evaluations for result in own_results(each, settings.dataset, frames)]


def _base(base: str | None) -> tuple[Any, str | None]:
    """Return the Hub id of a base model and a licence to inherit; of a folder, what its card says. Paths stay private."""
    if base is None:
        return None, None
    if Path(base).is_dir():
        card = Path(base) / "README.md"
        data = read_card(card, check=False).data if card.is_file() else RLTCardData()
        return data.base_model, data.license
    return _hub_id(base, "base model"), None


def _hub_id(text: str, what: str) -> str:
    if not is_hub_id(text):
        raise HfRltError(f"{text}: expected the {what} as on the Hub, user/name.")
    return text


def _license(base: Any, asked: str | None, known: str | None) -> str | None:
    """Return the licence: that of VideoMAE's published weights is passed on, else the one asked for or known."""
    if not from_videomae(base):
        return asked or known
    if asked not in (None, NON_COMMERCIAL):
        names = ", ".join(as_list(base))
        raise HfRltError(f"--license {asked}: weights from {names} inherit {NON_COMMERCIAL}: leave --license out.")
    return NON_COMMERCIAL


def as_list(value: Any) -> list[str]:
    """Return the names in a field of a card that holds one or a list."""
    return [value] if isinstance(value, str) else [str(name) for name in value or []]


def from_videomae(base: Any) -> bool:
    """Return whether a card's `base_model` is one of VideoMAE's published checkpoints."""
    return any(name.lower().startswith(VIDEOMAE) for name in as_list(base))


def _datasets(dataset: str | None, existing: Any) -> list[str]:
    known = as_list(existing)
    if dataset is None or "/" not in dataset:
        return known  # a link needs an id; the results carry other names
    if Path(dataset).exists():
        raise HfRltError(f"{dataset}: expected the data set's name or its Hub id, user/name, received a path.")
    return list(dict.fromkeys([*known, _hub_id(dataset, "data set")]))


def _tags(facts: ModelFacts, existing: Sequence[str]) -> list[str]:
    ours = [TASK, facts.dense_type, *facts.config.card_tags]
    ours += RLTConfigMixin.card_tags if facts.uses_rlt else []
    ours += ["custom_code"] if facts.carries_code else []
    ours += ["endpoints-template"] if facts.has_handler else []
    managed = {tag for family in FAMILIES.values() for tag in family.config.card_tags}
    managed |= {TASK, facts.dense_type, "custom_code", "endpoints-template"}
    return list(filter(None, dict.fromkeys([*ours, *(tag for tag in existing if tag not in managed)])))
