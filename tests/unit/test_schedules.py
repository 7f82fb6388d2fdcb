"""Schedules of an app: declared by code, made at run time, changed, and what is refused."""

import datetime as dt
import zoneinfo
from typing import Any

import pytest

from worklist import ArgumentError, ConfigError, Schedule, ScheduleUnknown, Worklist, current_job
from worklist.core.beat import Beat
from worklist.core.ports import Filter
from worklist.testing import FakeClock

from .conftest import PATIENCE, serving


@pytest.fixture
def clock(app: Worklist) -> FakeClock:
    clock = FakeClock()
    app.store._clock = clock  # type: ignore[attr-defined]
    return clock


def a_task(app: Worklist, **options: Any) -> Any:
    @app.task(name="report", **options)
    def report(kind: str = "all", *, rows: int = 10) -> str:
        return f"{kind} {rows}"

    return report


# -- declaring ----------------------------------------------------------------------------------------------------


def test_a_task_that_says_every(app: Worklist) -> None:
    a_task(app, every="30s", queue="slow", priority=2)
    schedule = app.schedules["report"]
    assert (schedule.task, schedule.every, schedule.declared) == ("report", "30s", True)
    assert (schedule.job.queue, schedule.job.priority) == ("slow", 2)
    assert app.store.schedules() == [], "looking stores nothing"


def test_every_as_a_call_and_as_a_decorator_returns_the_task(app: Worklist) -> None:
    task = a_task(app)
    assert app.every("@daily", name="a")(task) is task
    assert app.every(dt.timedelta(minutes=5), name="b", tz="UTC", args=("x",), kwargs={"rows": 3})(task) is task
    assert list(app.schedules) == ["a", "b"]
    assert len(app.schedules) == 2
    assert task.signature.decode(app.schedules["b"].job.args) == (("x",), {"rows": 3})
    assert {name: schedule.every for name, schedule in app.schedules.items()} == {"a": "@daily", "b": "300s"}


def test_a_zone_may_be_an_object(app: Worklist) -> None:
    app.every("0 2 * * *", tz=zoneinfo.ZoneInfo("Asia/Shanghai"))(a_task(app))
    assert app.schedules["report"].tz == "Asia/Shanghai"


