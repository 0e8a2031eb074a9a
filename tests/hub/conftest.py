# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A model folder for the tests of cards."""

import shutil
from pathlib import Path

import pytest

from helpers.model_folders import save_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("saved") / "rlt-tiny")


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A model folder of its own for each test."""
    return Path(shutil.copytree(saved, tmp_path / "rlt-tiny"))
