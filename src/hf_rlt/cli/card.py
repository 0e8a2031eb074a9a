# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt card`: the model card of a folder, and the handler of Inference Endpoints."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from ..errors import HfRltError
from .console import print_line
from .options import AsJson

# Metadata that a card should have, and the options that set it.
WANTED = {
    "base_model": ("base model", "--base-model"),
    "license": ("license", "--license"),
    "eval_results": ("results", "--dataset and --evaluation"),
}


def card(
    model: Annotated[str, typer.Option("--model", "-m", help="Folder of a model saved by hf_rlt.")],
    output: Annotated[str | None, typer.Option("--output", "-o", help="Default: README.md in the folder.")] = None,
    repo_id: Annotated[str | None, typer.Option(help="The model's id on the Hub, user/name.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Hub id or folder of the model it was made from.")] = None,
    license: Annotated[str | None, typer.Option(help="License id. VideoMAE's weights pass on theirs.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Hub id or name of the data set of the results.")] = None,
    evaluation: Annotated[list[str] | None, typer.Option(help="An evaluation.json. May be repeated.")] = None,
    widget: Annotated[list[str] | None, typer.Option(help="URL[=TITLE] or FILE[=TITLE]. May be repeated.")] = None,
    widget_outputs: Annotated[bool, typer.Option("--widget-outputs", help="Show predictions for these clips.")] = False,
    handler: Annotated[bool, typer.Option("--handler", help="Add the handler of Inference Endpoints.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files not written by hf_rlt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write or update the model card of a folder.

    Fields not given keep their current values. Text outside hf_rlt's marks and metadata you added stay.
    """
    from ..data.text_files import json_name
    from ..hub import parse_widget, read_card, read_evaluation, write_card

    examples: list[dict[str, Any]] = [dict(parse_widget(text, model)) for text in widget or []]
    evaluations = [read_evaluation(path) for path in evaluation or []]
    if widget_outputs:
        _add_outputs(examples, model)
    said: dict[str, Any] = {"repo_id": repo_id, "base_model": base_model, "license": license, "dataset": dataset}
    said |= {"evaluations": evaluations, "widget": examples}
    path = write_card(model, output=output, handler=handler, overwrite=overwrite, **said)
    data, files = read_card(path).data, [path]
    if handler:
        files += [Path(model) / "handler.py", Path(model) / "requirements.txt"]
    missing = [name for name in WANTED if not data.get(name)]
    if as_json:
        names = [json_name(str(file)) for file in files]
        typer.echo(json.dumps({"card": names[0], "handler": names[1:], "missing": missing}, indent=2))
        return
    for file in files:
        print_line(Console(), f"Written: {file}")
    for name in missing:
        print_line(Console(), "Missing from the card: {} (set it with {}).".format(*WANTED[name]))


def _add_outputs(examples: list[dict[str, Any]], model: str) -> None:
    """Add to each example that is a file the five best labels, in the form that the Hub shows."""
    from transformers import pipeline

    from ..inference.loading import load

    local = [example for example in examples if not example["src"].startswith(("http://", "https://"))]
    if not local:
        raise HfRltError("--widget-outputs: expected --widget with a file in the model's folder, received none.")
    network, processor = load(model)
    classify = pipeline("video-classification", model=network, video_processor=processor)
    for example in track(local, "Classifying the examples", console=Console(stderr=True), transient=True):
        found = classify(str(Path(model) / example["src"]), top_k=5)
        example["output"] = [{"label": row["label"], "score": round(row["score"], 4)} for row in found]
