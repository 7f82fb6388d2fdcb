"""The parent of several processes: starts them, restarts what dies, passes on that they shall stop.

It imports no user code and looks at no job, so nothing that a task does can bring it down. Each child holds one end
of a pipe as its standard input: a byte in it asks the child to stop, and its end tells that the parent is gone,
however it went. That works where there are no signals and no fork. What the children do, it does not know.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Literal

from .core.units import spell

STOP, STOP_NOW = b"s", b"n"
"""What the parent writes to a child."""
RECYCLED = 75
"""The exit code of a child that wants a fresh one in its place."""
CANNOT_START = 78
"""The exit code of a child that could not begin to serve, and has said why."""
QUICK_DEATH = 2.0
"""A child that lived for less than this many seconds is restarted with growing pauses."""
PAUSES = (0.5, 10.0)
"""First and longest pause, in seconds."""
PATIENCE_FIRST = 10.0
"""Seconds in which the first child has either begun to serve or said why it cannot."""
PATIENCE_NOW = 5.0
"""Seconds that children have to end once they were asked to stop now."""

Say = Callable[[str, str], None]
"""Prints one line: a label and a text."""


class _Child:
    """One place among the children, and the process that has it."""

    def __init__(self, place: str, command: Sequence[str]) -> None:
        self.place = place
        self.command = tuple(command)
        self.process: subprocess.Popen[bytes] | None = None
        self.born = 0.0
        self.starts = 0
        self.quick_deaths = 0
        self.due: float | None = None
        """When to start it again."""

    @property
    def name(self) -> str:
        return f"{self.place} (pid {self.process.pid})" if self.process else self.place

    def tell(self, message: bytes) -> None:
        """Ask it to stop. One that has died does not hear it."""
        with contextlib.suppress(OSError):
            if self.process is not None and self.process.stdin is not None:
                self.process.stdin.write(message)
                self.process.stdin.flush()

    def pause(self) -> float:
        """Return the seconds to wait before the next start: none after a life of some length, or the first time."""
        lived = time.monotonic() - self.born
        self.quick_deaths = self.quick_deaths + 1 if lived < QUICK_DEATH else 0
        if self.quick_deaths < 2:
            return 0.0
        shortest, longest = PAUSES
        return min(longest, shortest * 2.0 ** (self.quick_deaths - 2))


Message = _Child | Literal["stop"]
"""What the parent hears: a child whose process has ended, or that somebody wants an end."""


class Supervisor:
    """Runs children until they have ended for good: `commands` are what they are called, and how each is started.

    `say` prints a line for people. `hush` are arguments for those that start together with the first: what keeps
    the first one from starting keeps all, and one is to say it. With `until_empty` a child that ends with exit code 0
    has done its work.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], say: Say, *, hush: Sequence[str] = (), until_empty: bool = False
    ) -> None:
        self._children = [_Child(place, command) for place, command in commands.items()]
        self._hush = tuple(hush)
        self._say = say
        self._until_empty = until_empty
        self._heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._wishes = 0
        self._kill_at: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Serve until every child has ended for good; return the exit code."""
        with self._signals():
            for child in self._children:
                self._start(child)
            while self._alive() or self._to_start():
                self._hear(self._patience())
                self._bury_orphans()
        return self._exit_code

    def stop(self) -> None:
        """Ask the children to stop: gently the first time, now the second time, and by killing the third time."""
        self._heard.put("stop")

    # -- one turn -----------------------------------------------------------------------------------------------

    def _hear(self, patience: float) -> None:
        try:
            message = self._heard.get(timeout=patience)
        except queue.Empty:
            self._start_due()
            self._kill_overdue()
            return
        if isinstance(message, _Child):
            self._bury(message)
        else:
            self._obey()

    def _patience(self) -> float:
        times = [child.due for child in self._to_start() if child.due is not None]
        if self._kill_at is not None:
            times.append(self._kill_at)
        return max(0.0, min([1.0, *(at - time.monotonic() for at in times)]))

    def _alive(self) -> list[_Child]:
        return [child for child in self._children if child.process is not None]

    def _to_start(self) -> list[_Child]:
        return [child for child in self._children if child.due is not None]

    # -- starting -----------------------------------------------------------------------------------------------

    def _start(self, child: _Child) -> None:
        hushed = child is not self._children[0] and not child.starts
        command = (*child.command, *self._hush) if hushed else child.command
        child.due = None
        child.born = time.monotonic()
        child.starts += 1
        try:
            child.process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own command
        except OSError as error:
            self._again(child, f"{child.name} could not be started: {error}")
            return
        threading.Thread(target=self._wait_for, args=(child, child.process), daemon=True).start()

    def _wait_for(self, child: _Child, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        self._heard.put(child)

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._to_start():
            if child.due is not None and child.due <= now:
                self._start(child)

    def _again(self, child: _Child, what: str) -> None:
        """Start a child again, at once or after a pause."""
        pause = child.pause()
        if pause:
            child.due = time.monotonic() + pause
            self._say("restart", f"{what}; it is started again in {spell(pause)}")
            return
        self._start(child)
        if child.process is not None:
            self._say("restart", f"{what}; started again as pid {child.process.pid}")

    # -- ending -------------------------------------------------------------------------------------------------

    def _bury(self, child: _Child) -> None:
        """Decide what follows a child's end: nothing, a fresh one, or the end of all."""
        process, name = child.process, child.name
        if process is None:
            return
        code = process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        child.process = None
        if self._wishes:
            self._note_unclean(name, code)
        elif code == CANNOT_START and child.starts == 1:
            self._cannot_start(child)
        elif code == RECYCLED:
            self._replace(child, name)
        elif code or not self._until_empty:
            self._again(child, f"{name} {how_it_ended(code)}")

    def _bury_orphans(self) -> None:
        """As the first process of a container: take note of those whose own parent died, as no one else will.

        Its own children are left to the threads that wait for them.
        """
        if os.getpid() != 1:
            return
        own = {child.process.pid for child in self._alive() if child.process is not None}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in own:
                os.waitpid(ended.si_pid, 0)

    def _cannot_start(self, child: _Child) -> None:
        """End all where the first one cannot begin; another one tries again, and then is not hushed any more.

        Where the first one is still at it, another one waits for longer: what keeps both is to be said once.
        """
        first = self._children[0]
        if child is first:
            self._exit_code = 1
            self._obey()
        else:
            young = first.starts == 1 and time.monotonic() - first.born < PATIENCE_FIRST
            child.due = time.monotonic() + (PATIENCE_FIRST if young else PAUSES[0])

    def _replace(self, child: _Child, name: str) -> None:
        child.quick_deaths = 0
        self._start(child)
        if child.process is not None:
            self._say("recycle", f"{name} reached --max-jobs or --max-memory; pid {child.process.pid} takes its place")

    def _note_unclean(self, name: str, code: int) -> None:
        if code not in (0, RECYCLED, CANNOT_START):
            self._say("ended", f"{name} {how_it_ended(code)} while it was to stop")

    def _obey(self) -> None:
        self._wishes += 1
        for child in self._children:
            child.due = None
            child.tell(STOP if self._wishes == 1 else STOP_NOW)
        if self._wishes == 2:
            self._kill_at = time.monotonic() + PATIENCE_NOW
        elif self._wishes > 2:
            self._kill_at = time.monotonic()

    def _kill_overdue(self) -> None:
        if self._kill_at is None or time.monotonic() < self._kill_at:
            return
        self._kill_at = None
        for child in self._alive():
            if child.process is not None:
                self._say("killed", f"{child.name} did not end in time")
                child.process.kill()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Hear SIGTERM and SIGINT as wishes to stop."""

        def heard(_signal: int, _frame: FrameType | None) -> None:
            self.stop()

        before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def how_it_ended(code: int) -> str:
    """Return what an exit code tells: ``was killed by SIGKILL``, ``ended with exit code 3``."""
    if code == CANNOT_START:
        return "could not start"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def obey_parent(stop: Callable[[bool], None]) -> None:
    """In a child: call ``stop(now)`` when the parent asks for it, and ``stop(False)`` when the parent is gone.

    Takes the pipe away from standard input, for no task to read from it.
    """
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        while message := os.read(pipe, 1):
            stop(message == STOP_NOW)
        stop(False)

    threading.Thread(target=listen, name="worklist-parent", daemon=True).start()