def test_options_of_the_task_travel_with_the_job(app: Worklist) -> None:
    app.every("1h", queue="default", priority=-1)(a_task(app, queue="default", expires=60, redeliveries=1, key="k"))
    job = app.schedules["report"].job_of(5.0, "id", 6.0)
    assert (job.expires, job.redeliveries, job.key, job.priority, job.eta) == (60.0, 1, "report:k", -1, 5.0)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"every": "61 * * * *"}, ConfigError, "schedule 's': the cron line '61 * * * *' has '61' as its minute"),
        ({"every": "0 0 30 2 *"}, ConfigError, "never fires"),
        ({"tz": "Asia/Shanghia"}, ConfigError, "schedule 's': there is no time zone 'Asia/Shanghia' (did you mean"),
        ({"tz": 8}, ConfigError, "tz is 8; expected the name of a time zone"),
        ({"every": True}, ConfigError, "every is True"),
        ({"args": ("x", "y")}, ArgumentError, "report(): too many positional arguments"),
        ({"args": (1,)}, ArgumentError, "argument 'kind'"),
        ({"args": "x"}, ConfigError, "args is 'x'; expected a tuple or a list"),
        ({"kwargs": [1]}, ConfigError, "kwargs is [1]; expected a mapping"),
        ({"kwargs": {"row": 1}}, ArgumentError, "no argument 'row' (did you mean 'rows'?)"),
        ({"missed": "onec"}, ConfigError, "missed is 'onec' (did you mean 'once'?); expected one of skip, once, all"),
        ({"missed": "all"}, ConfigError, "missed='all' puts many jobs at once, and without overlap=True"),
        ({"most": 0}, ConfigError, "most is 0; expected a whole number from 1 to 10000"),
        ({"overlap": 1}, ConfigError, "overlap is 1; expected bool"),
        ({"queue": "slwo"}, ConfigError, "no task declares the queue 'slwo'"),
        ({"priority": "high"}, ConfigError, "priority is 'high'"),
        ({"tzone": "UTC"}, ConfigError, "schedule 's' has no option 'tzone' (did you mean 'tz'?)"),
        ({"name": ""}, ConfigError, "a schedule is named ''"),
        ({"name": "a\nb"}, ConfigError, "expected 1 to 200 printable characters"),
    ],
)
def test_what_is_refused_at_declaration(
    app: Worklist, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    task = a_task(app)
    every = settings.pop("every", "0 2 * * *")
    name = settings.pop("name", "s")
    with pytest.raises(error) as caught:
        app.schedules.add(name, task, every, **settings)
    assert words in str(caught.value)
    assert list(app.schedules) == []


def test_a_name_is_declared_once(app: Worklist) -> None:
    task = a_task(app, every="30s")
    with pytest.raises(ConfigError, match="named 'report' is declared already; give this one another name"):
        app.every("1h")(task)
    with pytest.raises(ConfigError, match="there is a schedule 'report' already"):
        app.schedules.add("report", task, "1h")


def test_every_over_a_plain_function_is_explained(app: Worklist) -> None:
    with pytest.raises(ConfigError, match=r"expected a task: put @app.task under @app.every"):
        app.every("30s", name="s")(print)  # type: ignore[type-var]


# -- at run time --------------------------------------------------------------------------------------------------


def test_add_look_and_delete(app: Worklist, clock: FakeClock) -> None:
    added = app.schedules.add("s", a_task(app), "0 2 * * *", tz="Asia/Shanghai", kwargs={"rows": 5})
    assert isinstance(added, Schedule)
    assert app.schedules["s"] == added
    assert "s" in app.schedules
    (at, after) = app.schedules.next_times("s", 2)
    assert at.timestamp() == added.due
    assert (at.hour, at.utcoffset(), after - at) == (2, dt.timedelta(hours=8), dt.timedelta(days=1))
    app.schedules.delete("s")
    assert app.schedules.get("s") is None
    with pytest.raises(ScheduleUnknown) as caught:
        app.schedules["s"]
    assert str(caught.value) == "there is no schedule 's'; there are none"


def test_an_unknown_name_is_told_the_nearest(app: Worklist) -> None:
    app.schedules.add("nightly", a_task(app), "1h")
    for call in (app.schedules.pause, app.schedules.resume, app.schedules.delete, app.schedules.put):
        with pytest.raises(ScheduleUnknown, match=r"no schedule 'nihgtly' \(did you mean 'nightly'\?\)"):
            call("nihgtly")


def test_a_change_keeps_what_is_not_named(app: Worklist, clock: FakeClock) -> None:
    before = app.schedules.add("s", a_task(app), "0 2 * * *", tz="Asia/Shanghai", args=("x",), priority=3, overlap=True)
    clock.advance(100)
    after = app.schedules.change("s", missed="all", most=5)
    assert (after.missed, after.most, after.due) == ("all", 5, before.due)
    assert (after.every, after.tz, after.job, after.overlap) == (before.every, before.tz, before.job, True)
    task = app.tasks["report"]
    assert task.signature.decode(app.schedules.change("s", kwargs={"rows": 1}).job.args) == (("all",), {"rows": 1})
    moved = app.schedules.change("s", every="0 3 * * *")
    assert (moved.tz, moved.due) == ("Asia/Shanghai", moved.next_times(1, clock.now)[0].timestamp())
    assert app.schedules.change("s", every="1h").tz == "UTC", "an interval has no zone"
    with pytest.raises(ConfigError, match="schedule 's': missed is 'never'"):
        app.schedules.change("s", missed="never")  # type: ignore[arg-type]


def test_a_change_takes_a_declared_schedule_out_of_the_codes_hands(app: Worklist, clock: FakeClock) -> None:
    a_task(app, every="30s")
    assert app.schedules.change("report", every="45s").declared is False
    app.make_beat().turn(clock.now)
    assert app.schedules["report"].every == "45s"
    app.schedules.delete("report")
    app.make_beat().turn(clock.now)
    assert app.schedules["report"].every == "30s"


def test_pause_and_resume(app: Worklist, clock: FakeClock) -> None:
    app.schedules.add("s", a_task(app), "30s")
    assert app.schedules.pause("s").paused
    assert app.schedules.next_times("s", 3) == []
    clock.advance(1000)
    app.make_beat().turn(clock.now)
    assert app.store.counts() == {}
    resumed = app.schedules.resume("s")
    assert clock.now < resumed.due <= clock.now + 30
    assert app.schedules.resume("s") == resumed


def test_a_change_that_a_tick_came_before_is_made_anew(
    app: Worklist, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = app.schedules.add("s", a_task(app), "30s").due
    save, calls = app.store.save_schedule, []

    def slow(schedule: Schedule, seen: Schedule | None) -> bool:
        if not calls:
            clock.now = due
            app.make_beat().turn(clock.now)
        calls.append(schedule)
        return save(schedule, seen)

    monkeypatch.setattr(app.store, "save_schedule", slow)
    changed = app.schedules.change("s", priority=5)
    assert len(calls) == 2
    assert (changed.last, changed.due, changed.job.priority) == (due, due + 30, 5)


def test_put_now(app: Worklist) -> None:
    app.schedules.add("s", a_task(app), "@yearly", args=("x",))
    job = app.schedules.put("s")
    assert app.schedules.put("s") == job, "the one before has not finished"
    app.work(until_empty=True)
    assert job.result() == "x 10"


# -- in a worker, and inline --------------------------------------------------------------------------------------


def test_a_job_learns_its_fire_time(app: Worklist, clock: FakeClock) -> None:
    @app.task(every="30s")
    def when() -> str:
        scheduled = current_job().scheduled
        assert scheduled is not None
        return scheduled.isoformat()

    beat = app.make_beat()
    beat.turn(clock.now)
    clock.advance(31)
    beat.turn(clock.now)
    app.work(until_empty=True, beat=False)
    (record,) = app.inspector.find(Filter())
    assert app.job(record.id).result() == "2023-11-14T22:13:30+00:00"


def test_a_job_of_no_schedule_has_no_fire_time(app: Worklist) -> None:
    @app.task
    def when() -> bool:
        return current_job().scheduled is None

    job = when.enqueue()
    app.work(until_empty=True)
    assert job.result()


def test_a_worker_puts_what_is_due_before_it_looks_whether_there_is_work(file_app: Worklist) -> None:
    task = a_task(file_app)
    due = file_app.schedules.add("s", task, "1s")
    file_app.store._clock = lambda: due.due + 300  # type: ignore[attr-defined]
    report = file_app.work(until_empty=True)
    assert report.processed == 1


def test_a_worker_without_a_beat_puts_nothing(file_app: Worklist) -> None:
    a_task(file_app, every="1s")
    assert file_app.work(until_empty=True, beat=False).processed == 0
    assert file_app.store.schedules() == []


def test_a_worker_that_runs_puts_jobs_and_ends_its_beat(file_app: Worklist) -> None:
    @file_app.task(every="1s")
    def tick() -> None: ...

    with serving(file_app) as worker:
        deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=PATIENCE)
        while worker.processed < 2 and dt.datetime.now(dt.UTC) < deadline:
            file_app.wait_change(0.1)
    assert worker.processed >= 2
    assert worker._beat is not None
    assert worker._beat._thread is not None
    assert not worker._beat._thread.is_alive()


def test_inline(file_app: Worklist) -> None:
    a_task(file_app, every="@daily")
    with file_app.inline():
        assert file_app.schedules.put("report").result() == "all 10"
        file_app.schedules.add("s", file_app.tasks["report"], "30s", args=("x",))
        assert list(file_app.schedules) == ["report", "s"]
        beat = Beat(file_app.store, file_app.events)
        beat.turn(file_app.schedules["s"].due)
        assert file_app.inspector.counts()["default"]["queued"] == 1  # type: ignore[index]
    assert list(file_app.schedules) == ["report"], "what was added inline was added for the test alone"


def test_a_secret_signs_schedules_too(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    with Worklist(f"sqlite:///{tmp_path}/jobs.db") as plain, Worklist(plain.url, secret="s") as signed:
        plain.schedules.add("s", a_task(plain), "30s")
        assert list(signed.schedules) == []
        assert list(signed.schedules) == []
        assert caplog.text.count("the schedule 's' cannot be read, so it does not fire: the job is not signed") == 1
        signed.schedules.add("s", a_task(signed), "1h")
        assert signed.schedules["s"].every == "1h"
