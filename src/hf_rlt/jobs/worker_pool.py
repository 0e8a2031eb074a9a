# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Map a function over many items in several processes: in order, a bounded number at once, surviving crashes."""

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from ..errors import one_line

MAX_TRIES = 2  # the kernel may kill a process for the memory that another one takes


@dataclass(frozen=True)
class Failure:
    """Stands for a missing result: the reason, in one line."""

    reason: str


@dataclass
class Task:
    """An item to work on, and what the function returned or `Failure`. A task that has a result is only passed on."""

    item: Any
    result: Any = None
    tries: int = field(default=0, repr=False)


def map_ordered(
    tasks: Iterable[Task],
    function: Callable[[Any], Any],
    num_workers: int,
    on_done: Callable[[Task], None] = lambda task: None,
    window: int | None = None,
    queued: int = 1,
    drain_on_interrupt: bool = True,
) -> Generator[Task, None, None]:
    """Yield the tasks with their results, in the order in which they came.

    A task whose process dies is tried once more before it fails. Scripts that call this directly must do so below
    `if __name__ == "__main__"`, as `multiprocessing` demands.

    Args:
        tasks: may be endless; taken only as they can be worked on. Items can be pickled.
        function: can be pickled; never returns None. What it raises becomes a `Failure`.
        num_workers: processes, each with one torch thread; 0 works in this process.
        on_done: called with each task as soon as it is finished, in any order.
        window: most tasks between the first unfinished and the last started one; 16 per worker unless given.
        queued: tasks that a worker holds at once: more than one keep it busy while nobody asks for results.
        drain_on_interrupt: whether to pass on finished tasks after Ctrl-C, before KeyboardInterrupt is raised.

    Raises:
        ChildProcessError: if the processes cannot start.
    """
    if num_workers:
        pool = _Pool(function, num_workers, queued)
        yield from pool.map(tasks, on_done, window or 16 * num_workers, drain_on_interrupt)
        return
    for task in tasks:
        if task.result is None:
            task.result = call_safely(function, task.item)
            on_done(task)
        yield task


class _Worker:
    """A process and its tasks; it works on the first of them."""

    def __init__(self, context: Any, function: Callable[[Any], Any]) -> None:
        self.tasks: deque[Task] = deque()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()  # or the end of the process would not be seen here


class _Pool:
    """Worker processes, started as they are needed."""

    def __init__(self, function: Callable[[Any], Any], num_workers: int, queued: int) -> None:
        start_server()
        self.function, self.num_workers, self.queued = function, num_workers, queued
        self.workers: list[_Worker] = []
        self.answered = False

    def map(
        self, tasks: Iterable[Task], on_done: Callable[[Task], None], window: int, drain_on_interrupt: bool
    ) -> Generator[Task, None, None]:
        waiting, source, more = deque[Task](), iter(tasks), True
        try:
            while more or waiting:
                while more and len(waiting) < window and self.has_room():
                    task = next(source, None)
                    if task is None:
                        more = False
                        break
                    waiting.append(task)
                    if task.result is None:
                        self.start(task)
                while waiting and waiting[0].result is not None:
                    yield waiting.popleft()
                for task in self.finished() if waiting else ():
                    on_done(task)
        except KeyboardInterrupt:
            yield from (task for task in waiting if drain_on_interrupt and task.result is not None)
            raise
        finally:
            self.close()

    def has_room(self) -> bool:
        return sum(len(worker.tasks) for worker in self.workers) < self.num_workers * self.queued

    def start(self, task: Task) -> None:
        worker = min(self.workers, key=lambda worker: len(worker.tasks), default=None)
        if worker is None or (worker.tasks and len(self.workers) < self.num_workers):
            worker = _Worker(_context(), self.function)
            self.workers.append(worker)
        worker.tasks.append(task)
        task.tries += 1
        with suppress(OSError):  # the process has died: `finished` will notice
            worker.connection.send(task.item)

    def finished(self) -> list[Task]:
        """Wait for a result or the death of a process; return the tasks that have a result now."""
        done = []
        busy = {worker.connection: worker for worker in self.workers if worker.tasks}
        connection: Any
        for connection in wait(list(busy)):
            worker = busy[connection]
            try:
                worker.tasks[0].result = connection.recv()
            except (EOFError, OSError):
                done += self._requeue(worker)
                continue
            self.answered = True
            done.append(worker.tasks.popleft())
        return done

    def _requeue(self, worker: _Worker) -> list[Task]:
        """Restart a dead worker's tasks; return the one that killed it if it has no tries left."""
        self.workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        first, *rest = worker.tasks
        for task in rest:
            task.tries -= 1  # it was not its turn yet
        failed = [first] if first.tries >= MAX_TRIES else []
        for task in rest if failed else worker.tasks:
            self.start(task)
        code = worker.process.exitcode
        if failed and not self.answered and code == 1:  # Python's own exit code, which no video causes
            raise ChildProcessError(
                'The worker processes cannot start, see above: a script must work below `if __name__ == "__main__":`.'
            )
        if failed:
            killed = code == -signal.SIGKILL
            ending = "SIGKILL, perhaps for lack of memory" if killed else f"exit code {code}"
            first.result = Failure(f"the process that read it ended, twice ({ending}).")
        return failed

    def close(self) -> None:
        for worker in self.workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()


def _context() -> Any:
    """Return the start method: forked where possible, but not from this process, whose threads may hold locks."""
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def start_server() -> None:
    """Start the fork server with SIGINT ignored: it does the imports of all workers while the caller goes on."""
    if _context().get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", __name__, "hf_rlt.tokens"])
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set signals; the server is started later, without
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Any, function: Callable[[Any], Any]) -> None:
    """Work on the items that arrive until the other end is closed."""
    import torch  # not above: a command starts the server before anything heavy is imported

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            connection.send(call_safely(function, connection.recv()))


def call_safely(function: Callable[[Any], Any], item: Any) -> Any:
    """Call a function; return `Failure` with the reason for whatever it raises."""
    try:
        return function(item)
    except (ValueError, OSError) as error:
        return Failure(one_line(error))
    except Exception as error:  # a library's surprise at a damaged file must not end the rest
        return Failure(f"{type(error).__name__}: {one_line(error)}")
