# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A file of JSON lines that survives interruptions: appended to as things become known, each line found again by a key."""

import errno
import json
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ..errors import HfRltError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEGINNING = b'{"video": '
Self = TypeVar("Self", bound="JsonlStore")


class JsonlStore:
    """JSON lines, each about one video. Only places in the file are held in memory. Use as a context.

    Args:
        path: of the file, which is made if there is none.
        keys: names of the values that tell a record from others; of several with the same ones the last counts.
        needed: names that a line has to have; others are skipped.
        what: the lines are, for messages.
        alone: whether no other process may write the file meanwhile.

    Raises:
        ValueError: if the file holds something else, which would be spoilt, or another process writes it.
        OSError: if it cannot be written.
    """

    def __init__(
        self, path: str | Path, keys: tuple[str, ...], needed: Iterable[str], what: str, alone: bool = True
    ) -> None:
        self.path, self._keys, self._needed, self._what = Path(path), keys, {*keys, *needed}, what
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"{path}: expected an existing folder to write to, found no {self.path.parent}.")
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        self._places: dict[bytes, int] = {}
        try:
            if alone:
                self._lock()
            self._read(mend=alone)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Returns nothing; holds the file until it is closed, or this process ends. Two would write into one another."""
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HfRltError(
                f"{self.path}: {self._what} of another run are being written to it: wait, or choose another name."
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):  # some network disks know no locks
                raise

    def _read(self, mend: bool) -> None:
        with open(self.path, "rb") as lines:
            head = lines.read(len(BEGINNING))
            if head not in (BEGINNING, BEGINNING[: len(head)]):
                raise HfRltError(
                    f"{self.path}: expected a file of {self._what} or none, found another one: choose another name."
                )
            lines.seek(0)
            place = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    if mend:  # an interruption tore it; another process may be about to write the rest
                        self._file.truncate(place)
                    break
                record = self._parsed(line)
                if record is not None:
                    self._places[self._key(record)] = place
                place += len(line)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def get(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the last record with the same keys; None if there is none."""
        place = self._places.get(self._key(record))
        if place is None:
            return None
        self._file.seek(place)
        return json.loads(self._line())

    def __contains__(self, record: dict[str, Any]) -> bool:
        return self._key(record) in self._places

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Returns nothing; writes records, all of them at once: an interruption leaves whole lines, or one torn at the end.

        Raises:
            OSError: if there is no room, naming the file; none of them is kept then.
        """
        records = list(records)
        lines = [json.dumps(record).encode() + b"\n" for record in records]
        place = self._file.seek(0, os.SEEK_END)
        left = memoryview(b"".join(lines))
        try:
            while left:  # a disk that is nearly full takes a part, and refuses the rest
                left = left[self._file.write(left) :]
        except OSError as error:
            self._file.truncate(place)
            raise OSError(
                f"{self.path}: cannot be written ({error.strerror}): make room, and run the same command again."
            ) from error
        for record, line in zip(records, lines, strict=True):
            self._places[self._key(record)] = place
            place += len(line)

    def _line(self) -> bytes:
        parts = [self._file.read(1024)]
        while parts[-1] and b"\n" not in parts[-1]:
            parts.append(self._file.read(1024))
        return b"".join(parts).split(b"\n", 1)[0]

    def _parsed(self, line: bytes) -> dict[str, Any] | None:
        """Returns the record in a line; None for a line that holds something else."""
        try:
            record = json.loads(line)
        except ValueError:
            return None
        return record if isinstance(record, dict) and self._needed <= record.keys() else None

    def _key(self, record: dict[str, Any]) -> bytes:
        return blake2b(json.dumps([record[name] for name in self._keys]).encode(), digest_size=16).digest()
