# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt card`: the model card of a folder, and the handler of Inference Endpoints."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from ..data.text_files import json_name
from ..errors import HfRltError, printable
from ..hub import parse_widget, read_card, read_evaluation, write_card
from ..inference.loading import load

ADVICE = {
    "base_model": "--base-model: what it was made from.",
    "license": "--license: under which it may be used.",
    "eval_results": "--dataset with --evaluation: how good it is (hf-rlt evaluate --output-dir).",
}


def card(
    model: Annotated[str, typer.Argument(help="Folder of a model saved by hf_rlt.")],
    repo_id: Annotated[str | None, typer.Option(help="The model's id on the Hub, user/name.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Hub id of what it was made from, or a folder, whose card then says.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="The licence's id on the Hub. Made from VideoMAE's weights it is theirs.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Hub id or name of the data set that it was trained and evaluated on.")
    ] = None,
    evaluation: Annotated[
        list[str] | None, typer.Option(help="evaluation.json of hf-rlt evaluate --output-dir; may be repeated.")
    ] = None,
    widget: Annotated[
        list[str] | None, typer.Option(help="Example, URL[=TITLE] or FILE[=TITLE] in the folder; may be repeated.")
    ] = None,
    widget_outputs: Annotated[
        bool, typer.Option(help="Classify the examples that are files, and show what comes out.")
    ] = False,
    handler: Annotated[
        bool, typer.Option(help="Also write handler.py and requirements.txt for Inference Endpoints.")
    ] = False,
    output: Annotated[str | None, typer.Option(help="Write the card here. Default: README.md in the folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a card or handler that hf_rlt did not write.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write or renew the model card of the folder MODEL.

    What is not given stays as the card there has it; text outside hf_rlt's marks and other metadata stay as they are.
    """
    examples: list[dict[str, Any]] = [dict(parse_widget(text, model)) for text in widget or []]
    evaluations = [read_evaluation(path) for path in evaluation or []]
    if widget_outputs:
        _add_outputs(examples, model)
    path = write_card(
        model,
        repo_id=repo_id,
        base_model=base_model,
        license=license,
        dataset=dataset,
        evaluations=evaluations,
        widget=examples,
        output=output,
        handler=handler,
        overwrite=overwrite,
    )
    data = read_card(path).data
    files = [Path(model) / name for name in ("handler.py", "requirements.txt")] if handler else []
    missing = [name for name in ADVICE if not data.get(name)]
    if as_json:
        print(
            json.dumps(
                {"card": json_name(str(path)), "handler": [json_name(str(file)) for file in files], "missing": missing},
                indent=2,
            )
        )
        return
    console = Console(soft_wrap=True, highlight=False)
    for file in (path, *files):
        console.print(f"Written: {printable(str(file))}", markup=False)
    for name in missing:
        console.print(f"Not on the card, because nothing says it. {ADVICE[name]}", markup=False)


def _add_outputs(examples: list[dict[str, Any]], model: str) -> None:
    """Adds to each example that is a file the five best labels, in the form that the Hub shows."""
    import torch

    local = [example for example in examples if not example["src"].startswith(("http://", "https://"))]
    if not local:
        raise HfRltError("--widget-outputs: expected --widget with a file in the model's folder, received none.")
    network, processor = load(model)
    network.eval()
    for example in track(local, "Classifying the examples", console=Console(stderr=True), transient=True):
        inputs = processor(str(Path(model) / example["src"]), return_tensors="pt")
        with torch.inference_mode():
            scores, labels = network(**inputs).logits[0].softmax(-1).topk(min(5, network.config.num_labels))
        names = [network.config.id2label[k] for k in labels.tolist()]
        example["output"] = [
            {"label": name, "score": round(score, 4)} for name, score in zip(names, scores.tolist(), strict=True)
        ]
