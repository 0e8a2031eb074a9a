# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The folder of predictions, written by any number of processes, and from which an interrupted run is resumed.

While they are computed, each process appends lines to a file of its own in `parts/`, in any order. When all are done, the
first process writes `predictions.jsonl`, a line for each video in their order, and removes the parts. Features are in
`features/`, a file for each block of videos; a video's line says which file and row.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from ..data.text_files import path_of, read_json
from ..errors import HfRltError, truncate
from ..jobs.atomic import atomic_write, write_text_atomic
from ..jobs.jsonl import JsonlStore
from ..jobs.worker_pool import Failure
from ..tokens.count_many import file_state, written_name
from .decoder import VideoJob

Record = dict[str, Any]
LINES, SETTINGS, PARTS, FEATURES = "predictions.jsonl", "settings.json", "parts", "features"
OWN_FILES = {
    PARTS: re.compile(rf"\d+\.jsonl|{re.escape(LINES)}"),
    FEATURES: re.compile(r"\.?\d{6,}(-\d+)?\.safetensors(\.\d+\.part)?"),
}


class _Lines(JsonlStore):
    """Lines about videos, and the files of features that they name."""

    def __init__(self, path: Path, exclusive: bool = True) -> None:
        self.features: set[str] = set()
        super().__init__(path, ("video",), ("size", "mtime_ns"), "predictions", exclusive)

    def _parsed(self, line: bytes) -> Record | None:
        record = super()._parsed(line)
        if record is not None and "features" in record:
            self.features.add(record["features"])
        return record


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{path}: cannot be written ({reason}): make room and rerun, or choose another folder."
        ) from error


class Folder:
    """Predictions in a folder, which is created if there is none. Use it in a `with` block.

    Args:
        path: of the folder.
        settings: everything that the predictions depend on, except for the videos.
        rank: of this process.

    Raises:
        HfRltError: if the folder holds something else, or predictions with other settings.
        OSError: if it cannot be written to.
    """

    def __init__(self, path: str | Path, settings: Record, rank: int = 0) -> None:
        self.path = Path(path)
        with ExitStack() as stack, _writing(self.path):
            self._check(settings)
            (self.path / PARTS).mkdir(parents=True, exist_ok=True)
            self._mine = stack.enter_context(_Lines(self.path / PARTS / f"{rank}.jsonl"))
            self._check(settings)  # of a run that began at the same time, and came first
            write_text_atomic(self.path / SETTINGS, json.dumps(settings, indent=1) + "\n")
            self._open_files(stack)
            named = set().union(*(file.features for file in self._files))
            self._gone = {name for name in named if not (self.path / name).is_file()}
            self._stack = stack.pop_all()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def cached(self, job: VideoJob) -> Record | None:
        """Return the record of an unchanged video that could be read; else None."""
        record = self._current(str(job.video), (job.size, job.mtime_ns))
        return None if record is None or "error" in record or self._lost(record) else record

    def add(self, records: list[Record]) -> None:
        """Write the records of some videos."""
        self._mine.add(records)

    def add_features(self, block: int, features: list[Tensor]) -> str:
        """Write a new file, atomically, with a row for each of the features; return its name."""
        (self.path / FEATURES).mkdir(exist_ok=True)
        name, number = f"{FEATURES}/{block:06}.safetensors", 1
        while (self.path / name).exists() or name in self._gone:  # of an earlier run, whose lines still name it
            name, number = f"{FEATURES}/{block:06}-{number}.safetensors", number + 1
        with _writing(self.path / name), atomic_write(self.path / name) as part:
            save_file({"features": torch.stack(features)}, part)
        return name

    def finalize(self, videos: Iterable[str]) -> None:
        """Write the lines of all videos, in their order, and remove features that none of them names.

        For the first process, when all others are done.
        """
        part, used = self.path / PARTS / LINES, set()
        with _writing(part), ExitStack() as stack, open(part, "wb") as lines:
            self._open_files(stack)  # what the others have written is in there now
            for video in videos:
                state = file_state(video)
                record = self._current(video, (0, 0) if isinstance(state, Failure) else state) or {
                    "video": written_name(video),
                    "size": 0,
                    "mtime_ns": 0,
                    "error": "came or changed while the others were computed: run the same command again.",
                }
                used.add(record.get("features"))
                lines.write(json.dumps(record).encode() + b"\n")
        os.replace(part, self.path / LINES)
        for file in (self.path / FEATURES).glob("*"):
            if f"{FEATURES}/{file.name}" not in used:
                file.unlink()

    def remove_parts(self) -> None:
        """Remove the parts. For the first process, after all others have closed them: network disks keep open files."""
        shutil.rmtree(self.path / PARTS)

    def _current(self, video: str, state: tuple[int, int]) -> Record | None:
        """Return the record of a file of that size and time, preferring a complete result to another run's failure."""
        found = [record for file in self._files if (record := file.get({"video": written_name(video)})) is not None]
        current = [record for record in found if (record["size"], record["mtime_ns"]) == state]
        return min(current, key=lambda record: ("error" in record, self._lost(record)), default=None)

    def _lost(self, record: Record) -> bool:
        """Return whether the features that a record names are gone."""
        return "features" in record and not (self.path / record["features"]).is_file()

    def _open_files(self, stack: ExitStack) -> None:
        """Read what this run and earlier ones have written, on any process."""
        names = {self.path / LINES, *(self.path / PARTS).glob("[0-9]*.jsonl")} - {self._mine.path}
        others = [_Lines(name, exclusive=False) for name in sorted(names) if name.is_file()]
        self._files = [self._mine, *map(stack.enter_context, others)]

    def _check(self, settings: Record) -> None:
        """Raise HfRltError unless the folder is empty or holds predictions with these settings."""

        def refuse(what: str) -> NoReturn:
            raise HfRltError(f"{self.path}: holds {what}: choose another folder.")

        for folder, own in OWN_FILES.items():  # what is found there is removed at the end
            for file in sorted((self.path / folder).glob("*")):
                if not own.fullmatch(file.name) or not file.is_file():
                    refuse(f"{folder}/{file.name}, which is no prediction")
        if not (self.path / SETTINGS).exists():
            for name in (LINES, FEATURES):
                if (self.path / name).exists():
                    refuse(f"a {name} of something else")
            return
        found, wanted = read_json(self.path / SETTINGS), json.loads(json.dumps(settings))
        if not isinstance(found, dict):
            refuse(f"a {SETTINGS} of something else")
        for name in dict.fromkeys([*wanted, *found]):
            if found.get(name) != wanted.get(name):
                was, now = (truncate(of.get(name), 60) for of in (found, wanted))
                refuse(f"predictions with {name} {was}, received {now}")


def digest(network: PreTrainedModel) -> str:
    """Return a digest of a model's configuration and all its weights, independent of where it is stored."""
    config = network.config.to_dict()
    for name in ("_name_or_path", "auto_map", "transformers_version"):
        config.pop(name, None)
    found = hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def read_features(folder: str | Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (path, features) of each readable video, in order; only one file is open at a time."""
    folder, opened, name = Path(folder), None, None
    with open(folder / LINES, encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if "features" not in record:
                continue
            if record["features"] != name:
                name = record["features"]
                opened = safe_open(folder / name, "pt").get_slice("features")
            assert opened is not None
            yield path_of(record["video"]), opened[record["row"]]
