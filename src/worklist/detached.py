"""A worker in a process of its own that outlives the program: starting it, at most once a file, finding it, its end.

All of it stands on locks that the system drops with the process that holds them, however that process ends. Both ends
are here: the program's (`start`, `find`, WorkerProcess) and the worker's (Post). It knows neither apps nor brokers:
what is to be served comes as a command line, and whether there is work as a function.

Three files in a folder beside the database carry the locks, and ``worker.json`` says who the worker is:

- ``life``: held by the worker for its whole life. It is the starter that takes it, and the worker inherits it, so there
  is no moment at which two could start.
- ``start``: held while somebody starts or looks for a worker, and by a worker from the moment it decides to end.
- ``programs``: shared by all programs that started the worker and still live; an idle worker waits for them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from .core.errors import ConfigError, WorklistError
from .core.events import log as logger

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

START_SECONDS = 60.0
"""How long a worker may take until it has imported the app."""
POLL_SECONDS = 0.01
LOOK_SECONDS = 1.0
"""The longest pause between two looks at whether the worker has become idle, and at the size of its log."""
LOOK_SHARE = 0.05
"""The largest share of its time that a worker spends on looking whether it is idle."""
LOG_BYTES = 1_000_000
"""A log that has become larger keeps its newer half."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What a starter tells the worker that it starts, beyond the options of any worker; times in seconds."""

    database: str
    lock: int
    """The file descriptor that holds ``life``."""
    script: str | None = None
    """The file of the app's module, where that is a script and not found by its name."""
    idle_exit: float | None = None
    python_path: str | None = None
    """$PYTHONPATH as the starter had it; the worker starts with the starter's whole ``sys.path`` there."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Who the worker is, as ``worker.json`` has it from the moment it serves; or the `error` that kept it from that."""

    pid: int = 0
    since: float = 0.0
    app: str = ""
    tasks: list[str] = []
    queues: list[str] = []
    leaving: bool = False
    """Whether it takes no more jobs, and only lets those end that run."""
    error: str = ""


# -- the files ----------------------------------------------------------------------------------------------------


