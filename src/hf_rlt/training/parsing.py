# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read the arguments of fine-tuning from a command line or a file, with a recipe's defaults."""

import copy
import json
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import AutoConfig, HfArgumentParser, TrainingArguments

from .. import baselines  # noqa: F401  registers their model families
from ..data import digits_settings
from ..errors import HfRltError
from ..hub.repo_config import read_config
from .arguments import DataArguments, Groups, ModelArguments, RecipeArguments
from .recipes import DIGITS, recipe, scaled_learning_rate

TOKEN_BALANCED_STRATEGIES = ("group_by_length", "batch_rebalance")


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HfRltError(message)  # argparse would print hundreds of lines of usage


REFUSALS = (ValueError, TypeError, LookupError, ImportError, RuntimeError)


@contextmanager
def library_refusals(kinds: tuple[type[Exception], ...] = REFUSALS) -> Iterator[None]:
    """Context that turns what a library raises about a setting into an `HfRltError`."""
    try:
        yield
    except HfRltError:
        raise
    except kinds as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if Path(__file__).parents[1] in raised_in.parents:
            raise  # a bug of ours
        raise HfRltError(str(error.args[0] if isinstance(error, KeyError) else error)) from error


def read_arguments(argv: Sequence[str], prog: str | None = None) -> Groups:
    """Parse a command line, or a JSON file if that is its only argument.

    Explicit options take precedence over the recipe's defaults, and these over Trainer's.

    Raises:
        HfRltError, OSError: for options that do not exist or contradict each other, or a model that does not exist.
    """
    groups = (ModelArguments, DataArguments, RecipeArguments, TrainingArguments)
    parser = _Parser(groups, prog=prog, allow_abbrev=False)
    if len(argv) == 1 and argv[0].endswith(".json"):
        in_file = _read_file(argv[0])
        given = set(in_file)
        with library_refusals():
            found = parser.parse_dict({**_defaults(in_file, given), **in_file})
    else:
        given = {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}
        asked, _ = parser.parse_known_args([word for word in argv if word not in ("-h", "--help")])
        parser.set_defaults(**_defaults(vars(asked), given))
        with library_refusals():
            found = parser.parse_args_into_dataclasses(list(argv))
    _, data, recipe_args, args = found
    _check_together(data, recipe_args, args, given)
    return found


def _read_file(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise HfRltError(f"{path}: expected a JSON file of arguments ({error}).") from error
    if not isinstance(found, dict):
        raise HfRltError(f"{path}: expected a JSON object from argument to value, received a {type(found).__name__}.")
    return found


def _defaults(asked: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """Return the defaults of a job: `asked` are the values of our arguments, `given` the names the user set."""
    model, name = asked.get("model_name_or_path"), asked.get("recipe") or "none"
    if model:
        read_config(model)  # fail early, with a clear error, if there is no such model
    width = AutoConfig.from_pretrained(model).hidden_size if model and name != "none" else 768
    # Without use_cpu, several processes on a machine without an accelerator would each train alone.
    settings = {**({} if torch.accelerator.is_available() else {"use_cpu": True}), **recipe(name, width)}
    if "learning_rate" in given:
        settings.pop("base_learning_rate", None)
    if model or any(map(asked.get, ("train_dir", "train_file", "dataset_name"))):
        return {"output_dir": "outputs/finetuned", **settings}
    dense = str(asked.get("threshold") or "").lower() == "none"
    title = digits_settings(asked.get("digits_set") or "standard").title
    return {"output_dir": f"outputs/{title}{'-dense' if dense else ''}", **DIGITS, **settings}


def _check_together(data: DataArguments, recipe: RecipeArguments, args: TrainingArguments, given: set[str]) -> None:
    """Raise HfRltError for settings that exclude each other, or of which one needs another."""
    counts = {"max_tokens_per_batch": data.max_tokens_per_batch}
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        counts[name] = getattr(args, name)
    for name, value in counts.items():
        if value is not None and value < 1:
            raise HfRltError(f"--{name}: expected 1 or more, received {value}.")
    streaming = data.source == "hub" and data.streaming
    if streaming and (not data.validation_split or args.max_steps <= 0):
        raise HfRltError("--streaming needs --validation_split and --max_steps: a stream has no end to plan by.")
    by_tokens, strategy = None, f"--train_sampling_strategy {args.train_sampling_strategy}"
    if args.train_sampling_strategy in TOKEN_BALANCED_STRATEGIES:
        by_tokens = strategy
    if data.max_tokens_per_batch is not None:
        by_tokens = "--max_tokens_per_batch"
        excluded = {
            "--per_device_train_batch_size": "per_device_train_batch_size" in given,
            "--auto_find_batch_size": args.auto_find_batch_size,
            strategy: args.train_sampling_strategy != "random",
        }
        if any(excluded.values()):
            names = " and ".join(name for name, asked in excluded.items() if asked)
            raise HfRltError(f"--max_tokens_per_batch makes up its own batches: leave out that, or {names}.")
    if by_tokens and streaming:
        raise HfRltError(f"{by_tokens} needs the tokens of each clip, which a stream does not tell: leave one out.")
    if recipe.threshold_range is not None and recipe.budget_range is not None:
        raise HfRltError("Expected --threshold_range or --budget_range, received both: leave one out.")
    for name, drawn in (("threshold_range", "threshold"), ("budget_range", "budget")):
        if by_tokens and getattr(recipe, name) is not None:
            raise HfRltError(
                f"{by_tokens} goes by the tokens at one {drawn}, --{name} draws another for each clip: leave one out."
            )


def resolve_training_args(recipe_args: RecipeArguments, args: TrainingArguments) -> TrainingArguments:
    """Return the arguments that Trainer gets, with the learning rate scaled.

    Label smoothing is 0 in them, since Trainer's takes no soft targets and the collator smooths instead. Unused columns
    are kept: items carry seeds, which the model does not take.

    Raises:
        HfRltError: if the processes that were launched would not train together.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != args.world_size:
        raise HfRltError(
            f"Expected {launched} processes to train together, found {args.world_size}: each would train on its own. On "
            "CPUs pass --use_cpu True."
        )
    resolved = copy.copy(args)
    if recipe_args.base_learning_rate is not None:
        total = args.train_batch_size * args.world_size * args.gradient_accumulation_steps
        resolved.learning_rate = scaled_learning_rate(recipe_args.base_learning_rate, total)
    resolved.label_smoothing_factor, resolved.remove_unused_columns = 0.0, False
    return resolved
