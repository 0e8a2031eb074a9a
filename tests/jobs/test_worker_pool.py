# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The pool keeps order and holds little; an error or a death concerns one task."""

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from hf_rlt.jobs.worker_pool import Failure, Task, map_ordered


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def late(path: str) -> str:
    """Leave a file; the first one comes a second after the second one."""
    if path.endswith("/0"):
        wait_for(Path(path).with_name("1"))
        time.sleep(1)
    Path(path).touch()
    return path


def fragile(number: int) -> int:
    if number % 4 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 4 == 2:
        raise ZeroDivisionError("a library's\nsurprise")
    return number + torch.get_num_threads()


def touch(path: str) -> str:
    """Append to a file; die of some, always or before the first time."""
    first = not Path(path).exists()
    if path.endswith(("kill", "by_chance")):
        Path(path).touch()
        if first or path.endswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
    with open(path, "a") as file:
        file.write("once")
    return path


def test_errors_and_deaths_concern_one_task():
    tasks = list(map_ordered(map(Task, range(4)), fragile, 2))
    assert [task.item for task in tasks] == list(range(4))
    assert [task.result for task in tasks] == [
        1,  # one thread in each process
        Failure("the process that read it ended, twice (SIGKILL, perhaps for lack of memory)."),
        Failure("ZeroDivisionError: a library's surprise"),
        4,
    ]
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_order_is_kept_and_little_is_held(tmp_path):
    names, pulled, done = [str(tmp_path / f"{number}") for number in range(30)], [], []
    endless = (pulled.append(name) or Task(name) for name in itertools.chain(names, itertools.repeat(names[-1])))
    results = map_ordered(endless, late, 2, done.append, window=6)
    for place, name in enumerate(names):
        task = next(results)
        assert (task.item, task.result) == (name, name)
        assert len(pulled) <= place + 7
    results.close()
    assert done[0].item != names[0]
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_process_keeps_busy_while_nobody_asks(tmp_path):
    names = [str(tmp_path / f"{number}") for number in range(9)]
    results = map_ordered(map(Task, names), touch, 1, queued=4)
    assert next(results).item == names[0]
    wait_for(Path(names[3]))
    assert sorted(path.name for path in tmp_path.iterdir())[:4] == ["0", "1", "2", "3"]
    assert [task.item for task in results] == names[1:]


@pytest.mark.slow
def test_a_dead_process_is_tried_again_and_its_other_tasks_are_done_once(tmp_path):
    names = [str(tmp_path / name) for name in ("a", "b", "kill", "c", "by_chance", "e")]
    tasks = list(map_ordered(map(Task, names), touch, 1, queued=6))
    assert [task.item for task in tasks] == names
    assert [isinstance(task.result, Failure) for task in tasks] == [False, False, True, False, False, False]
    assert [task.tries for task in tasks] == [1, 1, 2, 1, 2, 1]
    assert [Path(name).read_text() for name in names] == ["once", "once", "", "once", "once", "once"]