class Place:
    """The files beside one database."""

    def __init__(self, database: Path | str) -> None:
        self.database = Path(database)
        absolute = self.database.absolute()
        self._folder = absolute.with_name(f"{absolute.name}.worker")
        self._about = self._folder / "worker.json"
        self.log = absolute.with_name(f"{absolute.name}.log")

    @property
    def was_used(self) -> bool:
        """Whether a worker was ever started here."""
        return self._folder.is_dir()

    def create(self) -> None:
        """Make the folder, where it is not there. Raises ConfigError where it cannot be used."""
        if fcntl is None:
            raise ConfigError(
                "a worker in a process of its own needs locks that Windows does not have; "
                "run `worklist worker MODULE:APP` in a window of its own"
            )
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._folder} cannot be made: {error.strerror}; check the permissions there") from None

    def open(self, name: str) -> int:
        """Return a new file descriptor of one of the three files. Reading is enough for a lock, and for a look."""
        return os.open(self._folder / name, os.O_RDONLY | os.O_CREAT, 0o666)

    @contextlib.contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Hold ``start``; wait for it as long as it takes: a start, a look, or the end of a worker."""
        start = self.open("start")
        try:
            fcntl.flock(start, fcntl.LOCK_EX)
            yield
        finally:
            os.close(start)

    def write(self, about: About) -> None:
        """Write down who the worker is, all at once. Only who holds ``life`` may."""
        new = self._about.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(about))
        new.replace(self._about)

    def forget(self) -> None:
        """Remove what a worker that has ended wrote down. Only who holds ``life`` may."""
        self._about.unlink(missing_ok=True)

    def read(self) -> About | None:
        """Return who the worker is, None where it has not said so yet; of any worth only where ``life`` is held."""
        try:
            return msgspec.json.decode(self._about.read_bytes(), type=About)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def programs_live(self) -> bool:
        """Return whether a program that started the worker still lives."""
        programs = self.open("programs")
        try:
            return not _try_lock(programs)
        finally:
            os.close(programs)

    def trim_log(self) -> None:
        """Keep the newer half of a log that has become too large, from the start of a line on.

        In place, for those that write to it have it open for appending.
        """
        if not self.log.exists() or self.log.stat().st_size <= LOG_BYTES:
            return
        with self.log.open("rb+") as file:
            file.seek(-LOG_BYTES // 2, os.SEEK_END)
            file.readline()
            newer = file.read()
            file.truncate(0)
            file.seek(0)
            file.write(newer)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# -- the program's end --------------------------------------------------------------------------------------------


class WorkerProcess:
    """The handle of a worker in a process of its own: what `app.start_worker` returns.

    `pid` is its process, `since` when it began to serve (unix seconds), `app` what it serves, `log` the file that it
    and its jobs print to.
    """

    def __init__(self, place: Place, about: About, programs: int | None = None) -> None:
        self.pid = about.pid
        self.since = about.since
        self.app = about.app
        self.log = place.log
        self._place = place
        self._programs = programs

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        now = _running(self._place)
        return now is not None and now.pid == self.pid

    def stop(self, now: bool = False) -> None:
        """Ask it to stop and return at once: running jobs get its grace time, or none with `now`.

        Raises WorklistError where it belongs to another user.
        """
        if not self.running:
            return
        try:
            os.kill(self.pid, signal.SIGTERM)
            if now:
                os.kill(self.pid, signal.SIGINT)  # another number, or the two could become one
        except ProcessLookupError:
            return
        except PermissionError:
            raise WorklistError(f"the worker (pid {self.pid}) belongs to another user, who alone can stop it") from None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, for `timeout` seconds at most; return whether it has.

        A worker with `idle_exit` ends when all jobs have finished; it does not wait for this program any more.
        """
        self.let_go()
        end = None if timeout is None else time.monotonic() + timeout
        while self.running:
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def let_go(self) -> None:
        """Tell that this program puts no more jobs, as its end does: a worker with `idle_exit` does not wait for it."""
        if self._programs is not None:
            os.close(self._programs)
            self._programs = None

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid} on {self._place.database}>"


def variable_of(thing: object, likely: Iterable[str]) -> tuple[str, str | None]:
    """Return ``module:name`` of the variable that holds `thing`, and the module's file where that runs as a script.

    The modules in `likely` are looked at first, others that have imported it next, the script that runs last. Raises
    ConfigError where another process cannot import it. O(global variables of all modules).
    """
    others = [name for name in sys.modules if name not in ("__main__", "__mp_main__")]
    for module_name in (*likely, *others, "__main__"):
        module = sys.modules.get(module_name)
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if module is not None and value is thing:
                return _importable(module_name, module, name)
    raise ConfigError(
        "the app is in no variable of a module, so that another process cannot import it; "
        "make it at the top of a module, such as app = Worklist()"
    )


def _importable(module_name: str, module: ModuleType, name: str) -> tuple[str, str | None]:
    if module_name != "__main__":
        return f"{module_name}:{name}", None
    if module.__spec__ is not None:  # python -m
        return f"{module.__spec__.name}:{name}", None
    file = getattr(module, "__file__", None)
    if file is None:
        raise ConfigError(
            f"the app {name!r} was typed in, so that another process cannot import it; save it in a file, tasks.py, "
            f"and begin with `from tasks import {name}`"
        )
    return f"{Path(file).stem}:{name}", str(Path(file).absolute())


def find(database: Path | str) -> WorkerProcess | None:
    """Return the worker of its own that serves this file, None where there is none."""
    place = Place(database)
    about = _running(place)
    return None if about is None else WorkerProcess(place, about)


def _running(place: Place) -> About | None:
    if fcntl is None or not place.was_used:
        return None
    with place.one_at_a_time():
        life = place.open("life")
        try:
            about = None if _try_lock(life) else place.read()
        finally:
            os.close(life)
    return about if about is not None and not about.error else None


