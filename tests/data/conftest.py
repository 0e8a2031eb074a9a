# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Lists of clips that the tests of data sets share."""

import pytest

from hf_rlt.data import TrainDataset, VideoList, from_folder


@pytest.fixture(scope="session")
def train(rendered_digits) -> VideoList:
    return from_folder(rendered_digits / "train")


@pytest.fixture(scope="session")
def items(train, digits_processor) -> list[dict]:
    """Six training items."""
    return [TrainDataset(train, digits_processor)[index] for index in range(6)]


@pytest.fixture
def with_bad(rendered_digits, tmp_path) -> VideoList:
    """Eight clips; number 2 is damaged and number 5 does not exist."""
    good = from_folder(rendered_digits / "validation")
    sources = list(good.sources)
    sources[2], sources[5] = tmp_path / "damaged.mp4", tmp_path / "gone.mp4"
    sources[2].write_bytes(good.sources[2].read_bytes()[:2000])
    return VideoList(sources, good.labels, good.names)
