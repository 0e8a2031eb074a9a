# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write a model folder's card. What stands outside our marks, and metadata a person added, stay."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.text_files import is_text
from ..errors import HfRltError
from ..jobs.atomic import write_text_atomic
from .card_metadata import (
    NON_COMMERCIAL,
    CardSettings,
    RLTCardData,
    RLTModelCard,
    as_list,
    build_metadata,
    from_videomae,
    read_card,
)
from .card_text import cell, code, hub_link
from .handler import LIMITS
from .model_facts import ModelFacts, read_facts
from .results import epochs_table, results_table

TEMPLATE = Path(__file__).with_name("model_card_template.md")
BEGIN, END = "<!-- hf_rlt: begin", "<!-- hf_rlt: end -->"
OURS = re.compile(rf"{BEGIN}(?: repo_id=(?P<repo_id>\S+))? -->.*?{END}", re.DOTALL)
HANDLER = Path(__file__).with_name("handler.py")
# What the code that a folder carries needs, in the versions of pyproject.toml.
REQUIREMENTS = ("transformers>=5.18,<6", "torch>=2.6", "torchvision>=0.21", "av>=18.1", "numpy>=2.0", "pillow>=10.1")
MOST_CLASSES = 20  # more are not listed
# By what settings a dense model with the same weights differs
DIFFERENCES = {
    "length_embedding": "the run-length embedding is left out",
    "position_grid": "positions are not interpolated",
}


def write_card(
    folder: str | Path,
    *,
    output: str | Path | None = None,
    handler: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Path:
    """Write the card of a model folder and return its path; what is not given stays as the card there has it.

    Args:
        folder: of the model.
        output: README.md in the folder if not given.
        handler: whether to write the handler of Inference Endpoints, too, see `write_handler`.
        overwrite: whether to replace a card or handler that hf_rlt did not write; a card's metadata stay.
        **settings: fields of `CardSettings`; results in `evaluations` replace those of our own on the card.

    Raises:
        HfRltError: for another folder, a setting that does not fit, or another's file in the way. Then nothing is written.
    """
    said = CardSettings(**settings)
    path = Path(folder) / "README.md" if output is None else Path(output)
    facts, files = read_facts(folder), _handler_files(folder, overwrite) if handler else {}
    facts = replace(facts, has_handler=True) if files else facts
    existing = next((read_card(each) for each in (path, Path(folder) / "README.md") if each.is_file()), None)
    text, known = (existing.text, existing.data) if existing else ("", None)
    ours = OURS.search(text)
    if not ours and not overwrite and path.is_file():
        raise HfRltError(f"{path}: found another's card: pass --overwrite to lose its text.")
    said = replace(said, repo_id=said.repo_id or (ours.group("repo_id") if ours else None))
    around = (text[: ours.start()], text[ours.end() :]) if ours else ("", "\n")
    content = render(facts, build_metadata(facts, said, known), said.repo_id, around)
    if not is_text(content):
        raise HfRltError(f"{path.name}: expected names that are text, found bytes that are no UTF-8.")
    return [write_text_atomic(name, made) for name, made in {**files, path: content}.items()][-1]


def write_handler(folder: str | Path, overwrite: bool = False) -> list[Path]:
    """Write handler.py and requirements.txt into a model folder; return their paths.

    Args:
        folder: a model with its code (what `save_pretrained` writes); the endpoint has no hf_rlt.
        overwrite: whether to replace files of these names that hf_rlt did not write.

    Raises:
        HfRltError: if there is no such model, it does not carry its code, or other files are in the way.
    """
    return [write_text_atomic(path, content) for path, content in _handler_files(folder, overwrite).items()]


def _handler_files(folder: str | Path, overwrite: bool) -> dict[Path, str]:
    if not read_facts(folder).carries_code:
        raise HfRltError(
            f"{folder}: expected a folder with the model's code, which an endpoint needs and baselines lack."
        )
    handler, requirements = Path(folder) / "handler.py", Path(folder) / "requirements.txt"
    files = {handler: HANDLER.read_text(encoding="utf-8"), requirements: "\n".join(REQUIREMENTS) + "\n"}
    for path, content in files.items():
        found = path.read_text(encoding="utf-8", errors="replace") if path.exists() and not overwrite else content
        if found != content and not (path == handler and "HF_RLT_MAX_" in found):  # in the handler of any version
            raise HfRltError(f"{path}: found another's file: pass --overwrite to lose it.")
    return files


def render(
    facts: ModelFacts, data: RLTCardData, repo_id: str | None = None, around: tuple[str, str] = ("", "\n")
) -> str:
    """Return a whole card: `model_card_template.md`, filled in, with the text that stands before and after ours."""
    config, results = facts.config, data.eval_results or []
    # neither our marker nor the end of the code block
    folder = json.dumps(facts.name).replace("<", "\\u003c").replace("`", "\\u0060")
    few = config.num_labels <= MOST_CLASSES
    return str(
        RLTModelCard.from_template(
            data,
            template_path=str(TEMPLATE),
            before=around[0] if around[0].strip() else "\n",
            begin=f"{BEGIN} repo_id={repo_id} -->" if repo_id else f"{BEGIN} -->",
            end=END,
            after=around[1],
            facts=facts,
            config=config,
            processor=facts.processor,
            number=lambda value: f"{value:,.15g}",
            title=cell(data.model_name or facts.name),
            bases=[hub_link(name) for name in as_list(data.base_model)],
            tokens=math.prod(config.grid),
            classes=[cell(config.id2label[k]) for k in range(config.num_labels)] if few else [],
            name_line=f'name = "{repo_id}"' if repo_id else f"name = {folder}  # the folder, or its id on the Hub",
            differences=[text for name, text in DIFFERENCES.items() if getattr(config, name, None)],
            limits=LIMITS,
            results=results_table(results) if results else "",
            epochs=epochs_table(facts.epochs) if facts.epochs else "",
            measured=any(not result.source_url for result in results),
            datasets=[hub_link(name, "datasets/") for name in as_list(data.datasets)],
            license=_license(data),
        )
    )


def _license(data: RLTCardData) -> str:
    if data.license == NON_COMMERCIAL and from_videomae(data.base_model):
        return "CC BY-NC 4.0, inherited from VideoMAE's published weights: not for commercial use."
    names = as_list(data.license)
    return ", ".join(cell(name) if name[:1].isalpha() and " " in name else code(name) for name in names)
