"""The SQLite file: places and files that cannot be used, schemas of other versions, forks, full disks."""

import contextlib
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from worklist import BrokerError, Worklist
from worklist.brokers import sql
from worklist.brokers.sqlite import SqliteBroker
from worklist.brokers.sqlite import file as sqlite_file
from worklist.core.errors import BrokerUnavailable, CorruptStore, ReadOnlyStore, SchemaMismatch, StoreFull
from worklist.core.events import BrokerTrouble
from worklist.core.job import Job, JobState, new_job_id
from worklist.core.outcome import Done
from worklist.core.ports import Filter, Settlement

from .conftest import PATIENCE, serving

NOBODY = 65534


def a_job(**fields: Any) -> Job:
    return Job(new_job_id(), "task", **fields)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sound(path: Path) -> bool:
    db = sqlite3.connect(path)
    (answer,) = db.execute("PRAGMA integrity_check").fetchone()
    db.close()
    return bool(answer == "ok")


# -- places and files that cannot be used ---------------------------------------------------------------------


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(BrokerError, match=r"is a folder; expected the path of a file"):
        SqliteBroker(tmp_path)


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path):
    with pytest.raises(BrokerError, match="the folder .*missing does not exist"):
        SqliteBroker(tmp_path / "missing" / "jobs.db")
    assert files(tmp_path) == []


@pytest.mark.parametrize("content", [b"hello, this is a text and no database, and long enough\n" * 50, b"\x00" * 4096])
def test_a_file_of_another_kind_is_refused_and_left_as_it_was(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(CorruptStore, match="is damaged or no SQLite database"):
        SqliteBroker(path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE friends (name)")
    before = path.read_bytes()
    with pytest.raises(SchemaMismatch, match="database of another program; choose another file"):
        SqliteBroker(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_as_good_as_none(tmp_path):
    (tmp_path / "jobs.db").touch()
    broker = SqliteBroker(tmp_path / "jobs.db")
    assert broker.put([a_job()])
    broker.close()


def test_a_damaged_file_is_said_to_be_damaged(tmp_path):
    path = tmp_path / "jobs.db"
    broker = SqliteBroker(path)
    broker.put([a_job(args=b"x" * 500) for _ in range(500)])
    broker.close()
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    with pytest.raises(CorruptStore, match="damaged.*restore it from a backup"):  # noqa: PT012 - at one of them
        broker = SqliteBroker(path)
        broker.find(Filter(limit=1000))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "smb3"])
def test_a_network_file_system_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sqlite_file, "file_system_of", lambda folder: kind)
    with pytest.raises(BrokerError, match=rf"network file system \({kind}\)"):
        SqliteBroker(tmp_path / "jobs.db")
    assert files(tmp_path) == []


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "apfs", "fuse.gocryptfs", ""])
def test_a_local_file_system_is_not_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sqlite_file, "file_system_of", lambda folder: kind)
    SqliteBroker(tmp_path / "jobs.db").close()


@pytest.mark.skipif(not os.path.exists("/proc/self/mounts"), reason="reads /proc/self/mounts")
def test_the_file_system_of_a_folder_is_that_of_the_innermost_mount():
    assert sqlite_file.file_system_of(Path("/proc/self")) == "proc"
    assert sqlite_file.file_system_of(Path("/")) not in ("", "proc")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that everybody may enter, for a child that is nobody."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, file: str) -> str:
    """Return the error that somebody without rights gets when they open the file, or "opened"."""
    code = f"""
        import os
        from worklist.brokers.sqlite import SqliteBroker
        import worklist.brokers.sqlite.filewatch
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid({NOBODY})
            os.setuid({NOBODY})
        try:
            SqliteBroker({str(folder / file)!r})
            print("opened")
        except Exception as error:
            print(type(error).__name__, error)
    """
    return python(code)


