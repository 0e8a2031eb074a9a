# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A page about many results."""

from collections.abc import Iterable

from check import Result

BAD_CLEAN = ("wrong", "shifted", "refused_sound", "count", "times", "unread", "other", "hang", "crash")
BAD_DAMAGED = ("wrong", "lost", "times", "other", "hang", "crash")
COLUMNS = ("wrong", "shifted", "count", "times", "refused", "refused_sound")
COLUMNS += ("unread", "unstable", "shorter", "other", "hang", "crash")
LEGEND = """
`wrong`: readings of a frame that gave another; `shifted`: that gave the frame of this time, before which damage
swallowed others, which keep their places (damaged files only);
`count`: files with a wrong number of frames (`lost`: sound ones are missing); `times`: files with wrong times;
`refused`: readings refused in one line (`refused_sound`: of frames that nothing was wrong with); `unread`: files
refused of which FFmpeg gives a sound frame; `unstable`: not compared, as FFmpeg gives different frames
with threads or a used decoder; `shorter`: damaged frames left out at the end; MB: highest memory above the
start; s: longest time for one file. A frame is sound if FFmpeg reports nothing between a keyframe and it."""


def kind_of(result: Result) -> str:
    head, colon, _ = result.name.partition(":")
    if colon:
        return {"file": "from elsewhere", "damaged": "from elsewhere, damaged"}.get(head, head)
    return "cut" if head.startswith("cut_") else "clean"


def is_bad(result: Result) -> bool:
    wanted = BAD_CLEAN if kind_of(result) in ("clean", "from elsewhere") else BAD_DAMAGED
    return any(getattr(result, name) for name in wanted)


def report(results: Iterable[Result]) -> str:
    """Return the page: a line for each kind, then each case that failed."""
    kinds: dict[str, list[Result]] = {}
    for result in results:
        if not result.skipped:
            kinds.setdefault(kind_of(result), []).append(result)
    heads = ["kind", "files", "failing", "frames", "readings", *COLUMNS, "MB", "s"]
    lines, failures = ["# The reader against FFmpeg", "", _row(heads), _row(["---"] * len(heads))], []
    for kind, found in kinds.items():
        failing = [r for r in found if is_bad(r)]
        sums = [sum(getattr(r, name) for r in found) for name in ("held", "read", *COLUMNS)]
        memory, seconds = max(r.memory for r in found) >> 20, max(r.seconds for r in found)
        lines.append(_row([kind, len(found), len(failing), *sums, memory, f"{seconds:.1f}"]))
        failures += ["", f"## {kind}: {len(failing)} failing", ""] if failing else []
        for r in failing:
            counts = ", ".join(f"{name} {getattr(r, name)}" for name in COLUMNS if getattr(r, name))
            failures += [f"* `--case '{r.name}'`: {counts}", *(f"  * {note}" for note in r.notes)]
    return "\n".join([*lines, LEGEND, *failures]) + "\n"


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
