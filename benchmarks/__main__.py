# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`python -m benchmarks NAME`: measure, and write JSON, Markdown and pictures. What is measured is in the files beside."""

from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.cli.console import user_errors

from .accuracy import accuracy, budgets, inference, thresholds
from .augmentation import augmentation
from .balance import balance
from .common import record
from .equal_tokens import equal_tokens
from .finetune import ablation, finetune
from .gpu import gpu
from .keeps import keeps
from .processing import processing
from .ratios import ratios
from .reading import reading
from .runtimes import runtimes
from .speed import frames, speed
from .throughput import throughput
from .tokens import tokens
from .vjepa2 import vjepa2

app = typer.Typer(help="Measure, and write JSON, Markdown and pictures.", no_args_is_help=True, add_completion=False)


@app.callback()
def begin() -> None:
    """Measure, and write JSON, Markdown and pictures."""
    record.at_start()


def report(
    files: Annotated[list[Path], typer.Argument(help="Records that the other commands wrote.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Instead of each file's own folder.")] = None,
) -> None:
    """Make tables and pictures again, from JSON alone."""
    for file in files:
        record.report(file, output)


COMMANDS = (tokens, reading, processing, ratios, throughput, augmentation, balance, keeps, vjepa2, runtimes, gpu)
MODELS = (speed, frames, accuracy, thresholds, budgets, inference, equal_tokens)
for command in (*COMMANDS, *MODELS, report):
    app.command()(user_errors()(command))
for command in (finetune, ablation):
    app.command(context_settings={"allow_extra_args": True})(user_errors()(command))

if __name__ == "__main__":
    with user_errors():
        app()
