# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The folder of predictions, written by any number of processes, and from which an interrupted run is resumed.

    parts/*.parquet        rows of some videos, written as they are computed, in any order; removed when all are done
    predictions.parquet    a row for each video, in their order
    predictions.jsonl      the same as JSON lines, if asked for
    settings.json          what the predictions depend on

Each file appears whole or not at all.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedModel

from ..data.text_files import read_json
from ..errors import HfRltError, truncate
from ..jobs.atomic import atomic_write, write_text_atomic
from ..jobs.jsonl import lock
from ..jobs.worker_pool import Failure
from ..tokens.count_many import file_state, written_name
from .rows import ERROR, FEATURES, Row, as_table

TABLE, LINES, SETTINGS, PARTS = "predictions.parquet", "predictions.jsonl", "settings.json", "parts"
FILE_FIELDS = {"video": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64()}
OWN_PARTS = re.compile(rf"[0-9a-f]{{32}}\.parquet|\d+\.lock|{re.escape(TABLE)}|\..*\.part")
ROWS = 1024  # of a row group
LARGE_ROWS = 16  # of a row group, where the features of each token are in it
CHANGED = "came or changed while the others were computed: run the same command again."


def file_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns that identify a file, followed by others."""
    return pa.schema([*map(pa.field, FILE_FIELDS, FILE_FIELDS.values()), *schema])


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{path}: cannot be written ({reason}): make room and rerun, or choose another folder."
        ) from error


def write_part(folder: Path, rows: pa.Table) -> None:
    """Write the rows of some videos; any process may, on any machine that shares the disk."""
    path = folder / PARTS / f"{uuid4().hex}.parquet"
    with _writing(path), atomic_write(path) as part:
        pq.write_table(rows, part, compression="zstd")


def json_lines(table: Path) -> Iterator[str]:
    """Yield the rows of a table as JSON, without what is null."""
    for rows in pq.ParquetFile(table).iter_batches(LARGE_ROWS):
        for row in rows.to_pylist():
            yield json.dumps(filled(row), default=float)  # older pyarrow returns NumPy's float16


class Folder:
    """Predictions in a folder, which is created if there is none. Use it in a `with` block.

    Args:
        path: of the folder.
        settings: everything that the predictions depend on, except for the videos.
        schema: of a prediction, see `row_schema`.
        rank: of this process.

    Raises:
        HfRltError: if the folder holds something else, or predictions with other settings.
        OSError: if it cannot be written to.
    """

    def __init__(self, path: str | Path, settings: Row, schema: pa.Schema, rank: int = 0) -> None:
        self.path = Path(path)
        self.schema = file_schema(schema)
        self._group = LARGE_ROWS if FEATURES in schema.names and _nested(schema.field(FEATURES)) else ROWS
        self._last: tuple[int, list[Row]] | None = None  # group and rows that were read last
        with ExitStack() as stack, _writing(self.path):
            self._check(settings)
            (self.path / PARTS).mkdir(parents=True, exist_ok=True)
            name = self.path / PARTS / f"{rank}.lock"
            lock(stack.enter_context(open(name, "ab")), self.path)
            self._check(settings)  # of a run that began at the same time, and came first
            write_text_atomic(self.path / SETTINGS, json.dumps(settings, indent=1) + "\n")
            self._find_rows()
            self._stack = stack.pop_all()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def cached(self, video: str, size: int, mtime_ns: int) -> Row | None:
        """Return the row, without features, of an unchanged video that could be read; else None."""
        place = self._places.get(_key(written_name(video), size, mtime_ns))
        if place is None or place & 1:
            return None
        if self._last is None or self._last[0] != place >> 32:  # rows of neighbours mostly lie in one group
            path, group = self._groups[place >> 32]
            names = [name for name in self.schema.names if name != FEATURES]
            self._last = place >> 32, pq.ParquetFile(path).read_row_group(group, names).to_pylist()
        return filled(self._last[1][place >> 1 & 0x7FFFFFFF])

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows of some videos."""
        if rows:
            write_part(self.path, as_table(rows, self.schema))

    def finalize(self, videos: Iterable[str], jsonl: bool = False) -> None:
        """Write the rows of all videos, in their order. For the first process, when all others are done."""
        self._find_rows()  # what the others have written is there now
        part, names = self.path / PARTS / TABLE, iter(videos)
        with _writing(part), pq.ParquetWriter(part, self.schema, compression="zstd") as table:
            while some := list(islice(names, self._group)):
                table.write_table(self._rows(some))
        os.replace(part, self.path / TABLE)
        if jsonl:
            with _writing(self.path / LINES), atomic_write(self.path / LINES) as lines, open(lines, "w") as file:
                file.writelines(f"{line}\n" for line in json_lines(self.path / TABLE))
        else:
            (self.path / LINES).unlink(missing_ok=True)

    def remove_parts(self) -> None:
        """Remove the parts. For the first process, after all others have closed them: network disks keep open files."""
        shutil.rmtree(self.path / PARTS)

    def _find_rows(self) -> None:
        """Find what this run and earlier ones have written, on any process: file, row group and row of each video.

        Of several rows of a video, one that could be read counts.
        """
        self._groups: list[tuple[Path, int]] = []
        self._last = None
        self._places: dict[bytes, int] = {}  # group << 32 | row << 1 | whether it could not be read
        for path in [self.path / TABLE, *sorted((self.path / PARTS).glob("[0-9a-f]*.parquet"))]:
            try:
                file = pq.ParquetFile(path)
            except (FileNotFoundError, pa.ArrowInvalid):  # a part that a loss of power has torn is computed again
                continue
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, [*FILE_FIELDS, ERROR])
                for row, (*name, error) in enumerate(zip(*(column.to_pylist() for column in table), strict=True)):
                    place = len(self._groups) << 32 | row << 1 | (error is not None)
                    key = _key(*name)
                    if error is None or self._places.get(key, 1) & 1:
                        self._places[key] = place
                self._groups.append((path, group))

    def _rows(self, videos: Sequence[str]) -> pa.Table:
        """Return the rows of some videos; each group of rows is read once."""
        states = [file_state(video) for video in videos]
        keys = [
            _key(written_name(video), *((0, 0) if isinstance(state, Failure) else state))
            for video, state in zip(videos, states, strict=True)
        ]
        wanted: dict[int, list[tuple[int, int]]] = {}  # (row, number of the video) by group
        for number, key in enumerate(keys):
            place = self._places.get(key, -1)
            wanted.setdefault(place >> 32, []).append((place >> 1 & 0x7FFFFFFF, number))
        tables, order = [], []
        for group, rows in wanted.items():
            if group < 0:
                gone = [{"video": written_name(videos[n]), "size": 0, "mtime_ns": 0, ERROR: CHANGED} for _, n in rows]
                tables.append(as_table(gone, self.schema))
            else:
                path, part = self._groups[group]
                tables.append(pq.ParquetFile(path).read_row_group(part).take([row for row, _ in rows]))
            order += [number for _, number in rows]
        places = sorted(range(len(order)), key=order.__getitem__)
        return pa.concat_tables(tables).take(places).cast(self.schema)

    def _check(self, settings: Row) -> None:
        """Raise HfRltError unless the folder is empty or holds predictions with these settings."""

        def refuse(what: str) -> NoReturn:
            raise HfRltError(f"{self.path}: holds {what}: choose another folder.")

        for file in sorted((self.path / PARTS).glob("*")):  # what is found there is removed at the end
            if not OWN_PARTS.fullmatch(file.name) or not file.is_file():
                refuse(f"{PARTS}/{file.name}, which is no prediction")
        if not (self.path / SETTINGS).exists():
            for name in (TABLE, LINES):
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


def _nested(field: pa.Field) -> bool:
    return pa.types.is_list(field.type.value_type)


def _key(video: str, size: int, mtime_ns: int) -> bytes:
    return hashlib.blake2b(json.dumps([video, size, mtime_ns]).encode(), digest_size=16).digest()


def filled(row: Row) -> Row:
    """Leave out what is null."""
    return {name: value for name, value in row.items() if value is not None}


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
