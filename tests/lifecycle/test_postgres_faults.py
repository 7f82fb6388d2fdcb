"""What only PostgreSQL can suffer under real workers: sessions are ended, transactions undone, its disk is full."""
# ruff: noqa: F401, F811 - fixtures are imported

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers.places import PostgresPlace
from tests.servers.postgres import Server, postgres_server
from worklist.core.errors import StoreFull

from .conftest import eventually
from .fleet import EXTRA, IN_FLIGHT, Fleet, Make, make_fleet

pytestmark = pytest.mark.timeout(400)
DISK = 48 << 20


@pytest.fixture
def fleet(make_fleet: Make) -> Fleet:
    return make_fleet("postgresql")


def execute(server: Server, *statements: str) -> Any:
    with psycopg.connect(server.url_of(), autocommit=True) as admin:
        for statement in statements:
            cursor = admin.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else None


def test_every_session_is_terminated_again_and_again(fleet: Fleet) -> None:
    fleet.put()
    fleet.worker()
    fleet.worker()
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = 'test' AND pid <> pg_backend_pid() AND application_name = 'worklist'"
    )
    ended = []
    for share in range(1, 9):
        fleet.strike(share / 10, lambda: ended.append(len(execute(fleet.server, terminate))))
    assert sum(ended) >= 8
    fleet.check(twice=8 * 2 * IN_FLIGHT)


@pytest.fixture
def serializable(postgres_server: Server) -> Iterator[None]:
    execute(postgres_server, "ALTER DATABASE test SET default_transaction_isolation = 'serializable'")
    yield
    execute(postgres_server, "ALTER DATABASE test RESET default_transaction_isolation")


def test_serialization_failures_are_tried_again(serializable: None, make_fleet: Make) -> None:
    fleet = make_fleet("postgresql")
    undone = "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'test'"
    before = execute(fleet.server, undone)[0][0]
    fleet.put()
    for _ in range(3):
        fleet.worker()
    fleet.check(twice=0)
    eventually(lambda: execute(fleet.server, undone)[0][0] > before + 10, 20)  # else nothing was undone


def test_deadlocks_with_another_program_are_tried_again(fleet: Fleet) -> None:
    """Somebody locks jobs that are about to be leased, in an order of his own."""
    fleet.put()
    fleet.worker()
    fleet.worker()
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'test'"
    before = execute(fleet.server, deadlocks)[0][0]
    ended = threading.Event()

    def disturb() -> None:
        place = fleet.place
        assert isinstance(place, PostgresPlace)
        with psycopg.connect(fleet.server.url_of(), autocommit=True) as other:
            other.execute("SET deadlock_timeout = '10s'")  # so that it is the workers' transactions that fail
            while not ended.is_set():
                ready = "SELECT seq FROM @.ready UNION ALL SELECT unnest(jobs) FROM @.bundles"
                query = place.named(f"{ready} ORDER BY seq LIMIT 20")
                ahead = [seq for (seq,) in other.execute(query)]  # type: ignore[call-overload]
                with contextlib.suppress(psycopg.Error), other.transaction():
                    for seq in ahead[::-1]:
                        update = place.named(f"UPDATE @.jobs SET lost = lost WHERE seq = {seq}")
                        other.execute(update)  # type: ignore[call-overload]
                        time.sleep(0.001)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        fleet.strike(0.1, lambda: eventually(lambda: execute(fleet.server, deadlocks)[0][0] > before + 2))
    finally:
        ended.set()
        thread.join()
    fleet.check(twice=0)


@pytest.fixture
def small_disk(postgres_server: Server) -> Iterator[Path]:
    """Let the tables that are made now lie on a disk of their own."""
    folder = Path(tempfile.mkdtemp(prefix="worklist-disk-"))
    owner = f"uid={postgres_server.user},gid={postgres_server.group},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},{owner}", "worklist-tests", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("nobody but root may mount the small disk of this test")
    try:
        execute(
            postgres_server,
            f"CREATE TABLESPACE small LOCATION '{folder}'",
            "ALTER DATABASE test SET default_tablespace = small",
        )
        yield folder
        execute(postgres_server, "ALTER DATABASE test RESET default_tablespace", "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def test_the_disk_is_full(small_disk: Path, make_fleet: Make) -> None:
    fleet = make_fleet("postgresql")
    fleet.put()
    fleet.worker()
    ballast = small_disk / "ballast"
    fleet.strike(0.1, lambda: fill(ballast))
    with pytest.raises(StoreFull, match="the disk of the server is full; nothing was changed") as told:
        fleet.tasks.work.enqueue_many([(EXTRA, 0.0)] * 100_000)
    assert "\n" not in str(told.value)
    eventually(lambda: fleet.begun() == known(fleet))
    assert fleet.begun() < fleet.jobs
    ballast.unlink()
    fleet.check(twice=0)


def fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def known(fleet: Fleet) -> int:
    """Return how many runs had begun half a second ago."""
    begun = fleet.begun()
    time.sleep(0.5)
    return begun
