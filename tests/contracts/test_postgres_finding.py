"""What has failed is found by an index, which costs the jobs that succeed nothing."""

import time
from collections.abc import Iterator

import pytest

from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from worklist.brokers.postgres import PostgresBroker
from worklist.core.job import ErrorInfo, Job, JobRecord, JobState, new_job_id
from worklist.core.outcome import Done, Fail
from worklist.core.ports import Filter, Settlement

QUEUES = ["default"]
FAILED = Filter(state=JobState.FAILED, limit=10)


@pytest.fixture
def broker(postgres_schema: Database) -> Iterator[PostgresBroker]:  # noqa: F811
    broker = PostgresBroker(postgres_schema.place)
    yield broker
    broker.close()


def test_what_has_failed(broker: PostgresBroker, postgres_schema: Database) -> None:  # noqa: F811
    jobs = [Job(new_job_id(), "t") for _ in range(1000)]
    broker.put(jobs)
    leases = broker.lease("w", QUEUES, 3, 60.0)
    error = ErrorInfo("E", "m", "t", 1, 1.0)
    broker.settle([Settlement(lease, Fail(error), "all", 60.0) for lease in leases])
    assert [record.id for record in broker.find(FAILED)] == [job.id for job in jobs[2::-1]]
    postgres_schema.execute("ANALYZE @.jobs")
    failed = "state = ANY ('{4}'::smallint[]) AND errors IS NOT NULL"
    plan = postgres_schema.execute(f"EXPLAIN SELECT * FROM @.jobs WHERE {failed} ORDER BY seq DESC LIMIT 10")
    assert "jobs_with_errors" in str(plan.fetchall())


def test_a_record_of_another_broker_that_has_no_errors(broker: PostgresBroker) -> None:
    id = new_job_id()
    record = JobRecord(id=id, task="t", queue="default", state=JobState.FAILED, body=b"", attempt=1, finished=1.0)
    broker.keep([record], 60.0)
    assert [(found.id, found.errors) for found in broker.find(FAILED)] == [(id, ())]
    assert broker.change([id], "cancel") == []


def test_jobs_that_succeed_stay_where_they_are(broker: PostgresBroker, postgres_schema: Database) -> None:  # noqa: F811
    broker.migrate()
    postgres_schema.execute(
        "ALTER TABLE @.jobs SET (fillfactor = 20)"
    )  # room enough, whoever keeps old rows from going
    broker.put([Job(new_job_id(), "t") for _ in range(400)])
    for _ in range(4):
        leases = broker.lease("w", QUEUES, 100, 60.0)
        broker.settle([Settlement(lease, Done(b"\x01" * 20), "all", 60.0) for lease in leases])
    assert broker.counts()["default"] == {JobState.SUCCEEDED: 400}
    broker.close()  # its sessions tell what they have done when they end
    updates = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = '@.jobs'::regclass"
    end = time.monotonic() + 20
    while (found := postgres_schema.execute(updates).fetchone())[0] < 800 and time.monotonic() < end:
        time.sleep(0.1)
    assert found == (800, 800)