def python(code: str, **environment: str) -> str:
    """Run a program of its own and return what it printed."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


needs_users = pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users with rights")


@needs_users
def test_a_folder_that_cannot_be_written_is_refused(open_folder):
    SqliteBroker(open_folder / "jobs.db").close()
    (open_folder / "jobs.db").chmod(0o666)
    open_folder.chmod(0o555)
    answer = as_nobody(open_folder, "jobs.db")
    assert answer.startswith("ReadOnlyStore")
    assert f"the folder {open_folder} cannot be written" in answer


@needs_users
def test_a_file_that_cannot_be_written_is_refused(open_folder):
    SqliteBroker(open_folder / "jobs.db").close()
    (open_folder / "jobs.db").chmod(0o444)
    open_folder.chmod(0o777)
    answer = as_nobody(open_folder, "jobs.db")
    assert answer.startswith("ReadOnlyStore")
    assert "jobs.db cannot be" in answer


def test_a_read_only_error_of_sqlite_is_told_as_such(tmp_path):
    broker = SqliteBroker(tmp_path / "jobs.db")
    broker._file._writer.execute("PRAGMA query_only = 1")
    with pytest.raises(ReadOnlyStore, match="cannot be opened for writing"):
        broker.put([a_job()])
    broker.close()


# -- schemas --------------------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "jobs.db"
    SqliteBroker(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {sqlite_file.SCHEMA_VERSION + 1}")
    with pytest.raises(SchemaMismatch, match="made by a newer Worklist.*upgrade Worklist here"):
        SqliteBroker(path)


def with_a_next_schema(monkeypatch: pytest.MonkeyPatch, script: str) -> int:
    version = sqlite_file.SCHEMA_VERSION + 1
    read = sql.read

    def read_or_invent(dialect: str, file: str) -> str:
        return script if file == f"schema_{version}.sql" else read(dialect, file)

    monkeypatch.setattr(sql, "read", read_or_invent)
    monkeypatch.setattr(sqlite_file, "SCHEMA_VERSION", version)
    return version


def test_an_older_schema_is_brought_up_to_date_with_its_jobs(tmp_path, monkeypatch):
    path = tmp_path / "jobs.db"
    old = SqliteBroker(path)
    ids = old.put([a_job() for _ in range(3)])
    old.close()
    version = with_a_next_schema(monkeypatch, "ALTER TABLE jobs ADD COLUMN next_thing TEXT; -- a comment; here\n")
    broker = SqliteBroker(path)
    assert [lease.id for lease in broker.lease("w", ["default"], 9, 30.0)] == ids
    assert broker._file.read("SELECT next_thing FROM jobs LIMIT 1") == [(None,)]
    assert broker._file.read("PRAGMA user_version") == [(version,)]
    broker.close()
    SqliteBroker(path).close()


class FirstFile:
    """A file as the first schema laid it out, with jobs as the first version wrote them: without ties."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path)
        for statement in sql.split(sql.read("sqlite", "schema_1.sql")):
            self.db.execute(statement)
        self.db.execute(f"PRAGMA application_id = {sqlite_file.APPLICATION_ID}")
        self.db.execute("PRAGMA user_version = 1")

    def add(self, state: int, **columns: Any) -> str:
        job = a_job(args=msgspec.msgpack.encode({"n": state}), key=columns.get("key"))
        body = msgspec.msgpack.encode(msgspec.structs.astuple(job)[:-1])
        row = {"id": job.id, "seq": int(job.id[:16], 16), "queue": "default", "rank": 0, "state": state}
        row |= {"task": "task", "enqueued": 1.0, "due": 1.0, "body": body, **columns}
        marks = ", ".join("?" for _ in row)
        self.db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", [*row.values()])
        if job.key is not None:
            self.db.execute("INSERT INTO keys VALUES (?, ?, ?, 0)", (job.key, job.id, row["seq"]))
        return job.id

    def close(self) -> None:
        self.db.commit()
        self.db.close()


def test_a_file_of_the_first_schema_is_upgraded_and_its_jobs_run(tmp_path):
    path = tmp_path / "jobs.db"
    first = FirstFile(path)
    ready, keyed = first.add(0), first.add(0, key="task:k")
    delayed = first.add(1, due=time.time() + 0.2)
    lost = first.add(2, number=1, attempt=1)
    done, failed = first.add(3, finished=2.0, result=b"\x07"), first.add(4, finished=2.0)
    (place,) = first.db.execute("SELECT seq FROM jobs WHERE state = 2").fetchone()
    first.db.execute("INSERT INTO leases VALUES (1, 'dead', 5.0, ?)", (f"[{place}]",))
    first.db.execute("INSERT INTO paused VALUES ('paused')")
    first.close()

    with Worklist(f"sqlite:///{path}") as app:
        ran: list[int] = []

        @app.task(name="task", key=lambda n: "k" if n == 0 else str(n), concurrency=1)
        def task(n: int) -> int:
            ran.append(n)
            return n

        assert task.enqueue(0).id == keyed
        assert app.inspector.paused() == ["paused"]
        total = (task.using(key=None).map([8, 9]) | app.task(name="total")(sum).s()).enqueue()
        with serving(app):
            assert total.result(timeout=PATIENCE) == 17
            assert [app.job(id).result(timeout=PATIENCE) for id in (ready, keyed, delayed, lost)] == [0, 0, 1, 2]
        assert app.job(done).result(timeout=0) == 7
        assert app.job(failed).retry()
        app.work(until_empty=True)
        assert app.job(failed).result(timeout=0) == 4
        assert sorted(ran) == [0, 0, 1, 2, 4, 8, 9]
        assert [error.type for error in app.job(lost).record().errors] == ["WorkerLost"]
    assert sound(path)


