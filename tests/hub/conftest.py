# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A model folder for the tests of cards."""

import shutil
from pathlib import Path

import pytest

from helpers.model_folders import LABELS, save_family, save_model
from helpers.tiny import TINY, TINY_VJEPA2


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("saved") / "rlt-tiny")


@pytest.fixture(params=[("rlt_videomae", TINY), ("rlt_vjepa2", TINY_VJEPA2)], ids=["videomae", "vjepa2"])
def folder_of_each(request, tmp_path) -> Path:
    """A model folder of each family."""
    return save_family(tmp_path / "rlt-tiny", *request.param, list(LABELS.values()))


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A model folder of its own for each test."""
    return Path(shutil.copytree(saved, tmp_path / "rlt-tiny"))