def start(
    database: Path | str,
    app: str,
    script: str | None,
    arguments: Sequence[str],
    idle_exit: float | None,
    tasks: Sequence[str],
    queues: Sequence[str],
) -> WorkerProcess:
    """Start a worker of `app` for this file, or find the one that runs; return it once it serves.

    `arguments` are options of ``worklist worker``. Raises WorklistError where it cannot start, and where the one
    that runs does not serve all of `tasks` and `queues`.
    """
    place = Place(database)
    place.create()
    if _post is not None and _post.place.log == place.log:
        return _post.itself()
    assignment = Assignment(
        database=str(database), lock=-1, script=script, idle_exit=idle_exit, python_path=os.environ.get("PYTHONPATH")
    )
    with place.one_at_a_time():
        programs = place.open("programs")
        try:
            fcntl.flock(programs, fcntl.LOCK_SH)
            about = _started_or_found(place, app, arguments, assignment)
            _refuse_another(place, about, tasks, queues)
        except BaseException:
            os.close(programs)
            raise
    return WorkerProcess(place, about, programs)


def _started_or_found(place: Place, app: str, arguments: Sequence[str], assignment: Assignment) -> About:
    life = place.open("life")
    try:
        found = _found(place, life)
        if found is not None:
            return found
        place.forget()
        place.trim_log()
        process = _spawn(place, app, arguments, msgspec.structs.replace(assignment, lock=life))
    finally:
        os.close(life)  # the worker has inherited it
    about = _once_it_serves(place, process)
    threading.Thread(target=process.wait, name="worklist-reaper", daemon=True).start()
    return about


def _found(place: Place, life: int) -> About | None:
    """Return who holds ``life``; None where nobody does, and now this process.

    Waits for one whose starter died before it served, and for the end of one that takes no more jobs.
    """
    while not _try_lock(life):
        about = place.read()
        if about is not None and not about.leaving and not about.error:
            return about
        time.sleep(POLL_SECONDS)
    return None


def _spawn(place: Place, app: str, arguments: Sequence[str], assignment: Assignment) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "worklist", "worker", app, *arguments]
    command.append(f"--assignment={msgspec.json.encode(assignment).decode()}")
    python_path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    with place.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own command
            command,
            env={**os.environ, "PYTHONPATH": python_path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(assignment.lock,),
            start_new_session=True,
        )


def _once_it_serves(place: Place, process: "subprocess.Popen[bytes]") -> About:
    """Wait until the worker has said who it is; raise what kept it from serving."""
    end = time.monotonic() + START_SECONDS
    why = ""
    while not why:
        code = process.poll()
        about = place.read()
        if about is not None and not about.error:
            return about
        if about is not None:
            why = about.error
        elif code is not None:
            why = f"the worker ended with exit code {code} before it could serve; {place.log} says why"
        elif time.monotonic() > end:
            process.kill()
            why = f"the worker did not serve within {START_SECONDS:g} s; {place.log} may say why"
        else:
            time.sleep(POLL_SECONDS)
    process.wait()
    raise WorklistError(why)


def _refuse_another(place: Place, about: About, tasks: Sequence[str], queues: Sequence[str]) -> None:
    """Raise WorklistError where the worker that runs would not do what this app puts."""
    for what, wanted, served in (("task", tasks, about.tasks), ("queue", queues, about.queues)):
        for name in wanted:
            if name not in served:
                raise WorklistError(
                    f"the worker that runs on {place.database} (pid {about.pid}, of {about.app}) does not serve the "
                    f"{what} {name!r}; stop it with `worklist stop` for a new one to start, or give one of the two "
                    "apps another file"
                )


# -- the worker's end ---------------------------------------------------------------------------------------------


