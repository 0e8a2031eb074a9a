# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Writes a model folder's card. What stands outside our marks, and metadata a person added, stay."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..errors import HfRltError
from ..jobs.atomic import write_text_atomic
from .card_metadata import CardSettings, build_metadata
from .card_text import card_text
from .endpoint import handler_files
from .model_facts import read_facts
from .results import RLTCardData, read_card

BEGIN, END = "<!-- hf_rlt: begin", "<!-- hf_rlt: end -->"
OURS = re.compile(rf"{BEGIN}(?: repo_id=(?P<repo_id>\S+))? -->.*?{END}", re.DOTALL)


def write_card(
    folder: str | Path,
    *,
    repo_id: str | None = None,
    base_model: str | None = None,
    license: str | None = None,
    dataset: str | None = None,
    evaluations: Sequence[Mapping[str, Any]] = (),
    widget: Sequence[Mapping[str, Any]] = (),
    output: str | Path | None = None,
    handler: bool = False,
    overwrite: bool = False,
) -> Path:
    """Returns the path of the card, written for a model folder; what is not given stays as the card there has it.

    Args:
        folder: of the model.
        repo_id: of the model on the Hub.
        base_model: Hub id of what it was made from, or a folder, whose card then says.
        license: identifier of the licence; made from VideoMAE's published weights it is theirs.
        dataset: Hub id or name of the data set that it was trained and evaluated on.
        evaluations: results on that data set, as `evaluate_model` returns them or Trainer's metrics; they replace those of
            our own on the card.
        widget: examples for the model's page, `{"src": ..., "example_title": ...}`.
        output: where to write, README.md in the folder if not given.
        handler: whether to write the handler of Inference Endpoints, too, see `write_handler`.
        overwrite: whether a card or handler that hf_rlt did not write may go; a card's metadata stay.

    Raises:
        ValueError: if the folder holds no such model, a setting does not fit, or another's file is in the way. Then nothing
            is written.
    """
    settings = CardSettings(repo_id, base_model, license, dataset, evaluations, widget)
    path = Path(folder) / "README.md" if output is None else Path(output)
    facts, files = read_facts(folder), handler_files(folder, overwrite) if handler else {}
    facts = replace(facts, has_handler=True) if files else facts
    existing = next((read_card(each) for each in (path, Path(folder) / "README.md") if each.is_file()), None)
    ours = OURS.search(existing.text) if existing is not None else None
    if existing is not None and ours is None and path.is_file() and not overwrite:
        raise HfRltError(
            f"{path}: expected no card or one that hf_rlt wrote, found another: pass --overwrite to lose its text."
        )
    known = repo_id or (ours.group("repo_id") if ours else None)
    data = build_metadata(
        facts, replace(settings, repo_id=known), None if existing is None else cast(RLTCardData, existing.data)
    )
    around = (
        ("", "\n") if existing is None or ours is None else (existing.text[: ours.start()], existing.text[ours.end() :])
    )
    return _write_all({**files, path: render(data, card_text(facts, data, known), known, around)})


def _write_all(files: Mapping[Path, str]) -> Path:
    """Returns the last of the files, all written; none if the content of one is no text."""
    for path, content in files.items():
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise HfRltError(f"{path.name}: expected names that are text, found bytes that are no UTF-8.") from error
    return [write_text_atomic(path, content) for path, content in files.items()][-1]


def render(data: RLTCardData, text: str, repo_id: str | None = None, around: tuple[str, str] = ("", "\n")) -> str:
    """Returns a whole card: metadata, and the text between our marks, with what stands before and after them."""
    begin = f"{BEGIN} repo_id={repo_id} -->" if repo_id else f"{BEGIN} -->"
    before = around[0] if around[0].strip() else "\n"
    return f"---\n{data.to_yaml()}\n---\n{before}{begin}\n\n{text}\n\n{END}{around[1]}"
