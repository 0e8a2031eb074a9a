# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""All files that are tried, each made from its name alone.

`libx264_b3_mp4` is a clean file, `mutated:17` the seventeenth damaged one, `file:/some/where.mp4` one from elsewhere and
`damaged:/some/where.mp4` one from elsewhere that is not whole.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from check import Checker, Result
from codings import encoded
from damage import mutate
from variants import variants

COMMON = ("_mp4", "_mov", "_mkv", "_ts", "_avi", "_fragments")


class Cases:
    """The files by name; `folder` keeps clean ones that others are made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.encoded = [name for name, *_ in encoded()]
        self.clean = {name: made for kind in (encoded, variants) for name, *made in kind()}

    def get(self, name: str) -> Path:
        """Return a clean file, made now or before."""
        suffix, write, *args = self.clean[name]
        path = self.folder / f"{name}{suffix}"
        if not path.exists():
            partial = self.folder / f"{os.getpid()}_{name}{suffix}"
            try:
                write(partial, self.get, *args)
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def run(self, name: str, tell: Callable[[str], None] = lambda stage: None) -> Result:
        """Make and read a file; `tell` is called with "made" and "read"."""
        kind, colon, rest = name.partition(":")
        if colon and kind != "mutated":
            tell("made")
            return Checker(name, Path(rest), strict=kind == "file", seed=0).check(tell)
        if kind == "mutated":
            return self._run_mutated(name, int(rest), tell)
        if name not in self.clean:
            raise KeyError(f"no case {name}")
        try:
            path = self.get(name)
        except Exception as error:
            return Result(name, skipped=1, notes=[f"cannot be made here: {type(error).__name__}: {error}"[:300]])
        tell("made")
        return Checker(name, path, strict=not name.startswith("cut_"), seed=len(name)).check(tell)

    def make_mutated(self, seed: int) -> tuple[Path, str]:
        """Return a damaged file and what was done to it."""
        rng, source = random.Random(seed), None
        common = [name for name in self.encoded if name.endswith(COMMON)]
        while source is None:
            with suppress(Exception):  # that one cannot be made here
                source = self.get(rng.choice(rng.choice((common, common, self.encoded, list(self.clean)))))
        target = self.folder / f"{os.getpid()}_mutated_{seed}{source.suffix}"
        return target, f"{source.name}: {mutate(source, target, rng)}"

    def _run_mutated(self, name: str, seed: int, tell: Callable[[str], None]) -> Result:
        path, what = self.make_mutated(seed)
        tell("made")
        try:
            result = Checker(name, path, strict=False, seed=seed, singles=10).check(tell)
        finally:
            path.unlink(missing_ok=True)
        result.notes.insert(0, what)
        return result
