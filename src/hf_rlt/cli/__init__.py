# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line, `hf-rlt`: one file for each command.

Files of commands import torch and transformers inside functions only, so that `--help` answers at once.
"""

import os
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer

from ..errors import TRACEBACK
from .benchmark import benchmark
from .card import card
from .classify import classify
from .compare import compare
from .console import quiet_libraries, user_errors
from .convert import convert
from .draw import draw
from .evaluate import evaluate
from .export import export
from .finetune import finetune
from .options import check_names, expand_options
from .predict import predict
from .tokens import tokens
from .watch import watch

KINETICS = "--model MCG-NJU/videomae-base-finetuned-kinetics"  # needs no training
EXAMPLES: dict[Callable[..., None], str] = {
    classify: f"hf-rlt classify clip.mp4 {KINETICS}",
    compare: f"hf-rlt compare videos/ {KINETICS} -o changes",
    predict: f"hf-rlt predict videos/ {KINETICS} -o predictions",
    evaluate: f"hf-rlt evaluate val.csv {KINETICS} --num-clips 5 --num-crops 3",
    benchmark: f"hf-rlt benchmark videos/ {KINETICS}",
    tokens: "hf-rlt tokens videos/ --threshold 0.1 --threshold 0.2",
    draw: "hf-rlt draw clip.mp4 -o look.png",
    watch: f"hf-rlt watch /dev/video0 {KINETICS}",
    export: f"hf-rlt export {KINETICS.split()[1]} -o exported --format openvino",
    convert: f"hf-rlt convert {KINETICS.split()[1]} rlt-vit-b",
    card: f"hf-rlt card {KINETICS} --license cc-by-nc-4.0",
}
app = typer.Typer(help="Run-Length Tokenization for video transformers.", no_args_is_help=True)


def running(command: Callable[..., None]) -> Callable[..., None]:
    """Check what can be checked before PyTorch is imported, which takes seconds; then run a command, libraries silent."""

    @wraps(command)
    def run(**given: Any) -> None:
        with user_errors():
            check_names(given)
            quiet_libraries()
            command(**given)

    return run


for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(expand_options(running(command)))
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # fine-tuning has a parser of its own
app.command(context_settings=PASS_ON, add_help_option=False)(user_errors()(finetune))


def print_version(wanted: bool) -> None:
    """Print the version, and end."""
    if wanted:
        typer.echo(f"hf_rlt {version_of('hf_rlt')}")
        raise typer.Exit


@app.callback()
def setup(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Run-Length Tokenization for video transformers."""
    if traceback:
        os.environ[TRACEBACK] = "1"


def main() -> None:
    """Run the command line."""
    with user_errors():  # printing help can fail, too
        app()
