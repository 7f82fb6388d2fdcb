"""What is still to do is carried from one store to another, whole, also if that is interrupted."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from worklist.brokers.memory import MemoryBroker
from worklist.brokers.sqlite import SqliteBroker
from worklist.core import moving
from worklist.core.codec import Codec
from worklist.core.job import FOREVER, Job, JobState, Ties, new_group_id, new_job_id
from worklist.core.lane import LaneLimits
from worklist.core.moving import move
from worklist.core.ports import Capabilities, Filter, LaneChange, Store
from worklist.core.schedule import Schedule
from worklist.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def old(clock: FakeClock, tmp_path: Path) -> Iterator[Store]:
    store = SqliteBroker(tmp_path / "old.db", clock=clock)
    yield store
    store.close()


@pytest.fixture
def new(clock: FakeClock) -> Store:
    return MemoryBroker(clock=clock)


def a_job(**fields: object) -> Job:
    return Job(new_job_id(), "task", **fields)  # type: ignore[arg-type]


def queued(store: Store) -> list[str]:
    return [record.id for record in store.find(Filter(state=JobState.QUEUED, limit=10_000, newest_first=False))]


def test_jobs_keep_what_they_were_told(old: Store, new: Store, clock: FakeClock) -> None:
    plain, urgent, later = a_job(args=b"\x81\xa1x\x01"), a_job(queue="mail", priority=7), a_job(delay=60.0)
    keyed = a_job(key="k", hold=FOREVER, expires=100.0)
    laned = a_job(ties=Ties(lane="acme", limits=LaneLimits(concurrency=1)))
    jobs = [plain, urgent, later, keyed, laned]
    old.put(jobs)
    clock.advance(10)
    before = {record.id: record for record in old.load([job.id for job in jobs]) if record is not None}
    moved = move(old, new, Codec())
    assert (moved.jobs, moved.joined, moved.left.total()) == (5, 0, 0)
    assert queued(old) == []
    for record in new.load([job.id for job in jobs]):
        assert record is not None
        was = before[record.id]
        for field in ("task", "queue", "priority", "key", "lane", "expires", "state"):
            assert getattr(record, field) == getattr(was, field), field
        assert max(record.due or 0.0, clock.now) == max(was.due or 0.0, clock.now)
    assert Codec().decode(new.load([plain.id])[0].body).args == plain.args  # type: ignore[union-attr]
    assert new.put([a_job(key="k")]) == [keyed.id]
    leased = [lease.id for lease in new.lease("w", ["mail", "default"], 10, 30.0)]
    assert (leased[0], sorted(leased)) == (urgent.id, sorted(job.id for job in jobs if job is not later))
    assert old.paused() == ["default", "mail"]


def test_what_runs_and_what_is_tied_to_others_stays(old: Store, new: Store) -> None:
    running, first, member = a_job(), a_job(ties=Ties(followed=True)), a_job(ties=Ties(group=new_group_id()))
    second = a_job(ties=Ties(after=first.id))
    old.put([running])
    old.lease("w", ["default"], 1, 30.0)
    old.put([first, second, member])
    moved = move(old, new, Codec())
    assert moved.jobs == 0
    assert +moved.left == {
        "they run": 1, "they belong to a group or a workflow": 2, "they wait for other jobs": 1
    }  # fmt: skip
    assert new.counts() == {}
    assert queued(old) == [first.id, member.id]


def test_a_key_that_is_held_there_makes_two_jobs_one(old: Store, new: Store) -> None:
    there = a_job(key="k")
    new.put([there])
    old.put([a_job(key="k"), a_job()])
    moved = move(old, new, Codec())
    assert (moved.jobs, moved.joined) == (2, 1)
    assert len(queued(new)) == 2
    assert queued(old) == []


def test_more_than_a_page_goes_and_what_stays_does_not_block_it(
    old: Store, new: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "PAGE", 10)
    group = new_group_id()
    jobs = [a_job(ties=Ties(group=group)) if n % 3 == 0 else a_job() for n in range(60)]
    old.put(jobs)
    heard: list[int] = []
    moved = move(old, new, Codec(), lambda moved: heard.append(moved.jobs))
    assert moved.jobs == 40
    assert queued(new) == [job.id for job in jobs if job.ties is None]
    assert len(heard) > 3
    assert heard == sorted(heard)


@pytest.mark.parametrize("where", ["before the put", "after it"])
def test_a_move_that_is_interrupted_is_finished_by_another(
    old: Store, new: Store, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(moving, "PAGE", 10)
    jobs = [a_job() for _ in range(25)]
    old.put(jobs)
    calls = 0

    def third_time_unlucky(*_: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*_)  # type: ignore[arg-type]

    store, name = (new, "put") if where == "before the put" else (old, "change")
    real = getattr(store, name)
    monkeypatch.setattr(store, name, third_time_unlucky)
    with pytest.raises(KeyboardInterrupt):
        move(old, new, Codec())
    assert queued(old)
    move(old, new, Codec())
    assert (queued(old), queued(new)) == ([], [job.id for job in jobs])


def test_schedules_go_once(old: Store, new: Store, clock: FakeClock) -> None:
    def a_schedule(name: str, **fields: object) -> Schedule:
        return Schedule(name=name, job=a_job(), every="60s", due=clock.now + 60, **fields)  # type: ignore[arg-type]

    for schedule in (a_schedule("nightly", last=clock.now), a_schedule("taken"), a_schedule("code", declared=True)):
        assert old.save_schedule(schedule, None)
    theirs = [a_schedule("taken", paused=True), a_schedule("code", declared=True)]
    for schedule in theirs:
        new.save_schedule(schedule, None)
    moved = move(old, new, Codec())
    assert moved.schedules == 2
    assert moved.left["the new place has another schedule named 'taken'"] == 1
    assert [schedule.name for schedule in old.schedules()] == ["taken"]
    found = {schedule.name: schedule for schedule in new.schedules()}
    assert (found["nightly"].due, found["nightly"].last) == (clock.now + 60, clock.now)
    assert [found["taken"], found["code"]] == theirs


def test_what_was_set_of_lanes_goes(old: Store, new: Store) -> None:
    old.change_lane("acme", LaneChange(limits=LaneLimits(rate=5.0, burst=2), weight=2.0, pinned=True))
    old.change_lane("globex", LaneChange(paused=FOREVER))
    old.put([a_job(ties=Ties(lane="plain"))])
    moved = move(old, new, Codec())
    assert moved.lanes == 2
    lanes = {lane.name: lane for lane in new.lanes()}
    assert (lanes["acme"].limits, lanes["acme"].weight, lanes["acme"].pinned) == (LaneLimits(5.0, 2), 2.0, True)
    assert (lanes["globex"].paused, lanes["globex"].pinned) == (FOREVER, False)
    assert not lanes["plain"].pinned


def test_jobs_that_ask_for_what_the_new_place_cannot_do_stay(
    old: Store, new: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(new), "capabilities", msgspec.structs.replace(Capabilities(), key=False, schedule=False))
    keyed, plain = a_job(key="k"), a_job()
    old.put([keyed, plain])
    old.save_schedule(Schedule(name="s", job=a_job(), every="60s"), None)
    moved = move(old, new, Codec())
    assert (queued(old), queued(new)) == ([keyed.id], [plain.id])
    assert +moved.left == {"they ask for key, which the new place cannot do": 1, "the new place has no schedules": 1}


def test_jobs_that_cannot_be_read_stay(tmp_path: Path, new: Store) -> None:
    old = SqliteBroker(tmp_path / "signed.db", Codec("other secret"))
    old.put([a_job()])
    moved = move(old, new, Codec("secret"))
    assert moved.jobs == 0
    assert moved.left.total() == 1
    assert len(queued(old)) == 1
    old.close()
