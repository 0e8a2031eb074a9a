# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Small trainings: a model, clips with their tokens, a trainer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from helpers.tiny import TINY
from helpers.training import training_arguments
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification
from hf_rlt.data import ClipCollator, TrainDataset, from_folder
from hf_rlt.tokens import count_tokens
from hf_rlt.training.trainer import RLTTrainer


@pytest.fixture(autouse=True)
def counts_folder(tmp_path_factory, monkeypatch) -> None:
    """Counts are kept where no other run finds them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def model() -> RLTVideoMAEForVideoClassification:
    torch.manual_seed(0)
    config = {**TINY, "image_size": 64, "num_frames": 16, "num_labels": 8, "num_hidden_layers": 2}
    return RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**config))


@pytest.fixture
def data(rendered_digits, digits_processor) -> TrainDataset:
    return TrainDataset(from_folder(rendered_digits / "train"), digits_processor, cache_bytes=10**8)


@pytest.fixture(scope="session")
def counts(rendered_digits, digits_processor, tmp_path_factory):
    """The tokens of the rendered clips."""
    folder = tmp_path_factory.mktemp("tokens")
    return count_tokens(from_folder(rendered_digits / "train"), digits_processor, cache_dir=folder)


@pytest.fixture
def trainer(tmp_path: Path, data, digits_processor) -> Callable[..., RLTTrainer]:
    """A trainer; options that are not RLTTrainer's are those of TrainingArguments."""
    own = ("layer_decay", "token_counts", "max_tokens", "settings", "callbacks", "eval_dataset", "data_collator")

    def make(model, **options) -> RLTTrainer:
        given = {name: options.pop(name) for name in own if name in options}
        given.setdefault("data_collator", ClipCollator(digits_processor))
        return RLTTrainer(model=model, args=training_arguments(tmp_path, **options), train_dataset=data, **given)

    return make
