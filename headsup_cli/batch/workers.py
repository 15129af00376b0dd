"""Work shared out to processes that outlive the failure of any piece of it."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from headsup_cli.runtime.threads import configure_threads, usable_cores

_PATIENCE_S = 20.0  # for a process to clean up after itself

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerDied:
    """In place of a result: the process that worked on it ended, killed by the system or by a crash."""

    exit_code: int | None


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[tuple[int, Result | WorkerDied]]:
    """Call `function` on every item in `workers` fresh processes that share this machine's cores evenly.

    The processes' warnings and errors go through this process's loggers. When the iterator is closed, or Ctrl-C ends
    the wait for the next result, they are told to stop: what they were at raises SystemExit, so that it can clean up.

    Args:
        function: To be pickled: a function of a module, a `functools.partial` or an instance of a class of one. It
            should turn its failures into results.
        items: To be pickled.
        workers: Number of processes, at least one.

    Yields:
        The index of an item and its result, in the order in which they are ready.
    """
    pickled, threads = pickle.dumps(function), max(1, usable_cores() // workers)
    waiting = iter(range(len(items)))
    busy: dict[Connection, tuple[_Worker, int]] = {}

    def employ(worker: _Worker, index: int) -> None:
        busy[worker.connection] = worker, index
        worker.connection.send(items[index])

    try:
        for _, index in zip(range(workers), waiting, strict=False):
            employ(_Worker(pickled, threads), index)
        while busy:
            connection: Any
            for connection in wait(list(busy)):
                worker, index = busy[connection]
                message = worker.heard()
                if isinstance(message, logging.LogRecord):
                    logging.getLogger(message.name).handle(message)
                    continue
                yield index, message
                del busy[connection]
                following = next(waiting, None)
                if following is not None:
                    employ(_Worker(pickled, threads) if isinstance(message, WorkerDied) else worker, following)
                else:
                    worker.stop()
    finally:
        for worker, _ in busy.values():
            worker.process.terminate()
        for worker, _ in busy.values():
            worker.stop()


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self, function: bytes, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, threads), daemon=True)
        self.process.start()
        theirs.close()

    def heard(self) -> Any:
        """The next message: a result, a log record, or that there will be none."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE_S)
            return WorkerDied(self.process.exitcode)

    def stop(self) -> None:
        self.connection.close()  # which an idle process takes as its end
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()


def _serve(connection: Connection, function: bytes, threads: int) -> None:
    """What a process does: call the function on what comes through the pipe until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent decides what it means
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    configure_threads(threads)  # before the function's modules bring in torch
    logging.basicConfig(handlers=[_Relay(connection)], level=logging.WARNING, force=True)
    call = pickle.loads(function)
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        result = call(item)
        sys.stdout.flush()
        try:
            connection.send(result)
        except BrokenPipeError:  # nobody waits for it any more
            return


class _Relay(logging.Handler):
    """Sends log records to the parent, with their text made up so that they can be pickled."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.connection.send(record)
