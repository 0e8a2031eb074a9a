# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A file of JSON lines that survives interruptions: records are appended as they are found, and looked up by a key."""

import errno
import json
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Self

from ..errors import HfRltError
from .atomic import check_parent

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEGINNING = b'{"video": '
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network disks


def lock(file: IO[bytes], name: Path, wait: bool = False) -> None:
    """Lock an open file until it is closed or this process ends; `name` is what an error says another run writes."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise HfRltError(f"{name}: another run writes it: wait, or choose another name.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


class JsonlStore:
    """JSON lines, each about one video. Only their offsets are held in memory. Use it in a `with` block.

    Args:
        path: of the file, which is created if there is none.
        keys: names of the fields that identify a record; of several with the same values the last one counts.
        required_fields: fields without which a line is skipped.
        label: what the lines are, for messages.
        exclusive: whether no other process may write the file meanwhile.
        wait: whether to wait until another process has finished, instead of raising.

    Raises:
        HfRltError: if the file holds something else, or another process writes it.
    """

    def __init__(
        self,
        path: str | Path,
        keys: tuple[str, ...],
        required_fields: Iterable[str],
        label: str,
        exclusive: bool = True,
        wait: bool = False,
    ) -> None:
        self.path, self._keys, self._required, self._label = Path(path), keys, {*keys, *required_fields}, label
        check_parent(self.path)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        self._reader = open(path, "rb")  # noqa: SIM115
        self._offsets: dict[bytes, int] = {}
        try:
            if exclusive:
                lock(self._file, self.path, wait)
            self._read(repair=exclusive)
        except BaseException:
            self.close()
            raise

    def _read(self, repair: bool) -> None:
        head = self._reader.read(len(BEGINNING))
        if head not in (BEGINNING, BEGINNING[: len(head)]):
            raise HfRltError(f"{self.path}: is no file of {self._label}: choose another name.")
        self._reader.seek(0)
        offset = 0
        for line in self._reader:
            if not line.endswith(b"\n"):
                if repair:  # an interruption tore it; without a lock another process may be about to write the rest
                    self._file.truncate(offset)
                break
            if (record := self._parsed(line)) is not None:
                self._offsets[self._key(record)] = offset
            offset += len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and let others write it."""
        self._file.close()
        self._reader.close()

    def get(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Return the last record with the same keys; None if there is none."""
        offset = self._offsets.get(self._key(record))
        if offset is None:
            return None
        self._reader.seek(offset)
        return json.loads(self._reader.readline())

    def __contains__(self, record: dict[str, Any]) -> bool:
        return self._key(record) in self._offsets

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records, all or, without room for them, none; an interruption can leave a torn line at the end."""
        records = list(records)
        lines = [json.dumps(record).encode() + b"\n" for record in records]
        offset = os.fstat(self._file.fileno()).st_size
        rest = memoryview(b"".join(lines))
        try:
            while rest:  # a disk that is nearly full takes a part, and refuses the rest
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(offset)
            raise OSError(f"{self.path}: cannot be written ({error.strerror}): make room, and run it again.") from error
        for record, line in zip(records, lines, strict=True):
            self._offsets[self._key(record)] = offset
            offset += len(line)

    def _parsed(self, line: bytes) -> dict[str, Any] | None:
        """Return the record in a line; None for a line that holds something else."""
        try:
            record = json.loads(line)
        except ValueError:
            return None
        return record if isinstance(record, dict) and self._required <= record.keys() else None

    def _key(self, record: dict[str, Any]) -> bytes:
        return blake2b(json.dumps([record[name] for name in self._keys]).encode(), digest_size=16).digest()
