"""What child processes do in the tests of ProcessQueue. Spawned ones import this module; by itself it does nothing."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from queue import Empty, Full
from types import FrameType
from typing import Any

from worklist.executors import take_back


def echo(inbox: Any, outbox: Any) -> None:
    """Send back all that comes, until None."""
    while (value := inbox.get()) is not None:
        outbox.put(value)


def put_numbers(queue: Any, name: str, count: int) -> None:
    for number in range(count):
        queue.put((name, number))


def put_batches(queue: Any, name: str, count: int) -> None:
    for first in range(0, count, 50):
        queue.put_many([(name, number) for number in range(first, min(first + 50, count))])


def put_for_ever(queue: Any, name: int, padding: int) -> None:
    """Put (name, 0), (name, 1) … with so many bytes beside them."""
    number = 0
    while True:
        queue.put((name, number, b"x" * (number % (padding + 1))))
        number += 1


def get_for_ever(queue: Any, log: str) -> None:
    """Write down every number that was taken, in one piece."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        os.write(fd, b"%d\n" % queue.get())


def get_until_none(queue: Any, results: Any) -> None:
    taken = []
    while (value := queue.get()) is not None:
        taken.append(value)
        queue.task_done()
    queue.task_done()
    results.put(taken)


def outcome(queue: Any, verb: str, results: Any, *args: Any) -> None:
    """Put into `results` what a call without waiting returned, or the name of what it raised."""
    try:
        results.put(getattr(queue, verb)(*args))
    except (Empty, Full, ValueError) as error:
        results.put(type(error).__name__)


class Refuses:
    """A value that can be pickled and not unpickled."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, (self.number,)


def refuse(number: int) -> None:
    raise LookupError(f"no such thing: {number}")


def die_at_line(number: int, call: Callable[[], object]) -> bool:
    """Run the call in a forked child that kills itself at its so-manieth line within worklist.local.

    Return False if the call had fewer lines, and so ended.
    """
    pid = os.fork()
    if pid == 0:
        take_back()  # what is pending in a thread of the parent: CPython 3.11 would hang as soon as it traces
        with contextlib.suppress(BaseException):
            sys.settrace(_Killer(number).trace)
            call()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


class _Killer:
    def __init__(self, lines: int) -> None:
        self._left = lines

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if "/worklist/local/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace
