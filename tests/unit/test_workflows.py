"""Chains, groups, chords and followers as people write them: in memory, on a file, and inline."""

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from worklist import (
    ArgumentError,
    Cancel,
    ConfigError,
    GroupEnded,
    GroupFailed,
    GroupHandle,
    GroupUnknown,
    JobCancelled,
    JobFailed,
    JobHandle,
    ResultTimeout,
    Retry,
    Snooze,
    Worklist,
    chain,
    chord,
    current_job,
    group,
)
from worklist.core.errors import NotInGroup
from worklist.core.group import PAGE
from worklist.core.job import JobRecord
from worklist.core.ports import Filter
from worklist.core.workflow import AT_ONCE

from .conftest import PATIENCE, known, serving


@dataclass
class Page:
    url: str
    seen: dt.date


class House:
    """An app with tasks, and a way to have its jobs run."""

    def __init__(self, app: Worklist, kind: str) -> None:
        self.app = app
        self.kind = kind
        self.runs: list[str] = []
        self.broken = False
        task = app.task

        @task(name="add")
        def add(x: int, y: int = 1) -> int:
            self.runs.append(f"add {x} {y}")
            return x + y

        @task(name="total")
        def total(numbers: list[int | None]) -> int:
            self.runs.append("total")
            return sum(n for n in numbers if n is not None)

        @task(name="as_is")
        def as_is(value: Any = "nothing") -> Any:
            self.runs.append("as_is")
            return value

        @task(name="fail")
        def fail(x: int = 0) -> int:
            if self.broken:
                raise ValueError(f"bad {x}")
            return x

        @task(name="fetch")
        async def fetch(url: str) -> Page:
            return Page(url, dt.date(2024, 2, 29))

        @task(name="describe")
        def describe(page: Page, mark: str = "!") -> str:
            assert isinstance(page, Page)
            assert isinstance(page.seen, dt.date)
            return f"{page.url} {page.seen.isoformat()}{mark}"

        @task(name="describe_all")
        def describe_all(pages: list[Page]) -> list[str]:
            return [describe(page) for page in pages]

        @task(name="silent")
        def silent() -> str:
            self.runs.append("silent")
            return "heard nothing"

        self.add, self.total, self.as_is, self.fail = add, total, as_is, fail
        self.fetch, self.describe, self.describe_all, self.silent = fetch, describe, describe_all, silent

    def enqueuing(self) -> AbstractContextManager[None]:
        """Return what surrounds the calls that enqueue; where it is inline, they run at once."""
        return self.app.inline() if self.kind == "inline" else nullcontext()

    def work(self) -> None:
        """Have everything run that is due."""
        if self.kind != "inline":
            self.app.work(until_empty=True)


@pytest.fixture(params=["memory", "sqlite", "signed", "inline"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """Give a house of each kind; with `secret`, messages are signed."""
    url = "memory://" if request.param in ("memory", "inline") else f"sqlite:///{tmp_path}/jobs.db"
    app = Worklist(url, secret="a long random string" if request.param == "signed" else None)
    house = House(app, request.param)
    with house.enqueuing():
        yield house
    app.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    """Give a house on a file."""
    app = Worklist(f"sqlite:///{tmp_path}/jobs.db")
    yield House(app, "sqlite")
    app.close()


def finished(house: House, workflow: Any) -> Any:
    """Enqueue a workflow, have it run and return its result."""
    handle = workflow.enqueue()
    house.work()
    return handle.result(timeout=0)


# -- chains ---------------------------------------------------------------------------------------------------


def test_a_chain_hands_each_result_on(house: House):
    assert finished(house, chain(house.add.s(1), house.add.s(10), house.add.s(y=100))) == 112
    assert house.runs == ["add 1 1", "add 2 10", "add 12 100"]


def test_a_chain_may_be_written_with_bars_or_then(house: House):
    add = house.add
    assert finished(house, add.s(1) | add.s() | add.s()) == 4
    assert finished(house, add.s(1).then(add.s(), add.s())) == 4
    assert finished(house, (add.s(1) | add.s()) | (add.s() | add.s())) == 5


def test_one_call_is_a_workflow_too(house: House):
    handle = house.add.s(1, 2).enqueue()
    house.work()
    assert isinstance(handle, JobHandle)
    assert handle.result(timeout=0) == 3
    assert finished(house, chain(house.add.s(1, 2))) == 3


def test_a_step_may_do_without_the_result_before(house: House):
    assert finished(house, house.add.s(1) | house.silent.si() | house.as_is.s()) == "heard nothing"
    assert finished(house, house.add.s(1) | house.add.si(5)) == 6


def test_results_are_decoded_to_the_types_of_the_step_that_gets_them(house: House):
    assert finished(house, house.fetch.s("a.org") | house.describe.s("?")) == "a.org 2024-02-29?"
    assert finished(house, house.fetch.s("a.org") | house.describe.s(mark="?")) == "a.org 2024-02-29?"
    assert finished(house, house.fetch.map(["a", "b"]) | house.describe_all.s()) == ["a 2024-02-29!", "b 2024-02-29!"]


def test_a_result_that_does_not_fit_the_next_step_fails_it(house: House):
    handle = (house.as_is.s("text") | house.add.s()).enqueue()
    house.work()
    with pytest.raises(JobFailed, match=r"ArgumentError: add\(\): argument 'x': expected `int`, got `str`"):
        handle.result(timeout=0)


def test_none_is_a_result_like_others(house: House):
    assert finished(house, house.as_is.s(None) | house.as_is.s()) is None


def test_the_options_of_a_call_are_those_of_its_step(house: House):
    handle = (house.add.using(priority=3, key="k").s(1) | house.add.using(priority=7).s()).enqueue()
    house.work()
    record = known(handle)
    assert record.priority == 7
    assert handle.result(timeout=0) == 3


def test_a_workflow_may_be_enqueued_again_and_again(house: House):
    for workflow in (
        house.add.s(1) | house.add.s(),
        chord([house.add.s(1), house.add.s(2)], house.total.s()),
        house.add.map([1, 2]) | house.total.s(),
    ):
        handles = [workflow.enqueue() for _ in range(2)]
        house.work()
        assert handles[0] != handles[1]
        assert handles[0].result(timeout=0) == handles[1].result(timeout=0)


def test_the_handle_of_a_chain_is_that_of_its_last_step(house: House):
    handle = (house.add.s(1) | house.describe.s()).enqueue()
    assert handle.id
    assert known(handle).task == "describe"


# -- failures -------------------------------------------------------------------------------------------------


def test_a_failure_is_told_by_the_handle_of_the_chain_with_its_first_cause(house: House):
    house.broken = True
    handle = chain(house.fail.s(7), *(house.add.s() for _ in range(5))).enqueue()
    house.work()
    with pytest.raises(JobFailed, match=r"add did not run, since fail \(job \w+\) failed: ValueError: bad 7"):
        handle.result(timeout=0)
    assert house.runs == []


def test_a_step_for_any_end_runs_after_a_failure_and_gets_none(house: House):
    house.broken = True
    assert finished(house, house.fail.s(7).then(house.as_is.s(), when="all")) is None
    assert finished(house, house.fail.s(7).then(house.silent.si(), when="all")) == "heard nothing"
    house.broken = False
    assert finished(house, house.fail.s(7).then(house.as_is.s(), when="all")) == 7


def test_when_holds_for_the_step_it_is_said_of_alone(house: House):
    house.broken = True
    handle = house.fail.s(7).then(house.fail.s(), house.add.s(), when="all").enqueue()
    house.work()
    with pytest.raises(JobFailed, match="add did not run, since fail"):
        handle.result(timeout=0)


def test_a_job_that_cancels_itself_is_the_cause(house: House):
    stop = house.app.task(name="stop")(lambda: (_ for _ in ()).throw(Cancel("enough")))
    handle = (stop.s() | house.as_is.s()).enqueue()
    house.work()
    with pytest.raises(JobFailed, match=r"as_is did not run, since stop \(job \w+\) was cancelled"):
        handle.result(timeout=0)


def test_a_retry_of_the_failed_step_resumes_the_chain(place: House):
    place.broken = True
    first = place.add.s(1) | place.fail.s() | place.add.s(10) | place.add.s(100)
    handle = first.enqueue()
    place.work()
    with pytest.raises(JobFailed):
        handle.result(timeout=0)
    place.broken = False
    (failed,) = [place.app.job(it.id) for it in records(place) if it.state == "failed"]
    assert failed.retry()
    assert handle.status == "waiting"
    place.work()
    assert handle.result(timeout=0) == 112
    assert place.runs == ["add 1 1", "add 2 10", "add 12 100"]  # none ran twice


def records(house: House) -> list[JobRecord]:
    return house.app.inspector.find(Filter(limit=10_000))


def test_a_step_that_is_tried_again_hands_on_its_last_result(house: House):
    tries: list[int] = []

    @house.app.task(name="flaky", retries=2, backoff=[0])
    def flaky(x: int) -> int:
        tries.append(x)
        if len(tries) == 1:
            raise OSError
        if len(tries) == 2:
            raise Snooze(0)
        if len(tries) == 3:
            raise Retry(0)
        return x * 2

    assert finished(house, house.add.s(1) | flaky.s() | house.add.s()) == 5
    assert tries == [2, 2, 2, 2]


def test_to_cancel_a_waiting_step_cancels_those_after_it(place: House):
    handle = (place.add.s(1) | place.add.s() | place.as_is.s()).enqueue()
    middle = next(place.app.job(it.id) for it in records(place) if it.task == "add" and it.state == "waiting")
    assert middle.cancel()
    place.work()
    with pytest.raises(JobCancelled):
        middle.result(timeout=0)
    with pytest.raises(JobFailed, match="as_is did not run, since add .* was cancelled"):
        handle.result(timeout=0)


# -- groups ---------------------------------------------------------------------------------------------------


def test_a_group_gives_its_results_in_the_order_in_which_it_was_written(house: House):
    assert finished(house, group(house.add.s(1), house.add.s(2), house.silent.s())) == [2, 3, "heard nothing"]
    assert finished(house, group([house.add.s(n) for n in range(20)])) == list(range(1, 21))


def test_map_and_starmap_make_groups(house: House):
    assert finished(house, house.add.map([1, 2, 3])) == [2, 3, 4]
    assert finished(house, house.add.starmap([(1, 2), [3, 4]])) == [3, 7]
    assert finished(house, house.add.using(priority=2).map(n for n in (1, 2))) == [2, 3]


@pytest.mark.parametrize("count", [AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 500])
@pytest.mark.parametrize("kind", ["list", "generator"])
def test_a_group_may_be_of_any_size(place: House, count: int, kind: str):
    items = range(count) if kind == "list" else (n for n in range(count))
    handle = (place.add.map(items) | place.total.s()).enqueue()
    place.work()
    assert handle.result(timeout=0) == sum(range(1, count + 1))
    assert place.runs.count("total") == 1


def test_a_large_group_in_the_middle_of_a_chain(place: House):
    numbers = place.app.task(name="numbers")(lambda: 5)
    handle = (numbers.s() | group(place.add.s(n) for n in range(1500)) | place.total.s()).enqueue()
    place.work()
    assert handle.result(timeout=0) == sum(5 + n for n in range(1500))


def test_a_generator_is_not_read_further_than_it_can_be_put(place: House):
    read: list[int] = []

    def calls() -> Iterator[Any]:
        for n in range(10 * AT_ONCE):
            read.append(n)
            if n == 3 * AT_ONCE:
                raise OSError("the file ends here")
            yield place.add.s(n)

    with pytest.raises(OSError, match="the file ends here"):
        group(calls()).enqueue()
    assert len(read) == 3 * AT_ONCE + 1
    assert place.app.inspector.counts() == {"default": {"cancelled": 3 * AT_ONCE}}  # called off, as a whole


def test_an_empty_map_is_a_group_that_has_ended(house: House):
    assert finished(house, house.add.map([])) == []
    assert finished(house, house.add.map([]) | house.total.s()) == 0


def test_groups_within_groups_are_one(house: House):
    nested = group(house.add.s(1), group(house.add.s(2), house.add.map([3, 4])))
    assert finished(house, nested) == [2, 3, 4, 5]


def test_the_member_that_a_chain_is_counts_with_its_last_step(house: House):
    handle = group(house.add.s(1) | house.add.s(10), house.add.s(5)).enqueue()
    house.work()
    assert handle.record().total == 2
    assert handle.result(timeout=0) == [12, 6]


def test_a_group_after_a_step_gets_its_result_in_every_member(house: House):
    workflow = house.add.s(1) | group(house.add.s(10), house.silent.si(), house.add.s(20)) | house.as_is.s()
    assert finished(house, workflow) == [12, "heard nothing", 22]


def test_a_group_after_a_group_gets_the_list_in_every_member(house: House):
    workflow = house.add.map([1, 2]) | group(house.total.s(), house.as_is.s()) | house.as_is.s()
    assert finished(house, workflow) == [5, [2, 3]]


def test_a_chain_that_ends_with_a_group_is_known_by_it(house: House):
    handle = (house.add.s(1) | group(house.add.s(), house.add.s(2))).enqueue()
    assert isinstance(handle, GroupHandle)
    house.work()
    assert handle.result(timeout=0) == [3, 4]


def test_a_group_tells_who_failed(house: House):
    house.broken = True
    handle = group(house.add.s(1), house.fail.s(7)).enqueue()
    house.work()
    with pytest.raises(GroupFailed, match=r"1 failed and 0 were cancelled of 2.*\(fail\): ValueError: bad 7"):
        handle.result(timeout=0)
    record = handle.record()
    assert (record.total, record.succeeded, record.failed, record.finished) == (2, 1, 1, 2)


# -- chords ---------------------------------------------------------------------------------------------------


def test_a_callback_gets_the_list_of_the_results(house: House):
    assert finished(house, chord([house.add.s(1), house.add.s(2)], house.total.s())) == 5
    assert finished(house, chord(house.add.map([1, 2]), house.as_is.s())) == [2, 3]
    assert finished(house, chord((house.add.s(n) for n in range(3)), house.silent.si())) == "heard nothing"


def test_a_callback_of_one_call_gets_its_result(house: House):
    assert finished(house, chord(house.add.s(1), house.add.s())) == 3


def test_a_callback_does_not_run_where_a_member_failed(house: House):
    house.broken = True
    handle = chord([house.add.s(1), house.fail.s(7)], house.total.s()).enqueue()
    house.work()
    with pytest.raises(JobFailed, match="total did not run, since of 2 members of group .* 1 failed and 0 were"):
        handle.result(timeout=0)
    assert "total" not in house.runs


def test_a_callback_for_any_end_gets_none_for_those_that_did_not_succeed(house: House):
    house.broken = True
    workflow = chord([house.add.s(1), house.fail.s(7), house.add.s(2)], house.as_is.s(), when="all")
    assert finished(house, workflow) == [2, None, 3]


def test_a_callback_goes_on_as_a_chain(house: House):
    assert finished(house, chord([house.add.s(1)], house.total.s()) | house.add.s(10)) == 12
    assert finished(house, chord([house.add.s(1)], house.total.s() | house.add.s(10))) == 12


def test_chords_within_chords(house: House):
    inner = [chord([house.add.s(n), house.add.s(n)], house.total.s()) for n in range(3)]
    assert finished(house, chord(inner, house.total.s())) == 2 * (1 + 2 + 3)


@pytest.mark.parametrize("results", ["none", "failures"])
def test_a_callback_gets_results_that_are_kept_for_nobody_else(house: House, results: str):
    plus = house.app.task(name="plus", results=results)(lambda x: x + 1)
    assert finished(house, plus.map([1, 2]) | house.as_is.s()) == [2, 3]


def test_a_callback_may_be_a_coroutine(house: House):
    @house.app.task(name="atotal")
    async def atotal(numbers: list[int]) -> int:
        await asyncio.sleep(0)
        return sum(numbers)

    assert finished(house, house.add.map([1, 2]) | atotal.s()) == 5


def test_results_that_do_not_fit_the_callback_fail_it(house: House):
    handle = (house.as_is.map(["a"]) | house.total.s()).enqueue()
    house.work()
    with pytest.raises(JobFailed, match=r"ArgumentError: total\(\): argument 'numbers"):
        handle.result(timeout=0)


def test_a_retry_of_a_group_resumes_its_callback(place: House):
    place.broken = True
    handle = chord([place.add.s(1), place.fail.s(7), place.fail.s(8)], place.total.s()).enqueue()
    place.work()
    with pytest.raises(JobFailed):
        handle.result(timeout=0)
    place.broken = False
    (members,) = {it.group for it in records(place) if it.group}
    assert place.app.group(members).retry() == 2
    assert handle.status == "waiting"
    place.work()
    assert handle.result(timeout=0) == 17
    assert place.app.group(members).result(timeout=0) == [2, 7, 8]


# -- open groups ----------------------------------------------------------------------------------------------


def test_a_group_is_filled_in_a_block_and_does_not_end_before(house: House):
    with house.app.group(then=house.total.s()) as handle:
        assert handle.add(house.add.s(1)).id
        house.work()
        assert not handle.done()
        handle.add(house.add.s(2) | house.add.s())
        handle.add(house.add.map([3, 4]))
    house.work()
    assert handle.done()
    assert handle.result(timeout=0) == [2, 4, 4, 5]
    assert house.runs.count("total") == 1


def test_a_block_that_adds_nothing_ends_well(house: House):
    with house.app.group(then=house.total.s()) as handle:
        pass
    house.work()
    assert handle.result(timeout=0) == []
    assert house.runs == ["total"]


def test_a_block_that_raises_calls_the_group_off(house: House):
    handle = house.app.group(then=house.total.s())

    def fill() -> None:
        with handle:
            handle.add(house.add.s(1))
            house.work()
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    house.work()
    assert "total" not in house.runs
    assert (handle.record().called_off, handle.done()) == (True, True)


def test_then_runs_in_any_case_where_that_is_said(house: House):
    house.broken = True
    with house.app.group(then=house.as_is.s() | house.as_is.s(), when="all") as handle:
        handle.add(house.fail.s(1))
    house.work()
    assert house.runs == ["as_is", "as_is"]


def test_nothing_is_added_to_a_group_that_has_ended(house: House):
    with house.app.group() as handle:
        handle.add(house.add.s(1))
    house.work()
    with pytest.raises(GroupEnded, match=f"group {handle.id} has ended, so nothing can be added to it; make a new"):
        handle.add(house.add.s(2))
    assert handle.add(house.add.map([])) is not None  # nothing is added, so nothing is refused


def test_a_group_is_known_from_anywhere_by_its_id(place: House, tmp_path: Path):
    handle = place.add.map([1, 2]).enqueue()
    place.work()
    with Worklist(f"sqlite:///{tmp_path}/jobs.db") as other:
        again = other.group(handle.id)
        assert again == handle
        assert again.result(timeout=0) == [2, 3]
        with pytest.raises(GroupUnknown, match="group gnone is not known"):
            other.group("gnone").record()


# -- the handle of a group ------------------------------------------------------------------------------------


def test_wait_returns_the_counters_when_the_last_member_has_ended(place: House):
    handle = group(place.add.s(1), place.add.s(2)).enqueue()
    with pytest.raises(ResultTimeout, match=f"group {handle.id} has 0 of 2 done after 0.01 s"):
        handle.wait(timeout=0.01)
    with serving(place.app):
        record = handle.wait(timeout=PATIENCE)
    assert (record.total, record.succeeded, record.waiting, record.running) == (2, 2, 0, 0)


def test_members_are_given_as_they_end(place: House):
    gates = {n: threading.Event() for n in range(4)}

    @place.app.task(name="gated")
    def gated(n: int) -> int:
        assert gates[n].wait(PATIENCE)
        return n

    handle = gated.map(range(4)).enqueue()
    order = [2, 0, 3, 1]
    with serving(place.app):
        seen = []
        gates[order[0]].set()
        for nth, job in enumerate(handle.as_completed(timeout=PATIENCE), 1):
            seen.append(job.result(timeout=0))
            if nth < len(order):
                gates[order[nth]].set()
    assert seen == order


def test_as_completed_gives_each_member_once_over_many_pages(place: House):
    handle = place.add.map(range(2 * PAGE + 10)).enqueue()
    place.work()
    assert sorted(job.result(timeout=0) for job in handle.as_completed(timeout=0)) == list(range(1, 2 * PAGE + 11))


def test_as_completed_gives_up_after_its_time(place: House):
    handle = place.add.map([1]).enqueue()
    with pytest.raises(ResultTimeout):
        list(handle.as_completed(timeout=0.01))


def test_a_group_is_cancelled_as_a_whole(place: House):
    handle = place.add.map(range(5)).enqueue()
    assert handle.cancel() == 5
    assert handle.cancel() == 0
    with pytest.raises(GroupFailed, match="0 failed and 5 were cancelled of 5"):
        handle.result(timeout=0)
    with pytest.raises(GroupEnded, match="was called off"):
        handle.add(place.add.s(1))


def test_a_group_that_was_cancelled_may_be_retried(place: House):
    handle = place.add.map(range(1500)).enqueue()
    handle.cancel()
    assert handle.retry() == 1500
    place.work()
    assert handle.result(timeout=0) == list(range(1, 1501))


@pytest.mark.usefixtures("busy_keeper")
def test_to_cancel_a_group_stops_what_runs(place: House):
    running = threading.Event()

    @place.app.task(name="endless")
    def endless(n: int) -> None:
        running.set()
        end = time.monotonic() + PATIENCE
        while not current_job().cancelled:
            assert time.monotonic() < end
            time.sleep(0.001)

    handle = endless.map(range(3)).enqueue()
    with serving(place.app, threads=1):
        assert running.wait(PATIENCE)
        assert handle.cancel() == 3
        record = handle.wait(timeout=PATIENCE)
    assert (record.succeeded + record.cancelled, record.called_off) == (3, True)


# -- followers ------------------------------------------------------------------------------------------------


def test_a_job_puts_followers_of_every_kind(house: House):
    handles: dict[str, Any] = {}

    @house.app.task(name="parent")
    def parent() -> None:
        job = current_job()
        handles["task"] = job.put(house.add, 1, y=2)
        handles["call"] = job.put(house.add.using(priority=1), 3)
        handles["chain"] = job.put(house.add.s(4) | house.add.s())
        handles["group"] = job.put(house.add.map([5, 6]))
        handles["chord"] = job.put(chord([house.add.s(7)], house.total.s()))
        handles["nothing"] = job.put(house.add.map([]))
        assert house.app.load([handles["task"].id]) == [None]  # it comes to exist with the settle

    parent.enqueue()
    house.work()
    results = {name: it.result(timeout=0) for name, it in handles.items() if name != "nothing"}
    assert results == {"task": 3, "call": 4, "chain": 6, "group": [6, 7], "chord": 8}


def test_an_async_task_puts_followers_too(house: House):
    handles: list[Any] = []

    @house.app.task(name="aparent")
    async def aparent() -> None:
        await asyncio.sleep(0)
        handles.append(current_job().put(house.add, 1))

    aparent.enqueue()
    house.work()
    assert handles[0].result(timeout=0) == 2


@pytest.mark.parametrize(
    "error", [ValueError("no"), Cancel(), Retry(0), Snooze(0)], ids=lambda error: type(error).__name__
)
def test_an_attempt_that_does_not_succeed_puts_nothing(house: House, error: Exception):
    handles: list[Any] = []

    @house.app.task(name="parent")
    def parent() -> None:
        if handles:
            raise Cancel
        handles.append(current_job().put(house.add, 1))
        raise error

    parent.enqueue()
    house.work()
    assert len(handles) == 1
    assert handles[0].status is None
    assert house.runs == []


def test_a_retry_that_succeeds_puts_its_followers_once(house: House):
    @house.app.task(name="parent", retries=1, backoff=[0])
    def parent() -> None:
        current_job().put(house.add, current_job().attempt)
        if current_job().attempt == 1:
            raise OSError

    parent.enqueue()
    house.work()
    assert house.runs == ["add 2 1"]


def test_a_member_adds_members_and_the_callback_runs_once_at_the_end(house: House):
    @house.app.task(name="grow")
    def grow(n: int) -> int:
        for _ in range(2 if n else 0):
            current_job().group.add(grow, n - 1)
        return n

    handle = chord([grow.s(5)], house.total.s()).enqueue()
    house.work()
    assert house.runs == ["total"]
    assert handle.result(timeout=0) == sum(n * 2 ** (5 - n) for n in range(6))


def test_a_member_may_add_workflows(house: House):
    @house.app.task(name="grow")
    def grow() -> int:
        current_job().group.add(house.add.s(1) | house.add.s(10))
        current_job().group.add(house.add.map([5, 6]))
        return 0

    handle = group(grow.s()).enqueue()
    house.work()
    assert sorted(handle.result(timeout=0)) == [0, 6, 7, 12]
    assert handle.record().total == 4


def test_a_job_in_no_group_can_add_to_none(house: House):
    @house.app.task(name="lonely")
    def lonely() -> None:
        current_job().group.add(house.add, 1)

    job = lonely.enqueue()
    house.work()
    with pytest.raises(JobFailed, match="NotInGroup: The job that runs here is in no group"):
        job.result(timeout=0)
    assert issubclass(NotInGroup, LookupError)


def test_members_that_a_member_of_a_cancelled_group_adds_are_dropped(place: House):
    handles: list[Any] = []

    @place.app.task(name="grow")
    def grow() -> None:
        place.app.group(handles[0].id).cancel()
        handles.append(current_job().group.add(place.add, 1))

    handles.append(group(grow.s()).enqueue())
    place.work()
    assert handles[1].status is None
    assert handles[0].record().called_off
    assert handles[0].done()


def test_what_put_cannot_take_is_told(house: House):
    @house.app.task(name="parent")
    def parent(what: str) -> None:
        current_job().put(*{"function": (print,), "arguments": (house.add.s(1), 2), "misfit": (house.add, "x")}[what])

    messages = {
        "function": r"ArgumentError: put\(\) got <built-in function print>; expected a task with its arguments",
        "arguments": r"ArgumentError: put\(\) got add.s\(1\); expected a task with its arguments",
        "misfit": "ArgumentError: add.*argument 'x': expected `int`, got `str`",
    }
    jobs = {what: parent.enqueue(what) for what in messages}
    house.work()
    for what, job in jobs.items():
        with pytest.raises(JobFailed, match=messages[what]):
            job.result(timeout=0)


# -- coroutines -----------------------------------------------------------------------------------------------


def test_workflows_are_enqueued_from_coroutines(house: House):
    workflows: list[tuple[Callable[[], Any], Any]] = [
        (lambda: house.add.s(1), 2),
        (lambda: house.add.s(1) | house.add.s(), 3),
        (lambda: house.add.map([1, 2]), [2, 3]),
        (lambda: house.add.map([]), []),
        (lambda: house.add.map(range(AT_ONCE + 5)) | house.total.s(), sum(range(1, AT_ONCE + 6))),
        (lambda: house.add.s(1) | group(house.add.s()), [3]),
    ]

    async def main() -> list[Any]:
        return [await make().aenqueue() for make, _ in workflows]

    handles = asyncio.run(main())
    house.work()
    assert [it.result(timeout=0) for it in handles] == [expected for _, expected in workflows]


# -- what is no workflow --------------------------------------------------------------------------------------


def test_what_is_no_workflow_is_told_in_a_sentence(app: Worklist):
    house = House(app, "memory")
    add, total, silent = house.add, house.total, house.silent
    selfish: list[Any] = []
    selfish.append(selfish)
    by_lane = app.task(name="by_lane", lane=lambda to, **_: to)(lambda to: to)
    by_key = app.task(name="by_key", key=lambda to, **_: to)(lambda to: to)
    used, mapped = group(add.s(n) for n in (1, 2)), add.map(n for n in (1, 2))
    used.enqueue()
    mapped.enqueue()
    call = r"expected a call such as task\.s\(1\)"
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (chain, ConfigError, "a chain needs at least one step; give it calls such as task.s"),
        (lambda: chain(add), ConfigError, rf"a chain got <Task add .*>; {call}; did you mean add\.s\(\.\.\.\)\?"),
        (lambda: chain([add.s(1)]), ConfigError, rf"a chain got a list; {call}, or group"),
        (lambda: add.s(1) | print, ConfigError, rf"a chain got <built-in function print>; {call}$"),
        (lambda: add.s(1) | add, ConfigError, "did you mean add.s"),
        (lambda: add.s(1).then(5), ConfigError, f"a chain got 5; {call}"),
        (lambda: add.s(1).then(add.s(), when="ever"), ConfigError, "when is 'ever'; expected 'succeeded' or 'all'"),
        (lambda: group().enqueue(), ConfigError, "this group has no members; to add members later, use app.group()"),
        (lambda: group(5), ConfigError, "a group got 5; expected calls such as task.s"),
        (lambda: group(selfish).enqueue(), ConfigError, f"a group got a list; {call}"),
        (lambda: group([[add.s(1)]]).enqueue(), ConfigError, f"a group got a list; {call}"),
        (lambda: group(x for x in [add.s(1), 5]).enqueue(), ConfigError, f"a group got 5; {call}"),
        (used.enqueue, ConfigError, "this group is made of an iterator, and was put before"),
        (mapped.enqueue, ConfigError, "this group is made of an iterator, and was put before"),
        (lambda: chord([add.s(1)], print), ConfigError, f"a chord got <built-in function print>; {call}"),
        (lambda: chord([add.s(1)], total), ConfigError, "a chord got <Task total .*did you mean total.s"),
        (lambda: chord([add.s(1)], total.s(), when="no"), ConfigError, "when is 'no'; expected 'succeeded' or 'all'"),
        ((add.s(1) | silent.s()).enqueue, ArgumentError, r"silent\(\).* has no first argument .* silent\.si"),
        ((add.s(1) | add.s(1, 2)).enqueue, ArgumentError, r"add\(\): too many positional arguments"),
        ((add.s(1) | add.s(z=2)).enqueue, ArgumentError, r"add\(\) has no argument 'z'"),
        (lambda: add.s("x").enqueue(), ArgumentError, "argument 'x': expected `int`, got `str`"),
        (lambda: add.starmap([5]), ArgumentError, r"add\.starmap\(\) got 5; expected tuples of arguments"),
        ((add.s(1) | by_lane.s()).enqueue, ArgumentError, r"by_lane\(\): its lane function wants the first"),
        ((add.s(1) | by_key.s()).enqueue, ArgumentError, r"by_key\(\): its key function wants the first"),
        ((add.s(1) | add.map([]) | total.s()).enqueue, ConfigError, "a group within a workflow has no memb"),
        (
            (add.s(1) | add.using(key="k", replace=True).s()).enqueue,
            ConfigError,
            r"add\(\) is declared with replace=True",
        ),
        (lambda: app.group(then=total), ConfigError, "then got <Task total .*did you mean total.s"),
        (lambda: app.group(then=total.s(), when="no"), ConfigError, "when is 'no'"),
        (lambda: app.group().add(add), ConfigError, r"add\(\) got <Task add .*expected a call such as task\.s\(1\)"),
    ]
    before = app.inspector.counts()
    for call_it, kind, message in cases:
        with pytest.raises(kind, match=message):
            call_it()
    assert app.inspector.counts() == before, "a part of a refused workflow was put"


def test_a_step_whose_lane_or_key_is_named_may_take_a_result(house: House):
    by_lane = house.app.task(name="by_lane", lane=lambda to, **_: to)(lambda to: to)
    assert finished(house, house.as_is.s("x") | by_lane.using(lane="all").s()) == "x"
    second = house.app.task(name="second", lane=lambda n, **_: f"lane {n}")(lambda to, n: to)
    handle = (house.as_is.s("x") | second.s(3)).enqueue()
    house.work()
    assert known(handle).lane == "lane 3"


def test_a_chain_whose_first_step_was_not_added_says_so(place: House):
    place.add.using(key="k").enqueue(1)
    handle = (place.add.using(key="k").s(1) | place.as_is.s()).enqueue()
    place.work()
    with pytest.raises(JobFailed, match="as_is did not run, since job .* is not known any more, or nothing was to"):
        handle.result(timeout=0)


def test_the_handle_of_a_step_whose_key_is_held_is_that_of_the_holder(house: House):
    if house.kind == "inline":
        pytest.skip("the holder has finished before the other is put")
    first = house.add.using(key="k").enqueue(1)
    assert house.add.using(key="k").s(2).enqueue() == first
    assert group(house.add.using(key="k").s(2)).enqueue().result(timeout=0) == []


def test_workflows_say_what_they_are(house: House):
    workflow = chain(house.add.s(1), group(house.add.s(2), house.add.s(y=3)), house.total.s())
    assert repr(workflow) == "chain(add.s(1), group(add.s(2), add.s(y=3)), total.s())"
    assert repr(group(x for x in ())) == "group(...)"
