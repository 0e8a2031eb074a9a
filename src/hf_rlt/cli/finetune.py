# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt finetune`: train a model on labelled videos."""

import typer

from ..errors import HfRltError


def finetune(context: typer.Context) -> None:
    """Fine-tune a model on your videos. Options are those of docs/fine_tuning.md and of TrainingArguments."""
    try:
        from ..training.finetune import main
    except ModuleNotFoundError as error:
        raise HfRltError(f"Fine-tuning needs {error.name}: `pip install hf_rlt[train]`.") from error
    main(context.args, prog="hf-rlt finetune")
