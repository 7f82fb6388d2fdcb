"""Jobs that were put by hundreds and share rows until they are leased; and tables of the version that had none."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from worklist import Worklist
from worklist.brokers.postgres import PostgresBroker, schema
from worklist.core.codec import Codec
from worklist.core.job import Job, JobState, new_job_id
from worklist.core.outcome import Done
from worklist.core.ports import Settlement
from worklist.testing import FakeClock

QUEUES = ["default"]


@pytest.fixture
def broker(postgres_schema: Database) -> Iterator[PostgresBroker]:  # noqa: F811
    broker = PostgresBroker(postgres_schema.place, clock=FakeClock())
    yield broker
    broker.close()


def jobs(count: int, **options: Any) -> list[Job]:
    return [Job(new_job_id(), "t", **options) for _ in range(count)]


def leased(broker: PostgresBroker, limit: int) -> list[str]:
    return [lease.id for lease in broker.lease("w", QUEUES, limit, 60.0)]


def counted(database: Database) -> tuple[int, int]:
    """Return how many bundles there are, and how many jobs are ready one by one."""
    found: tuple[int, int] = database.execute(
        "SELECT (SELECT count(*) FROM @.bundles), (SELECT count(*) FROM @.ready)"
    ).fetchone()
    return found


def test_hundreds_share_rows(broker: PostgresBroker, postgres_schema: Database) -> None:  # noqa: F811
    put = jobs(110)
    assert broker.put(put) == [job.id for job in put]
    assert counted(postgres_schema) == (5, 0)
    assert leased(broker, 60) == [job.id for job in put[:60]]
    assert counted(postgres_schema) == (3, 0)  # two and a part of the third
    assert leased(broker, 10) == [job.id for job in put[60:70]]
    assert counted(postgres_schema) == (2, 5)  # the rest of the third was broken up
    assert leased(broker, 40) == [job.id for job in put[70:110]]
    assert counted(postgres_schema) == (0, 0)
    put += jobs(30)
    broker.put(put[110:])
    assert leased(broker, 27) == [job.id for job in put[110:137]]
    assert counted(postgres_schema) == (1, 0)
    assert leased(broker, 100) == [job.id for job in put[137:]]
    assert counted(postgres_schema) == (0, 0)
    assert leased(broker, 10) == []


def test_few_stand_alone_and_so_do_those_that_are_not_plain(
    broker: PostgresBroker,
    postgres_schema: Database,  # noqa: F811
) -> None:
    broker.put(jobs(25))
    broker.put(jobs(100, expires=60.0))
    assert counted(postgres_schema) == (0, 125)
    broker.put(jobs(100, delay=1.0))
    broker.put([Job(new_job_id(), "t", priority=n) for n in range(100)])
    assert counted(postgres_schema) == (0, 225)


@pytest.mark.parametrize("limit", [1, 7, 25, 40, 1000])
def test_the_order_is_that_of_single_jobs(broker: PostgresBroker, limit: int) -> None:
    put: list[Job] = []
    for priority in (0, 5, 0, -3, 5):
        for count in (40, 3, 60):
            put += (some := jobs(count, priority=priority))
            broker.put(some)
    found: list[str] = []
    while some_ids := leased(broker, limit):
        found += some_ids
    assert found == [job.id for job in sorted(put, key=lambda job: (-job.priority, job.id))]


def test_late_jobs_and_lanes_between_them(broker: PostgresBroker) -> None:
    """Where more is to be seen to than a call in the database does, bundles are leased all the same."""
    clock: Any = broker._clock
    late = jobs(2, expires=1.0, priority=1)
    broker.put(late)
    first = jobs(30)
    broker.put(first)
    clock.advance(2.0)
    assert leased(broker, 10) == [job.id for job in first[:10]]
    assert broker.counts()["default"][JobState.EXPIRED] == 2
    second = jobs(30)
    broker.put(second)
    assert leased(broker, 100) == [job.id for job in (*first[10:], *second)]


def test_cancelled_deleted_and_purged_jobs_are_not_leased(
    broker: PostgresBroker,
    postgres_schema: Database,  # noqa: F811
) -> None:
    put = jobs(100)
    broker.put(put)
    assert broker.change([put[0].id, put[99].id], "cancel") == [put[0].id, put[99].id]
    assert broker.change([put[30].id], "delete") == [put[30].id]
    assert counted(postgres_schema) == (1, 72)
    assert leased(broker, 40) == [put[n].id for n in (*range(1, 30), *range(31, 42))]
    assert broker.purge("default", JobState.QUEUED) == 57
    assert counted(postgres_schema) == (0, 0)
    assert leased(broker, 10) == []


def test_a_cancelled_job_that_is_queued_again_is_leased_once(broker: PostgresBroker) -> None:
    put = jobs(30)
    broker.put(put)
    broker.change([put[3].id], "cancel")
    broker.change([put[3].id], "retry")
    assert sorted(leased(broker, 20) + leased(broker, 20)) == [job.id for job in put]


def test_put_again_after_the_answer_was_lost(broker: PostgresBroker, postgres_schema: Database) -> None:  # noqa: F811
    put = jobs(100)
    broker.put(put)
    broker.put([*put, *jobs(10)])
    assert broker.counts()["default"][JobState.QUEUED] == 110
    assert len(leased(broker, 200)) == 110


def test_a_place_that_another_job_has(broker: PostgresBroker) -> None:
    put = jobs(50)
    broker.put([Job(put[10].id[:16] + "f" * 16, "t")])
    broker.put(put)
    assert len(leased(broker, 200)) == 51


def test_several_that_lease_and_cancel_at_once(postgres_schema: Database) -> None:  # noqa: F811
    """Each job is leased once, or cancelled, whatever sizes are wanted."""
    put = jobs(3000)
    found: list[list[str]] = [[] for _ in range(3)]
    cancelled: list[str] = []
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def lease(number: int) -> None:
        broker = PostgresBroker(postgres_schema.place)
        start.wait()
        idle = 0
        while idle < 3:
            leases = broker.lease(f"w{number}", QUEUES, (3, 30, 200)[number], 60.0)
            found[number] += [lease.id for lease in leases]
            broker.settle([Settlement(lease, Done(b"\x01"), "all", 60.0) for lease in leases])
            idle = 0 if leases else idle + 1
        broker.close()

    def cancel() -> None:
        broker = PostgresBroker(postgres_schema.place)
        start.wait()
        for n in range(2999, 0, -70):
            cancelled.extend(broker.change([put[n].id], "cancel"))
        broker.close()

    def noting(work: Any, *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:
            errors.append(error)

    filler = PostgresBroker(postgres_schema.place)
    filler.put(put)
    threads = [threading.Thread(target=noting, args=(lease, n)) for n in range(3)]
    threads.append(threading.Thread(target=noting, args=(cancel,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    left = filler.lease("last", QUEUES, 3000, 60.0)
    leased_ids = [id for ids in found for id in ids] + [lease.id for lease in left]
    assert len(leased_ids) == len(set(leased_ids))
    assert {*leased_ids, *cancelled} == {job.id for job in put}
    assert filler.counts()["default"].get(JobState.QUEUED, 0) == 0
    filler.close()


def test_tables_of_version_1(
    postgres_schema: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their jobs are leased after `migrate`; a worker of that version, which goes on, finds what is in bundles."""
    with monkeypatch.context() as before:
        before.setattr(schema, "SCHEMA_VERSION", 1)
        assert schema.migrate(postgres_schema.admin, postgres_schema.schema, "here") == (0, 1)
    old = jobs(3)
    encode = Codec().encode
    for job in old:
        postgres_schema.execute(
            "SELECT @.put_1(NULL, %s::bigint[], %s::text[], '{default}', '{0}', '{t}', '{0}', '{0}', '{NULL}', "
            "%s::bytea[])",
            [int(job.id[:16], 16)],
            [job.id],
            [encode(job)],
        )
    app = Worklist(postgres_schema.url)
    assert app.store.versions() == (1, schema.SCHEMA_VERSION)
    app.store.migrate()
    assert app.store.versions() == (schema.SCHEMA_VERSION, schema.SCHEMA_VERSION)
    new = jobs(60)
    app.store.put(new)
    plain = "'{}', '{}', '{}', 0, '{}', '{}', '{}', '{}', '{}', 'old'"
    exchange = f"SELECT id FROM @.exchange_1(NULL, {plain}, '{{default}}', 30, 60)"
    expected = [job.id for job in (*old, *new)]
    assert [id for (id,) in postgres_schema.execute(exchange)] == expected[:30]
    assert leased(app.store, 100) == expected[30:]
    app.close()