class Post:
    """What a detached worker holds: the lock on ``life``, which it inherited, and its log."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.place = Place(assignment.database)
        self._lock = assignment.lock
        self._about: About | None = None
        self._last: contextlib.ExitStack = contextlib.ExitStack()
        self._ended = threading.Event()
        os.set_inheritable(self._lock, False)  # the processes that jobs start are not the worker
        os.register_at_fork(after_in_child=self._leave_to_parent)
        _restore_python_path(assignment.python_path)

    def _leave_to_parent(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._lock)

    def itself(self) -> WorkerProcess:
        """Return the handle of this very process, for code of the app that starts its worker and runs here, too."""
        if self._about is None and self.assignment.script is not None:
            raise ConfigError(
                "start_worker() was reached while the worker imported the script; "
                'what only the program is to do belongs under `if __name__ == "__main__":`'
            )
        return WorkerProcess(self.place, self._about or About(pid=os.getpid(), since=time.time()))

    def refuse(self, error: str) -> None:
        """Tell the starter what keeps this process from serving."""
        self.place.write(About(error=error))

    def begin(self, app: str, tasks: Sequence[str], queues: Sequence[str]) -> None:
        """Tell that this process serves from now on."""
        self._about = About(pid=os.getpid(), since=time.time(), app=app, tasks=list(tasks), queues=list(queues))
        self.place.write(self._about)

    def leave(self) -> None:
        """Tell that this process takes no more jobs: who starts a worker now waits for its end.

        Signal handlers call this, one perhaps in the midst of another.
        """
        if self._about is not None and not self._about.leaving:
            self._about = msgspec.structs.replace(self._about, leaving=True)
            with contextlib.suppress(OSError):
                self.place.write(self._about)

    def keep(self, done: Callable[[], Any], unfinished: Callable[[], bool], stop: Callable[[], None]) -> None:
        """Keep the log small; with `idle_exit`, call `stop` once nothing is left to do. A thread of its own.

        `done` is a value that changes when a job begins or ends, and costs nothing. `unfinished` tells whether a job
        is in the queues, due or not, and may take its time.
        """
        threading.Thread(target=self._keep, args=(done, unfinished, stop), name="worklist-post", daemon=True).start()

    def _keep(self, done: Callable[[], Any], unfinished: Callable[[], bool], stop: Callable[[], None]) -> None:
        idle_exit = self.assignment.idle_exit
        step = LOOK_SECONDS if idle_exit is None else min(LOOK_SECONDS, max(POLL_SECONDS, idle_exit / 10))
        seen, quiet_since, pause = done(), time.monotonic(), step
        while not self._ended.wait(pause):
            pause = step
            self.place.trim_log()
            now = time.monotonic()
            if idle_exit is None:
                continue
            if done() != seen or self.place.programs_live():
                seen, quiet_since = done(), now
            elif now - quiet_since >= idle_exit:
                if self._may_end(unfinished):
                    stop()
                    return
                quiet_since = time.monotonic()
                pause = max(step, (quiet_since - now) / LOOK_SHARE)

    def _may_end(self, unfinished: Callable[[], bool]) -> bool:
        """Decide under ``start`` and keep that until the end: a program that comes now waits, then starts a new worker.

        Whoever came before lives, which keeps this one, or has put its jobs, which the look finds.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.place.one_at_a_time())
            try:
                if self.place.programs_live() or unfinished():
                    return False
            except WorklistError as error:
                logger.warning("could not look for jobs that are left: %s", error)
                return False
            self._last = stack.pop_all()
        return True

    def end(self) -> None:
        """Leave: first the lock on ``life``, then ``start``, for who waits there to see that nobody serves."""
        self._ended.set()
        os.close(self._lock)
        self._last.close()


_post: Post | None = None
"""Set where this process is a detached worker."""


def take_post(assignment: Assignment) -> Post:
    """Become the worker that a starter started this process to be."""
    global _post
    _post = Post(assignment)
    return _post


def _restore_python_path(before: str | None) -> None:
    """Give the processes that jobs start the $PYTHONPATH that the program had."""
    if before is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = before
