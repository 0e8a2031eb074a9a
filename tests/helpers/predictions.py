# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Run `hf-rlt predict`, and look at what it opened and wrote."""

import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import torch
from typer.testing import CliRunner

from hf_rlt import RLTVideoProcessor
from hf_rlt.cli import app


class WatchedProcessor(RLTVideoProcessor):
    """Logs each file that is opened; a file named kill ends the process, one named stop is Ctrl-C for `main`."""

    log, main = "", 0

    def _read_clips(self, video, *arguments):
        with open(self.log, "a", errors="replace") as log:
            log.write(f"{Path(video).name}\n")
        if "kill" in Path(video).name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "stop" in Path(video).name:
            os.kill(self.main, signal.SIGINT)
            time.sleep(60)
        return super()._read_clips(video, *arguments)

    def take_log(self) -> list[str]:
        """Return the names of the files that were opened since the last call."""
        log = Path(self.log)
        names = log.read_text().split() if log.exists() else []
        log.write_text("")
        return names


def run(*arguments):
    workers = () if "--num-workers" in arguments else ("--num-workers", 0)
    return CliRunner().invoke(app, ["predict", *map(str, (*arguments, *workers))])


def lines(folder: Path) -> list[dict]:
    """The rows of a folder of predictions, without what is null."""
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def features_in(folder: Path) -> dict[str, torch.Tensor]:
    """The features of each video that could be read, by its name."""
    return {line["video"]: torch.tensor(line["features"]).half() for line in lines(folder) if "features" in line}


def known_in(folder: Path) -> int:
    """How many videos that could be read the parts of an unfinished run hold."""
    return sum(
        error is None
        for part in (folder / "parts").glob("[0-9a-f]*.parquet")
        for error in pq.read_table(part)["error"].to_pylist()
    )


def names(folder: Path) -> list[str]:
    return [Path(line["video"]).name for line in lines(folder)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
