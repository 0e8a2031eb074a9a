# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A file or folder is there complete, or not at all."""

from contextlib import suppress
from pathlib import Path

import pytest

from hf_rlt.jobs.atomic import atomic_dir, atomic_write


def contents(folder: Path) -> dict[str, str]:
    """Read all files below a folder."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_appears_and_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "deep" / "target"
    for name in ("a", "b"):
        with atomic_dir(target) as folder:
            (folder / name).write_text(name)
            assert not (target / name).exists()
        assert contents(tmp_path) == {f"deep/target/{name}": name}
    assert target.stat().st_mode == target.parent.stat().st_mode


@pytest.mark.parametrize("write", [atomic_dir, atomic_write])
def test_an_error_leaves_what_was_there(tmp_path, write):
    target = tmp_path / "target"
    if write is atomic_dir:
        target.mkdir()
    old = target / "old" if write is atomic_dir else target
    old.write_text("old")
    with suppress(ZeroDivisionError), write(target) as new:
        (new / "half" if write is atomic_dir else new).write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [target]
    assert old.read_text() == "old"
