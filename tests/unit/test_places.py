"""SQLite: a job's row stands where the time in its id says, or a little after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from worklist.brokers.sqlite import SqliteBroker, place_of
from worklist.core.errors import ConfigError
from worklist.core.job import Job, new_job_id


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SqliteBroker]:
    broker = SqliteBroker(tmp_path / "jobs.db")
    yield broker
    broker.close()


def twins(count: int) -> list[Job]:
    """Jobs that different processes made within one nanosecond."""
    moment = new_job_id()[:16]
    return [Job(f"{moment}{n:010x}", "task") for n in range(count)]


@pytest.mark.parametrize("together", [True, False])
def test_jobs_of_one_nanosecond_are_all_kept_and_found(broker: SqliteBroker, together: bool) -> None:
    jobs = twins(60)
    for batch in [jobs] if together else [[job] for job in jobs]:
        broker.put(batch)
    assert [record.id for record in broker.load([job.id for job in jobs]) if record] == [job.id for job in jobs]
    assert len(broker.lease("w", ["default"], 100, 30.0)) == 60


def test_a_job_beside_its_place_is_put_once_and_can_be_changed(broker: SqliteBroker) -> None:
    first, second = twins(2)
    for _ in range(3):
        broker.put([first])
        broker.put([second])
    assert sum(broker.counts()["default"].values()) == 2
    assert broker.change([second.id], "delete") == [second.id]
    assert broker.load([first.id, second.id])[1] is None


def test_keyed_twins_hold_their_own_keys(broker: SqliteBroker) -> None:
    moment = new_job_id()[:16]
    a, b = (Job(f"{moment}{n:010x}", "task", key=f"task:{n}") for n in range(2))
    assert broker.put([a, b]) == [a.id, b.id]
    assert broker.put([Job(new_job_id(), "task", key="task:1")]) == [b.id]
    (lease,) = [lease for lease in broker.lease("w", ["default"], 10, 30.0) if lease.id == b.id]
    assert lease.key == "task:1"


@pytest.mark.parametrize("foreign", ["", "job-1", "zz", "-000000000000001abc", "f" * 26])
def test_an_id_of_another_kind_is_refused_or_simply_unknown(broker: SqliteBroker, foreign: str) -> None:
    with pytest.raises(ConfigError, match="new_job_id"):
        place_of(foreign)
    assert broker.load([foreign]) == [None]
    assert broker.change([foreign], "cancel") == []
