# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read cases in a process of its own, which is started anew when it dies or hangs.

The process takes names of cases on its standard input, one a line. It answers each with "made" once the file is there to be
read, "read" before it is compared with the truth, and a line of JSON at the end.
"""

import json
import os
import select
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import av
from cases import Cases
from check import Result

MEMORY = 12 << 30  # bytes of address space for the process


class Reader:
    """Run cases in another process, each for at most `seconds`."""

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
        process = self.process = self.process or self._start()
        process.stdin.write(f"{name}\n".encode())
        stage, line = "", self._line(process)
        while line in (b"made\n", b"read\n"):
            stage, line = line.decode().strip(), self._line(process)
        if line:
            return Result(**json.loads(line))
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        code = process.poll()  # None if it still goes on
        self._stop()
        if stage != "made":
            doing = "decode it with FFmpeg alone" if stage else "make it"
            return Result(name, skipped=1, notes=[f"the process that was to {doing} died or hung"])
        if code is None:
            return Result(name, hang=1, seconds=self.seconds, notes=[f"no answer within {self.seconds} s"])
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return Result(name, crash=1, notes=[f"the process ended with {code}: {last}"])

    def _start(self) -> subprocess.Popen:
        worker = [sys.executable, __file__, str(self.folder)]
        command, pipe = ["sh", "-c", f'ulimit -v {MEMORY >> 10}; exec "$@"', "sh", *worker], subprocess.PIPE
        with self.log.open("wb") as log:
            return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, bufsize=0)

    def _line(self, process: subprocess.Popen) -> bytes:
        """Return what the process says next; nothing if it hangs or dies."""
        ready = select.select([process.stdout], [], [], self.seconds)[0]  # unbuffered, or it would not tell
        return process.stdout.readline() if ready else b""

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def serve(folder: str) -> None:
    """Answer the names on standard input."""
    os.environ["SVT_LOG"] = "0"
    av.logging.set_level(None)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # encoders print to it
    cases = Cases(Path(folder))
    for line in sys.stdin:
        try:
            result = cases.run(line.strip(), lambda stage: print(stage, file=answers))
        except Exception:
            result = Result(line.strip(), other=1, notes=["the harness itself failed", traceback.format_exc()])
        print(json.dumps(asdict(result)), file=answers)


if __name__ == "__main__":
    serve(sys.argv[1])
