# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt finetune`: train a model on labelled videos."""

import ast
from importlib.util import find_spec
from pathlib import Path

import typer

from ..errors import HfRltError
from ..models.errors import check_spelling
from .options import check_names

PLACES = ("train_dir", "validation_dir", "train_file", "validation_file", "video_dir", "label_file")


def finetune(context: typer.Context) -> None:
    """Fine-tune a model on your videos. Options are those of docs/fine_tuning.md and of TrainingArguments."""
    check_words(context.args)
    try:
        from ..training.finetune import main
    except ModuleNotFoundError as error:
        raise HfRltError(f"Fine-tuning needs {error.name}: `pip install hf_rlt[train]`.") from error
    main(context.args, prog="hf-rlt finetune")


def check_words(words: list[str]) -> None:
    """Check what can be checked before PyTorch is imported, which takes seconds.

    Raises:
        HfRltError: for a misspelt option, or a path that does not exist.
    """
    given: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            given[name.replace("-", "_")] = value if equals else following
    check_spelling(given, known_options())
    paths = [given[name] for name in PLACES if given.get(name)]
    check_names({"videos": paths, "model": given.get("model_name_or_path")})


def known_options() -> set[str]:
    """Return the names of the options, read from the source of the classes that the parser is made from."""
    spec = find_spec("transformers")
    theirs = [Path(folder) / "training_args.py" for folder in (spec and spec.submodule_search_locations) or ()]
    names = {"help"}
    for path in (Path(__file__).parents[1] / "training" / "arguments.py", *theirs):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names |= {node.target.id, f"no_{node.target.id}"}  # the parser's way to turn off what is on
    return names
