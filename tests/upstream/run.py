# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Runs transformers' own common tests on VideoMAE, V-JEPA 2 and RLT's of both: what the stock model passes, we must pass.

    python tests/upstream/run.py [--sdist DIR] [-k EXPRESSION] [-n PROCESSES] [-v]

The tests come from the source distribution of the *installed* transformers (downloaded once with pip, kept in the user's
cache), or from `--sdist DIR`, an unpacked one or a checkout of the same version. Exit status: 0 all that stock passes
passes; 1 something does not; 2 the tests could not be run.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = {"pytest": "pytest", "parameterized": "parameterized", "accelerate": "accelerate", "peft": "peft"}
CHECKS = ("check_modeling.py", "check_video_processing.py", "check_pipeline.py")
MIXINS = ("test_modeling_common.py", "test_configuration_common.py", "test_video_processing_common.py")
FAMILIES = ("VideoMAE", "VJEPA2")
RANK = {"skipped": 0, "passed": 1, "failed": 2}

# The source distribution leaves out these folders, which the mixins import. None of what stands in holds a test, except
# for the settings that the test of the configuration tries.
STAND_INS = {
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": (
        'config_common_kwargs = {"return_dict": False, "output_hidden_states": True, "chunk_size_feed_forward": 5,\n'
        '    "problem_type": "regression", "id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}\n'
    ),
}


class CannotRun(Exception):
    """Says in one line why the tests could not be run."""


def check_needed() -> None:
    """Raise CannotRun, naming what to install, if something is missing."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise CannotRun(f"missing test dependencies: pip install {' '.join(missing)}")
    if importlib.util.find_spec("hf_rlt") is None:
        raise CannotRun("hf_rlt is not installed: pip install -e . in the repository")


def fetch_source() -> Path:
    """Fetch the source distribution of the installed transformers; return its unpacked folder."""
    version = importlib.metadata.version("transformers")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hf_rlt" / "upstream"
    folder = cache / f"transformers-{version}"
    if (folder / "tests").is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    command += ["--no-build-isolation", "--dest", str(cache), f"transformers=={version}"]
    done = subprocess.run(command, capture_output=True, text=True)
    archive = cache / f"transformers-{version}.tar.gz"
    if not archive.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "pip said nothing").splitlines()[-1]
        raise CannotRun(f"could not download the source of transformers {version} ({said}): pass --sdist DIR")
    with tempfile.TemporaryDirectory(dir=cache) as unpacked:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        (Path(unpacked) / folder.name).rename(folder)
    archive.unlink()
    return folder


def lay_out(source: Path, work: Path) -> None:
    """Puts into `work` a package `tests` (upstream's, with stand-ins for what is left out), and our checks."""
    missing = [name for name in MIXINS if not (source / "tests" / name).is_file()]
    if missing:
        raise CannotRun(f"{source} has no tests/{missing[0]}: this version does not carry its common tests")
    (work / "tests").mkdir()
    for entry in (source / "tests").iterdir():
        (work / "tests" / entry.name).symlink_to(entry)
    (work / "src").symlink_to(source / "src")
    (work / "tests" / "__init__.py").touch()
    for name, text in STAND_INS.items():
        path = work / "tests" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    for name in CHECKS:
        shutil.copy(HERE / name, work)
    (work / "pytest.ini").write_text("[pytest]\n")


class Recorder:
    """A pytest plugin that keeps, for every family and test, the worst outcome of the test and its subtests."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str], dict[str, str]] = {}
        self.reasons: dict[tuple[str, str, str], str] = {}
        self.broken: list[str] = []

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.broken.append(f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}")

    def pytest_runtest_logreport(self, report) -> None:
        if report.when != "call" and report.passed:
            return
        file, family, test = report.nodeid.split("::", 2)
        kind = file.removeprefix("check_").removesuffix(".py")
        outcomes = self.outcomes.setdefault((kind, family), {})
        if test not in outcomes or RANK[report.outcome] > RANK[outcomes[test]]:
            outcomes[test] = report.outcome
            if not report.passed:
                said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
                lines = [line for line in said.splitlines() if line.startswith("E ")] or said.splitlines()[-1:]
                self.reasons[kind, family, test] = lines[0].removeprefix("E").strip()[:200] if lines else ""


def run_checks(work: Path, expression: str | None, processes: int, verbose: bool) -> Recorder:
    """Run the tests and collect their outcomes."""
    import pytest

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.chdir(work)
    sys.path.insert(0, str(work))
    recorder = Recorder()
    arguments = ["--rootdir", str(work), "-p", "no:cacheprovider", "--disable-warnings", "--tb=short", *CHECKS]
    arguments += ["-k", expression] if expression else []
    arguments += ["-n", str(processes)] if processes > 1 else []
    arguments += ["-v"] if verbose else ["-q", "--no-header", "--no-summary"]
    pytest.main(arguments, plugins=[recorder])
    return recorder


def stock_of(family: str) -> str:
    """Name the class of the stock case: StockVJEPA2Test of RLTVJEPA2Test and of RLTVJEPA2ProportionalTest."""
    return next(f"Stock{name}Test" for name in FAMILIES if name in family)


def compare(recorder: Recorder) -> list[str]:
    """Prints the table, and returns a line for each test that stock passes and ours does not."""
    print(f"\n{'tests':18}{'class':32}{'passed':>8}{'failed':>8}{'skipped':>9}")
    worse = []
    for (kind, family), outcomes in sorted(recorder.outcomes.items()):
        count = Counter(outcomes.values())
        print(f"{kind:18}{family:32}{count['passed']:8}{count['failed']:8}{count['skipped']:9}")
        stock = recorder.outcomes.get((kind, stock_of(family)), {})
        for test, outcome in sorted(outcomes.items()):
            alone = test not in stock and outcome == "failed"
            if (stock.get(test) == "passed" and outcome != "passed") or alone:
                worse.append(f"{kind} {family} {test}: {outcome}: {recorder.reasons.get((kind, family, test), '')}")
        if family != stock_of(family):
            worse += [f"{kind} {family} {test}: did not run" for test in sorted(stock.keys() - outcomes.keys())]
    return worse


def main() -> int:
    """Run and compare; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdist", type=Path, metavar="DIR", help="unpacked source distribution or checkout to use")
    parser.add_argument("-k", metavar="EXPRESSION", help="only these tests, as pytest's -k")
    parser.add_argument(
        "-n", type=int, default=1, metavar="PROCESSES", help="processes (more than 1 needs pytest-xdist)"
    )
    parser.add_argument("-v", action="store_true", help="show each test and the tracebacks")
    args = parser.parse_args()
    home = Path.cwd()
    try:
        check_needed()
        source = args.sdist.resolve() if args.sdist else fetch_source()
        with tempfile.TemporaryDirectory() as folder:
            lay_out(source, Path(folder).resolve())
            recorder = run_checks(Path(folder).resolve(), args.k, args.n, args.v)
            os.chdir(home)
        if recorder.broken or not recorder.outcomes:
            raise CannotRun("; ".join(recorder.broken) or "no test was selected")
    except CannotRun as error:
        print(f"upstream tests not run: {error}", file=sys.stderr)
        return 2
    worse = compare(recorder)
    for kind, family, test in sorted(key for key in recorder.reasons if key[1] == stock_of(key[1])):
        if recorder.outcomes[kind, family][test] == "failed":
            print(f"stock fails too: {kind} {family} {test}: {recorder.reasons[kind, family, test]}")
    print(f"\nstock passes and ours does not: {len(worse) or 'nothing'}")
    print("".join(f"  {line}\n" for line in worse), end="")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
