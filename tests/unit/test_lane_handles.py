"""Lanes as people declare, watch and change them."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worklist import ArgumentError, ConfigError, Worklist
from worklist.core.lane import INFINITE

from .conftest import PATIENCE, known, serving


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worklist]:
    app = Worklist("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    yield app
    app.close()


def declare(app: Worklist, name: str = "send", **options: Any) -> Any:
    return app.task(name=name, **options)(lambda to="x": to)


# -- declaring --------------------------------------------------------------------------------------------------


def test_a_rate_alone_makes_a_lane_of_the_tasks_own_name(app: Worklist):
    task = declare(app, rate="5/s")
    other = declare(app, "other", concurrency=2)
    jobs = [task.enqueue(), other.enqueue()]
    assert [known(job).lane for job in jobs] == ["send", "other"]
    assert (app.lane("send").rate, app.lane("send").burst, app.lane("send").concurrency) == (5.0, 1, None)
    assert (app.lane("other").rate, app.lane("other").concurrency) == (None, 2)
    assert [it.name for it in app.lanes()] == ["other", "send"]


@pytest.mark.parametrize(
    ("given", "a_second"),
    [(10, 10.0), ("10/s", 10.0), ("90/m", 1.5), ("3600/h", 1.0), ("1/30s", 1 / 30), (" 6 / 1m30s ", 6 / 90)],
)
def test_a_rate_is_written_in_many_ways(app: Worklist, given: float | str, a_second: float):
    declare(app, rate=given).enqueue()
    assert app.lane("send").rate == pytest.approx(a_second)


def test_without_a_burst_a_lane_makes_up_for_a_tenth_of_a_second(app: Worklist):
    declare(app, rate=100).enqueue()
    declare(app, "slow", rate="1/m").enqueue()
    declare(app, "given", rate=100, burst=3).enqueue()
    assert [it.limits.burst for it in app.lanes()] == [3, 10, 1]


def test_a_lane_is_a_name_or_a_function_of_the_arguments(app: Worklist):
    fixed = declare(app, "fixed", lane="all mail", concurrency=3)
    by_host = app.task(name="by_host", lane=lambda url, **_: url.split("/")[2])(lambda url, depth=0: url)
    assert known(fixed.enqueue()).lane == "all mail"
    assert known(by_host.enqueue("https://a.org/x")).lane == "a.org"
    assert known(by_host.enqueue(url="https://b.org/x", depth=2)).lane == "b.org"
    assert {known(job).lane for job in by_host.enqueue_many([("https://c.org/",), {"url": "https://d.org/"}])} == {
        "c.org",
        "d.org",
    }
    assert known(by_host.using(lane="other").enqueue("https://a.org/x")).lane == "other"
    assert known(by_host.using(lane=None).enqueue("https://a.org/x")).lane is None


def test_a_task_without_lanes_has_none(app: Worklist):
    assert known(declare(app).enqueue()).lane is None
    assert app.lanes() == []


def test_a_task_declared_with_a_newer_limit_changes_its_lane(app: Worklist, tmp_path: Path):
    declare(app, concurrency=1).enqueue()
    newer = Worklist(app.url)
    newer._store = app.store  # the same place, by newer code
    declare(newer, concurrency=4).enqueue()
    assert app.lane("send").concurrency == 4


def test_no_more_run_at_once_than_a_lane_allows(app: Worklist):
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Event()

    @app.task(name="careful", concurrency=2)
    def careful(n: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 2:
                together.set()
        assert together.wait(PATIENCE)
        with lock:
            running -= 1

    careful.enqueue_many([(n,) for n in range(30)])
    app.work(until_empty=True, threads=8)
    assert most == 2


def test_a_worker_until_empty_waits_for_a_lane_that_holds_jobs_back(app: Worklist):
    task = declare(app, rate=50, burst=1)
    jobs = task.enqueue_many([()] * 5)
    begun = time.monotonic()
    app.work(until_empty=True)
    assert all(known(job).state == "succeeded" for job in jobs)
    assert time.monotonic() - begun > 0.07  # four more tokens, of a fiftieth of a second each


def test_a_worker_until_empty_does_not_wait_for_a_lane_that_is_paused(app: Worklist):
    job, other = declare(app, lane="a").enqueue(), declare(app, "other").enqueue()
    app.lane("a").pause()
    app.work(until_empty=True)
    assert (known(job).state, known(other).state) == ("queued", "succeeded")


def test_inline_jobs_do_not_wait_for_their_lane():
    app = Worklist("memory://")
    task = declare(app, rate="1/h", concurrency=1)
    with app.inline():
        jobs = task.enqueue_many([()] * 3)
        assert [job.result(timeout=0) for job in jobs] == ["x"] * 3


def test_inline_jobs_of_a_paused_lane_or_queue_are_left(app: Worklist):
    task, other = declare(app, lane="a"), declare(app, "other")
    with app.inline():
        app.lane("a").pause()
        assert task.enqueue().status == "queued"
        assert other.enqueue().status == "succeeded"
        app.inspector.pause("default", True)
        assert other.enqueue().status == "queued"


# -- looking and changing ---------------------------------------------------------------------------------------


def test_a_lane_that_nobody_has_used_is_open_and_empty(app: Worklist):
    lane = app.lane("new")
    assert (lane.rate, lane.burst, lane.concurrency, lane.weight) == (None, 1, None, 1.0)
    assert (lane.running, lane.queued, lane.paused) == (0, 0, False)
    assert app.lanes() == []
    assert repr(lane) == "<LaneHandle new>"


def test_a_lane_tells_what_it_holds(app: Worklist):
    declare(app, lane="a").enqueue_many([()] * 5)
    app.store.lease("w", ["default"], 2, 60.0)
    assert (app.lane("a").running, app.lane("a").queued) == (2, 3)


def test_limits_set_by_hand_win_over_those_that_tasks_declare(app: Worklist):
    task = declare(app, rate="1/s", concurrency=1)
    task.enqueue()
    app.lane("send").set(concurrency=7)
    task.enqueue()
    lane = app.lane("send")
    assert (lane.concurrency, lane.rate) == (7, 1.0)  # what was not named stays
    lane.reset()
    assert lane.concurrency == 7
    task.enqueue()
    assert (lane.concurrency, lane.rate) == (1, 1.0)


def test_none_lifts_a_limit(app: Worklist):
    declare(app, rate="1/s", concurrency=1).enqueue()
    app.lane("send").set(rate=None, concurrency=None)
    assert (app.lane("send").rate, app.lane("send").concurrency) == (None, None)


def test_a_new_rate_has_a_burst_of_its_own(app: Worklist):
    lane = app.lane("a")
    lane.set(rate="100/s")
    assert (lane.rate, lane.burst) == (100.0, 10)
    lane.set(burst=3)
    assert (lane.rate, lane.burst) == (100.0, 3)
    lane.set(rate="200/s")
    assert lane.burst == 20
    lane.set(rate=1, burst=5, concurrency=2)
    assert (lane.rate, lane.burst, lane.concurrency) == (1.0, 5, 2)


def test_a_weight_leaves_limits_to_the_tasks(app: Worklist):
    app.lane("send").set(weight=3)
    declare(app, concurrency=2).enqueue()
    assert (app.lane("send").weight, app.lane("send").concurrency) == (3.0, 2)


@pytest.mark.parametrize(
    "until", [60, "1h", dt.timedelta(hours=1), dt.datetime(2100, 1, 1, tzinfo=dt.UTC), None], ids=repr
)
def test_a_pause_lasts_for_a_time_or_until_a_moment_or_until_it_is_ended(app: Worklist, until: Any):
    job = declare(app, lane="a").enqueue()
    lane = app.lane("a")
    begun = time.time()
    lane.pause(until)
    assert lane.paused
    ends = lane.record().paused
    if until is None:
        assert ends == INFINITE
    elif isinstance(until, dt.datetime):
        assert ends == until.timestamp()
    else:
        assert begun + 60 <= ends <= time.time() + 3600
    app.work(until_empty=True)
    assert known(job).state == "queued"
    lane.resume()
    assert not lane.paused
    app.work(until_empty=True)
    assert known(job).state == "succeeded"


def test_a_pause_ends_by_itself(app: Worklist):
    job = declare(app, lane="a").enqueue()
    app.lane("a").pause(0.05)
    with serving(app):
        assert job.result(timeout=PATIENCE) == "x"
    assert not app.lane("a").paused


def test_a_worker_hears_of_a_lane_that_is_opened(app: Worklist):
    app.lane("a").pause()
    job = declare(app, lane="a").enqueue()
    with serving(app):
        assert job.status == "queued"
        app.lane("a").resume()
        assert job.result(timeout=PATIENCE) == "x"


def test_what_is_set_is_seen_by_every_app_on_the_store_and_outlives_it(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with Worklist(url) as first:
        first.lane("a").set(rate="5/s", weight=2)
        first.lane("a").pause()
        with Worklist(url) as second:
            assert (second.lane("a").rate, second.lane("a").weight, second.lane("a").paused) == (5.0, 2.0, True)
            second.lane("a").resume()
        assert not first.lane("a").paused
    with Worklist(url) as third:
        assert third.lane("a").rate == 5.0


# -- what is no lane --------------------------------------------------------------------------------------------


def test_what_cannot_be_a_lane_is_told_in_a_sentence(app: Worklist):
    task = declare(app)
    naive = dt.datetime(2100, 1, 1)  # noqa: DTZ001
    number = app.task(name="number", lane=lambda x: x)(lambda x: x)
    long = app.task(name="long", lane=lambda x: x * 10_000)(lambda x: x)
    named = "expected a printable name of 1 to 200 characters"
    how = r"expected how many in which time, such as '10/s', '100/m', '5000/h' or '1/30s'"
    count = "expected a whole number from 1 to a billion"
    lane = app.lane("a")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: declare(app, "t", rate="10/fortnight"), rf"^task 't': rate is '10/fortnight'; {how}$"),
        (lambda: declare(app, "t", rate="ten"), rf"^task 't': rate is 'ten'; {how}$"),
        (lambda: declare(app, "t", rate="10/0s"), rf"^task 't': rate is '10/0s'; {how}$"),
        (lambda: declare(app, "t", rate=True), rf"^task 't': rate is True; {how}$"),
        (
            lambda: declare(app, "t", rate=0),
            "^task 't': rate is 0; it has to let something pass. To stop a lane, pause",
        ),
        (lambda: declare(app, "t", rate=-1), "^task 't': rate is -1; it has to let something pass"),
        (lambda: declare(app, "t", rate=float("inf")), "^task 't': rate is inf; it has to let something pass"),
        (lambda: declare(app, "t", burst=3), "^task 't': burst=3 is how far a rate may be exceeded; give a rate, too$"),
        (lambda: declare(app, "t", burst=0, rate=1), f"^task 't': burst is 0; {count}$"),
        (lambda: declare(app, "t", concurrency=0), f"^task 't': concurrency is 0; {count}$"),
        (lambda: declare(app, "t", concurrency=1.5), f"^task 't': concurrency is 1.5; {count}$"),
        (lambda: declare(app, "t", lane=""), f"^task 't': lane is ''; {named}$"),
        (lambda: declare(app, "t", lane="a\nb"), rf"^task 't': lane is 'a\\nb'; {named}$"),
        (
            lambda: declare(app, "t", lane="x" * 10_000),
            rf"^task 't': lane is 'x{{40}}'... of 10,000 characters; {named}",
        ),
        (lambda: declare(app, "t", lane=5), f"^task 't': lane is 5; {named}$"),
        (
            lambda: declare(app, "t", lane=lambda host: host),
            "^task 't': its lane function cannot be called with the ta",
        ),
        (lambda: task.using(lane=lambda: "x"), r"^send.using\(\): its lane function cannot be called with the task's"),
        (lambda: task.using(rate=3), r"^send.using\(\) has no option 'rate'"),
        (lambda: number.enqueue(5), rf"^the lane of number\(\) is 5; {named}$"),
        (lambda: long.enqueue("x"), rf"^the lane of long\(\) is 'x{{40}}'... of 10,000 characters; {named}$"),
        (lambda: app.lane(""), f"^the name of the lane is ''; {named}$"),
        (lambda: app.lane("x" * 10_000), "^the name of the lane is 'x{40}'... of 10,000 characters"),
        (lambda: app.lane(None), f"^the name of the lane is None; {named}$"),  # type: ignore[arg-type]
        (lambda: lane.set(rate="10/fortnight"), rf"^lane 'a': rate is '10/fortnight'; {how}$"),
        (lambda: lane.set(concurrency=0), f"^lane 'a': concurrency is 0; {count}$"),
        (lambda: lane.set(weight=0), "^lane 'a': weight is 0; expected a number from 0.001 to 1000$"),
        (lambda: lane.set(weight=float("nan")), "^lane 'a': weight is nan; expected a number"),
        (lambda: lane.set(weight=True), "^lane 'a': weight is True; expected a number"),
        (lambda: lane.pause(-5), "^the length of the pause is -5; it cannot be negative$"),
        (lambda: lane.pause("soon"), "^the length of the pause is 'soon'; expected a duration"),
        (lambda: lane.pause(naive), "^the end of the pause is .*which has no time zone; pass an aware datetime$"),
    ]
    for call, message in cases:
        with pytest.raises((ConfigError, ArgumentError), match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert set(app.tasks) == {"send", "number", "long"}, "a task that was refused is registered"
    assert app.inspector.counts() == {}
    assert app.lanes() == []
