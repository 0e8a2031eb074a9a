# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A worker that is started anew when it dies or hangs."""

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from check import Result

HERE = Path(__file__).resolve().parent
MEMORY = 12 << 30  # bytes of address space for a worker


class Reader:
    """Run cases in a process of their own, each for at most `seconds`."""

    def __init__(self, folder: Path, seconds: float = 60) -> None:
        self.folder, self.seconds = folder, seconds
        self.log = folder / f"{os.getpid()}.log"
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        self.log.unlink(missing_ok=True)

    def read(self, name: str) -> Result:
        """Make and check one file."""
        if self.process is None:
            command = f'ulimit -v {MEMORY >> 10}; exec "$@"'
            worker = [sys.executable, str(HERE / "worker.py"), str(self.folder)]
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(
                    ["sh", "-c", command, "sh", *worker],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                )
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n".encode())
        self.process.stdin.flush()
        stage, line = "nothing", self._line()
        while line in (b"made\n", b"read\n"):
            stage, line = line.decode().strip(), self._line()
        if line:
            return Result(**json.loads(line))
        code = self.process.poll()  # None if it still goes on
        if code is None:
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(1)
        self._stop()
        if stage != "made":
            doing = "make it" if stage == "nothing" else "decode it with FFmpeg alone"
            return Result(name, skipped=1, notes=[f"the process that was to {doing} died or hung"])
        if code is None:
            return Result(name, hang=1, seconds=self.seconds, notes=[f"no answer within {self.seconds} s"])
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return Result(name, crash=1, notes=[f"the process ended with {code}: {last}"])

    def _line(self) -> bytes:
        """Return what the process says next; nothing if it hangs or dies."""
        assert self.process is not None
        assert self.process.stdout is not None
        ready = select.select([self.process.stdout], [], [], self.seconds)[0]  # unbuffered, or it would not tell
        return self.process.stdout.readline() if ready else b""

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
