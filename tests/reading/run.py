# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Compare the reader with FFmpeg on many files: `python tests/reading/run.py --clean 500 --mutated 3000 --report r.md`.

Goes on where it stopped when called again with the same --results; `--case NAME` runs one, and says all about it.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from cases import Cases
from check import Result
from isolated import Reader
from report import report


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=int, default=10_000, help="clean files at most")
    parser.add_argument("--mutated", type=int, default=3000, help="damaged files")
    parser.add_argument("--first-seed", type=int, default=0, help="of the damaged files")
    parser.add_argument("--folder", action="append", default=[], type=Path, help="also whole files in this folder")
    parser.add_argument("--damaged-folder", action="append", default=[], type=Path, help="also files not whole")
    parser.add_argument("--only", default="", help="clean files whose name holds this")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after that")
    parser.add_argument("--seconds", type=float, default=60, help="for one file before it counts as a hang")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th case from the i-th on, for several processes")
    parser.add_argument("--results", type=Path, default=Path("reading_results.jsonl"))
    parser.add_argument("--report", type=Path, help="write a page about all results here")
    parser.add_argument("--media", type=Path, help="folder that keeps the clean files")
    parser.add_argument("--case", action="append", default=[], help="run this one and print what is found")
    parser.add_argument("--keep", type=Path, help="also write the files of --case here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.media or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Reader(folder, args.seconds) as reader:
            for name in args.case:
                if args.keep:
                    _keep(Cases(folder), name, args.keep)
                print(json.dumps(asdict(reader.read(name)), indent=1))
            if not args.case:
                _run(args, reader)
    if args.report and not args.case:
        args.report.write_text(report(_results(args.results)))


def _run(args: argparse.Namespace, reader: Reader) -> None:
    clean = [name for name in Cases(reader.folder).clean if args.only in name]
    random.Random(0).shuffle(clean)  # so that the first few are of all kinds
    names = clean[: args.clean]
    for kind, folders in (("file", args.folder), ("damaged", args.damaged_folder)):
        names += [f"{kind}:{path.resolve()}" for one in folders for path in sorted(one.iterdir()) if path.is_file()]
    names += [f"mutated:{seed}" for seed in range(args.first_seed, args.first_seed + args.mutated)]
    part, parts = map(int, args.part.split("/"))
    args.results.touch()
    done = {result.name for result in _results(args.results)}
    names, end = [name for name in names[part::parts] if name not in done], time.monotonic() + 60 * args.minutes
    with args.results.open("a", buffering=1) as file:
        for i, name in enumerate(names):
            file.write(json.dumps(asdict(reader.read(name))) + "\n")
            if sys.stderr.isatty():
                print(f"\r{i + 1}/{len(names)} {name[:60]:60}", end="", file=sys.stderr)
            if time.monotonic() > end:
                break


def _keep(cases: Cases, name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kind, colon, seed = name.partition(":")
    made = cases.make_mutated(int(seed))[0] if kind == "mutated" else cases.get(name)
    shutil.copyfile(made, folder / (f"{kind}_{seed}{made.suffix}" if colon else made.name))


def _results(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