def test_a_new_file_goes_through_every_schema(tmp_path, monkeypatch):
    with_a_next_schema(monkeypatch, "ALTER TABLE jobs ADD COLUMN next_thing TEXT")
    broker = SqliteBroker(tmp_path / "jobs.db")
    assert broker._file.read("SELECT next_thing FROM jobs") == []
    broker.close()


def test_an_upgrade_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "jobs.db"
    old = SqliteBroker(path)
    old.put([a_job()])
    old.close()
    with monkeypatch.context() as patch:
        with_a_next_schema(patch, "ALTER TABLE jobs ADD COLUMN next_thing TEXT; CREATE TABLE jobs (x)")
        with pytest.raises(BrokerError, match="already exists"):
            SqliteBroker(path)
    broker = SqliteBroker(path)
    assert broker.counts() == {"default": {JobState.QUEUED: 1}}
    with pytest.raises(BrokerError, match="next_thing"):
        broker._file.read("SELECT next_thing FROM jobs")
    broker.close()


def open_and_put(path: str, start: Any, answers: Any) -> None:
    try:
        start.wait(PATIENCE)
        broker = SqliteBroker(path)
        broker.put([a_job()])
        broker.close()
        answers.put("fine")
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


def test_processes_that_start_together_on_a_new_file_all_get_in(tmp_path):
    """And leave together: the last one folds the log into the file while another may be opening it."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=open_and_put, args=(str(tmp_path / "jobs.db"), start, answers)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    assert [answers.get(timeout=PATIENCE) for _ in processes] == ["fine"] * 4
    for process in processes:
        process.join(PATIENCE)
    broker = SqliteBroker(tmp_path / "jobs.db")
    assert broker.counts() == {"default": {JobState.QUEUED: 4}}
    broker.close()


def test_threads_that_open_a_new_file_at_once_all_get_in(tmp_path):
    for n in range(10):
        start, trouble = threading.Barrier(4), []

        def open_it(n: int = n, start: threading.Barrier = start, trouble: list[Exception] = trouble) -> None:
            try:
                start.wait(PATIENCE)
                SqliteBroker(tmp_path / f"{n}.db").close()
            except Exception as error:
                trouble.append(error)

        threads = [threading.Thread(target=open_it, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert trouble == []


# -- working with the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_the_durability_of_the_url_reaches_the_file(tmp_path, durability, level):
    with Worklist(f"sqlite:///{tmp_path}/jobs.db?durability={durability}") as app:
        file = app.store._file  # type: ignore[attr-defined]
        assert file._writer.execute("PRAGMA synchronous").fetchone() == (level,)
        assert file._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_locked_too_long_is_said_to_be(tmp_path):
    broker = SqliteBroker(tmp_path / "jobs.db", patience=0.05)
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for call in (lambda: broker.put([a_job()]), lambda: broker.lease("w", ["default"], 1, 30.0)):
            with pytest.raises(BrokerUnavailable, match=r"locked by another process for more than 0.05 s.*patience=2m"):
                call()
        assert broker.counts() == {}
        other.execute("ROLLBACK")
    assert len(broker.put([a_job()])) == 1
    broker.close()


def test_a_file_that_is_locked_is_waited_for(tmp_path):
    broker = SqliteBroker(tmp_path / "jobs.db", patience=PATIENCE)
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    putting = threading.Thread(target=lambda: broker.put([a_job()]), daemon=True)
    putting.start()
    assert broker.counts() == {}
    other.execute("ROLLBACK")
    other.close()
    putting.join(PATIENCE)
    assert broker.counts() == {"default": {JobState.QUEUED: 1}}
    broker.close()


def test_a_transaction_that_fails_leaves_no_trace_and_no_lock(tmp_path):
    broker = SqliteBroker(tmp_path / "jobs.db", patience=0.05)
    other = SqliteBroker(tmp_path / "jobs.db", patience=0.05)
    with pytest.raises(ZeroDivisionError), broker._file.transaction() as db:
        _ = db.execute("INSERT INTO paused VALUES ('a')").rowcount / 0
    assert other.paused() == []
    other.pause("b", True)
    assert broker.paused() == ["b"]
    broker.close()
    other.close()


def test_a_batch_with_a_bad_job_is_put_not_at_all(tmp_path):
    broker = SqliteBroker(tmp_path / "jobs.db")
    for many in (3, 300):
        jobs = [a_job(key="k"), *(a_job() for _ in range(many)), a_job(overrides={"x": object()})]
        with pytest.raises(TypeError):
            broker.put(jobs)
    assert broker.counts() == {}
    broker.close()


def test_a_closed_file_leaves_nothing_beside_it(tmp_path):
    broker = SqliteBroker(tmp_path / "jobs.db")
    broker.put([a_job()])
    assert files(tmp_path) == ["jobs.db", "jobs.db-shm", "jobs.db-wal"]
    broker.close()
    assert files(tmp_path) == ["jobs.db"]
    assert sound(tmp_path / "jobs.db")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_of_a_fork_both_put(tmp_path):
    """In a program of its own, since forking a process with threads is a risk in itself."""
    answer = python(f"""
        import os, json
        from worklist import Worklist
        app = Worklist("sqlite:///{tmp_path}/jobs.db")

        @app.task(name="task")
        def task(n: int) -> int:
            return n

        jobs = [task.enqueue(n) for n in range(3)]
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            mine = [task.enqueue(n) for n in range(10, 13)]
            app.work(until_empty=True, max_jobs=2)
            app.close()
            os.write(write, json.dumps([job.id for job in mine]).encode())
            os._exit(0)
        jobs += [task.enqueue(n) for n in range(3, 6)]
        assert os.waitpid(child, 0)[1] == 0
        jobs += [app.job(id) for id in json.loads(os.read(read, 10000))]
        jobs.append(task.enqueue(99))
        assert len({{job.id for job in jobs}}) == 10
        app.work(until_empty=True)
        app.close()
        print(json.dumps([job.result(timeout=0) for job in jobs]))
    """)
    assert json.loads(answer) == [0, 1, 2, 3, 4, 5, 10, 11, 12, 99]
    assert sound(tmp_path / "jobs.db")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_can_put_though_the_parent_forked_in_the_midst_of_a_put(tmp_path):
    answer = python(f"""
        import os, threading
        from worklist import Worklist
        app = Worklist("sqlite:///{tmp_path}/jobs.db")
        task = app.task(name="task")(lambda: None)
        task.enqueue()
        inside, go_on = threading.Event(), threading.Event()

        def hold():
            with app.store._file.transaction() as db:
                inside.set()
                go_on.wait(60)

        def put_now(jobs, put=app._put_now):
            hold()
            return put(jobs)

        app._batcher._flush = put_now
        thread = threading.Thread(target=task.enqueue)
        thread.start()
        inside.wait(60)
        os.register_at_fork(before=go_on.set)  # runs first, being the last registered
        child = os.fork()
        if child:
            thread.join()
            assert os.waitpid(child, 0)[1] == 0
            print(app.store.counts()["default"]["queued"])
            app.close()
        else:
            task.enqueue()
            app.close()
            os._exit(0)
    """)
    assert answer == "3"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_loses_nothing_when_the_parent_leaves_first(tmp_path):
    """SQLite's locks are the process's: a child that inherited an open file would go on in a log that is gone."""
    answer = python(f"""
        import os
        from worklist import Worklist
        url = "sqlite:///{tmp_path}/jobs.db"
        app = Worklist(url)
        task = app.task(name="task")(lambda: None)
        task.enqueue()
        (hear, say), (hear_back, say_back) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            task.enqueue()
            os.write(say, b"!")
            os.read(hear_back, 1)
            for _ in range(5):
                task.enqueue()
            app.close()
            os._exit(0)
        os.read(hear, 1)
        app.close()
        other = Worklist(url)
        other.task(name="task")(lambda: None).enqueue()
        os.write(say_back, b"!")
        assert os.waitpid(child, 0)[1] == 0
        print(other.store.counts()["default"]["queued"])
        other.close()
    """)
    assert answer == "8"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_wait_that_was_under_way_at_a_fork_still_hears_of_puts(tmp_path):
    answer = python(f"""
        import os, threading
        from worklist.brokers.sqlite import SqliteBroker
        from worklist.core.job import Job, new_job_id
        waiter = SqliteBroker("{tmp_path}/jobs.db")
        heard = threading.Event()

        def wait():
            while not waiter.counts():
                waiter.wait(["default"], 600)
            heard.set()

        threading.Thread(target=wait, daemon=True).start()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        other = SqliteBroker("{tmp_path}/jobs.db")
        other.put([Job(new_job_id(), "task")])
        print(heard.wait(30))
    """)
    assert answer == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_may_fork_at_the_same_time(tmp_path):
    answer = python(f"""
        import os, threading
        from worklist.brokers.sqlite import SqliteBroker
        from worklist.core.job import Job, new_job_id
        broker = SqliteBroker("{tmp_path}/jobs.db")
        codes = []

        def fork():
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    os._exit(0)
                codes.append(os.waitpid(child, 0)[1])
                broker.put([Job(new_job_id(), "task")])

        threads = [threading.Thread(target=fork) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sum(codes), broker.counts()["default"]["queued"])
        broker.close()
    """)
    assert answer == "0 20"


# -- full disks -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        why = f"cannot mount a small disk here: {mounted.stderr.strip()}"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left, and return the file that holds it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1024)
    return ballast


def test_a_full_disk_is_said_to_be_full(small_disk):
    broker = SqliteBroker(small_disk / "jobs.db")
    fill(small_disk)
    with pytest.raises(StoreFull, match=r"the disk is full; nothing was changed\. Make room"):
        broker.put([a_job(args=bytes(500_000))])
    broker.close()


def until_full(call: Callable[[], object]) -> int:
    """Call until the disk is full, and return how often it went well."""
    for count in range(100_000):
        try:
            call()
        except StoreFull:
            return count
    raise AssertionError("it never got full")


@pytest.mark.parametrize("size", [1, 10, 200])
def test_a_full_disk_is_an_error_at_the_put_and_loses_nothing(small_disk, size):
    broker = SqliteBroker(small_disk / "jobs.db")
    ballast = fill(small_disk)
    put: list[str] = []
    until_full(lambda: put.extend(broker.put([a_job(args=b"x" * 300) for _ in range(size)])))
    assert [record.id for record in broker.find(Filter(limit=100_000, newest_first=False))] == put
    assert sound(small_disk / "jobs.db")
    ballast.unlink()
    put += broker.put([a_job() for _ in range(size)])
    assert sound(small_disk / "jobs.db")
    assert [lease.id for lease in broker.lease("w", ["default"], 100_000, 30.0)] == put
    broker.close()
    assert sound(small_disk / "jobs.db")


def test_a_full_disk_is_an_error_at_the_settle_and_the_outcome_can_be_written_later(small_disk):
    broker = SqliteBroker(small_disk / "jobs.db")
    broker.put([a_job() for _ in range(50)])
    leases = broker.lease("w", ["default"], 50, 30.0)
    ballast = fill(small_disk)
    settlements = [Settlement(lease, Done(b"\xc4\xff" + bytes(255))) for lease in leases]
    until_full(lambda: broker.settle(settlements))
    assert broker.counts() == {"default": {JobState.RUNNING: 50}}
    assert sound(small_disk / "jobs.db")
    ballast.unlink()
    broker.settle(settlements)
    assert broker.counts() == {"default": {JobState.SUCCEEDED: 50}}
    broker.close()
    assert sound(small_disk / "jobs.db")


def test_a_worker_waits_for_room_and_goes_on(small_disk):
    app = Worklist(f"sqlite:///{small_disk}/jobs.db")
    ballast: list[Path] = []

    @app.task
    def task(n: int) -> bytes:
        if not ballast:
            ballast.append(fill(small_disk))
        return bytes(3000)

    @app.on(BrokerTrouble)
    def make_room(trouble: Any) -> None:
        ballast[0].unlink(missing_ok=True)

    jobs = task.enqueue_many((n,) for n in range(30))
    app.work(until_empty=True, threads=1)
    assert not ballast[0].exists()
    assert [job.status for job in jobs] == ["succeeded"] * 30
    app.close()
    assert sound(small_disk / "jobs.db")
