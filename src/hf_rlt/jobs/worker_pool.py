# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The same work on many things in several processes: in order, a bounded number at once, whatever becomes of a process."""

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

import torch

from ..errors import one_line

TRIES = 2  # a process may be killed for the memory that another one takes


@dataclass(frozen=True)
class Failure:
    """What stands for a result that could not be had: the reason, in one line."""

    reason: str


@dataclass
class Task:
    """A thing to work on.

    Attributes:
        thing: what the function gets; can be pickled.
        result: what the function returned, or `Failure`. A task that comes with one is only passed on.
    """

    thing: Any
    result: Any = None
    tries: int = field(default=0, repr=False)


def map_ordered(
    tasks: Iterable[Task],
    function: Callable[[Any], Any],
    workers: int,
    found: Callable[[Task], None] | None = None,
    window: int | None = None,
    queued: int = 1,
    drain_on_interrupt: bool = True,
) -> Iterator[Task]:
    """Returns the tasks with their results, in the order in which they came.

    Tasks are asked for only as they can be worked on, and no more than `window` lie between the first unfinished one and
    the last begun one. A task whose process ends on the way is tried once more, then it has failed.

    A script that calls this directly must do so below `if __name__ == "__main__"`, as `multiprocessing` demands.

    Args:
        tasks: may be endless.
        function: can be pickled; never returns None. What it raises is a failure.
        workers: processes, each with one torch thread.
        found: called with each task worked on as soon as it is finished, in whatever order.
        window: 16 for each worker unless given.
        queued: tasks that a worker has at once: more than one keep it busy while nobody asks for results.
        drain_on_interrupt: whether after Ctrl-C what is finished is passed on before KeyboardInterrupt is raised.

    Raises:
        ChildProcessError: if the processes cannot start.
    """
    crew, waiting, source = _Pool(function, workers, queued), deque[Task](), iter(tasks)
    size, more = window or 16 * workers, True
    try:
        while more or waiting:
            while more and len(waiting) < size and crew.has_room():
                task = next(source, None)
                if task is None:
                    more = False
                    break
                waiting.append(task)
                if task.result is None:
                    crew.begin(task)
            while waiting and waiting[0].result is not None:
                yield waiting.popleft()
            for task in crew.finished() if waiting else ():
                if found is not None:
                    found(task)
    except KeyboardInterrupt:
        yield from (task for task in waiting if drain_on_interrupt and task.result is not None)
        raise
    finally:
        crew.dismiss()


class _Worker:
    """A process, and what it has to do: the first of the tasks is what it works on."""

    def __init__(self, context: Any, function: Callable[[Any], Any]) -> None:
        self.tasks: deque[Task] = deque()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()  # or the end of the process would not be seen here


class _Pool:
    """Processes, started as they are needed, and what each works on."""

    def __init__(self, function: Callable[[Any], Any], workers: int, queued: int) -> None:
        start_server()
        self.function, self.workers, self.queued = function, workers, queued
        self.started: list[_Worker] = []
        self.answered = False

    def has_room(self) -> bool:
        return sum(len(worker.tasks) for worker in self.started) < self.workers * self.queued

    def begin(self, task: Task) -> None:
        worker = min(self.started, key=lambda worker: len(worker.tasks), default=None)
        if worker is None or (worker.tasks and len(self.started) < self.workers):
            worker = _Worker(_context(), self.function)
            self.started.append(worker)
        worker.tasks.append(task)
        task.tries += 1
        with suppress(OSError):  # it has ended: `finished` will see that
            worker.connection.send(task.thing)

    def finished(self) -> list[Task]:
        """Returns the tasks that have got their results; waits until there is something to do."""
        done = []
        busy = {worker.connection: worker for worker in self.started if worker.tasks}
        connection: Any
        for connection in wait(list(busy)):
            worker = busy[connection]
            try:
                result = connection.recv()
            except (EOFError, OSError):
                done += self._after_death(worker)
                continue
            self.answered = True
            worker.tasks[0].result = result
            done.append(worker.tasks.popleft())
        return done

    def _after_death(self, worker: _Worker) -> list[Task]:
        """Returns the task the process died of if that was its last try; what it had to do is begun anew."""
        self.started.remove(worker)
        worker.connection.close()
        worker.process.join()
        first, *rest = worker.tasks
        for task in rest:
            task.tries -= 1  # it was not its turn yet
        again = [first, *rest] if first.tries < TRIES else rest
        for task in again:
            self.begin(task)
        if again and again[0] is first:
            return []
        if not self.answered and worker.process.exitcode == 1:  # Python's own end, which no video brings about
            raise ChildProcessError(
                "The processes that read videos cannot start, see above: a script has to do its work below `if __name__ == "
                '"__main__":`.'
            )
        first.result = Failure(f"the process that read it ended, twice ({_ending(worker.process.exitcode)}).")
        return [first]

    def dismiss(self) -> None:
        for worker in self.started:
            worker.connection.close()
            worker.process.kill()
        for worker in self.started:
            worker.process.join()


def _context() -> Any:
    """Returns how processes are started: forked, but not from this one, whose threads may hold locks."""
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def start_server() -> None:
    """Returns nothing; starts the process that the others are forked from, deaf to Ctrl-C from its first moment on.

    It has everything to import: called early, it does so while this process does something else.
    """
    context = _context()
    if context.get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    context.set_forkserver_preload(["__main__", __name__, "hf_rlt.tokens"])
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set signals; the server will be started without
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Any, function: Callable[[Any], Any]) -> None:
    """Returns when the other end is closed; until then, works on what comes from there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    torch.set_num_threads(1)
    try:
        while True:
            thing = connection.recv()
            connection.send(call_safely(function, thing))
    except (EOFError, OSError):
        return


def call_safely(function: Callable[[Any], Any], thing: Any) -> Any:
    """Returns what the function returns; `Failure` with the reason for whatever it raises."""
    try:
        return function(thing)
    except (ValueError, OSError) as error:
        return Failure(one_line(error))
    except Exception as error:  # a library's surprise at a damaged file must not end the rest
        return Failure(f"{type(error).__name__}: {one_line(error)}")


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps for lack of memory" if name == "SIGKILL" else name
