"""The options of a task and of `using`: what is refused, how it is said, and what they do to a job."""

import datetime as dt

import pytest

from worklist import ArgumentError, Backoff, ConfigError, Worklist
from worklist.core.errors import DuplicateTask, PayloadTooLarge
from worklist.core.execution import Execution
from worklist.core.job import FOREVER, Job
from worklist.core.ports import Capabilities, Lease
from worklist.core.task import Task


def nothing() -> None:
    """Do it."""


BAD_FOR_BOTH = [
    ("queue", ""),
    ("queue", "a,b"),
    ("queue", "x" * 201),
    ("queue", "a\nb"),
    ("queue", 5),
    ("priority", 1.5),
    ("priority", True),
    ("priority", 1_000_001),
    ("retries", -1),
    ("retries", 1.0),
    ("retries", True),
    ("retries", 10**30),
    ("redeliveries", -1),
    ("redeliveries", 10**30),
    ("backoff", "quadratic"),
    ("backoff", []),
    ("backoff", -1),
    ("timeout", -1),
    ("timeout", "soon"),
    ("key", ""),
    ("key", 5),
    ("key", False),
    ("hold", "a while"),
    ("hold", -1),
    ("replace", "yes"),
    ("expires", -5),
    ("results", "some"),
    ("keep_results", -1),
]


@pytest.mark.parametrize(("option", "value"), [*BAD_FOR_BOTH, ("retry_on", "OSError"), ("fail_on", (OSError, 5))])
def test_an_option_of_a_task_that_means_nothing_is_refused_by_name(app: Worklist, option, value):
    with pytest.raises(ConfigError, match=rf"task '.*nothing': {option}"):
        app.task(**{option: value})(nothing)
    assert app.tasks == {}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *BAD_FOR_BOTH,
        ("delay", -1),
        ("delay", None),
        ("queue", None),
        ("eta", dt.datetime(2030, 1, 1)),  # noqa: DTZ001 - that is the mistake
        ("eta", "tomorrow"),
        ("eta", -1),
        ("eta", 1_700_000_000_000),
        ("eta", float("nan")),
    ],
)
def test_an_option_of_a_call_that_means_nothing_is_refused_by_name(app: Worklist, option, value):
    task = app.task(nothing)
    with pytest.raises(ConfigError, match=rf"nothing\.using\(\): {option}"):
        task.using(**{option: value})


def test_an_unknown_option_of_a_task_is_refused_with_the_nearest_one(app: Worklist):
    with pytest.raises(ConfigError, match=r"no option 'retrys' \(did you mean 'retries'"):
        app.task(retrys=3)(nothing)  # type: ignore[call-overload]


def test_an_unknown_option_of_a_call_is_refused_with_the_nearest_one(app: Worklist):
    with pytest.raises(ConfigError, match=r"no option 'dealy' \(did you mean 'delay'"):
        app.task(nothing).using(dealy=3)


@pytest.mark.parametrize("option", ["process", "retry_on", "overrides"])
def test_what_only_a_task_can_be_told_is_refused_of_a_call(app: Worklist, option):
    with pytest.raises(ConfigError, match=f"no option '{option}'"):
        app.task(nothing).using(**{option: None})


def test_a_backoff_function_cannot_travel_with_a_call(app: Worklist):
    with pytest.raises(ConfigError, match="travels with the job"):
        app.task(nothing).using(backoff=lambda retry, error: 1.0)


def test_two_tasks_cannot_have_one_name(app: Worklist):
    app.task(nothing)
    with pytest.raises(DuplicateTask, match=r"test_task_options\.py:\d+.*name="):
        app.task(nothing)
    assert app.task(name="other")(nothing).name == "other"


def test_a_task_is_named_after_its_module_and_function(app: Worklist):
    assert app.task(nothing).name == f"{__name__}.nothing"


def test_only_a_function_can_be_a_task(app: Worklist):
    with pytest.raises(ConfigError, match="expected a function"):
        app.task("mail")  # type: ignore[call-overload]


def test_a_task_can_still_be_called_and_looks_like_its_function(app: Worklist):
    @app.task
    def double(x: int) -> int:
        """Twice as much."""
        return 2 * x

    assert double(4) == 8
    assert (double.__name__, double.__doc__, double.__wrapped__(3)) == ("double", "Twice as much.", 6)
    assert "double" in repr(double)
    assert app.store.counts() == {}


def test_a_child_process_cannot_run_what_it_cannot_import(app: Worklist):
    with pytest.raises(ConfigError, match="top of a module"):

        @app.task(process=True)
        def local() -> None: ...


def test_a_child_process_does_not_run_coroutines(app: Worklist):
    with pytest.raises(ConfigError, match="event loop"):

        @app.task(process=True)
        async def local() -> None: ...


def job_of(call) -> Job:
    return call.job((), {})


def test_every_option_of_a_call_reaches_its_job(app: Worklist):
    task = app.task(queue="mail", priority=1, redeliveries=2)(nothing)
    app.task(name="other", queue="other")(nothing)
    when = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    call = task.using(
        queue="other", priority=9, delay="1m", eta=when, key="k", hold="2m", replace=True, expires="1h", redeliveries=0
    )
    job = job_of(call)
    assert (job.queue, job.priority, job.delay, job.eta) == ("other", 9, 60.0, when.timestamp())
    assert (job.key, job.hold, job.replace, job.expires) == (f"{task.name}:k", 120.0, True, 3600.0)
    assert (job.redeliveries, job.overrides) == (0, None)
    plain = job_of(task)
    assert (plain.queue, plain.priority, plain.delay, plain.key, plain.redeliveries) == ("mail", 1, 0.0, None, 2)


def test_what_a_worker_has_to_know_travels_with_the_job(app: Worklist):
    task = app.task(timeout=5)(nothing)
    call = task.using(timeout=60, retries=9, backoff=[1, 2], results="failures", keep_results="1d")
    (handle,) = call.enqueue_many([()])
    (lease,) = app.store.lease("w", ["default"], 1, 30.0)
    execution = Execution(lease, app.environment)
    assert execution.prepare()
    options = execution.options
    assert (options.timeout, options.retries, options.results, options.keep_results) == (60, 9, "failures", 86400)
    assert options.backoff == Backoff(steps=(1.0, 2.0), jitter=False)
    assert handle.id == lease.id


@pytest.mark.parametrize("overrides", [{"timeout": "long"}, {"retries": -1}, {"backoff": 3}, {"results": "some"}])
def test_options_of_a_job_that_mean_nothing_fail_that_job_alone(app: Worklist, run, overrides):
    task = app.task(nothing)
    job = task.job((), {})
    app.put([Job(job.id, job.task, job.args, overrides=overrides)])
    other = task.enqueue()
    record = run(app, app.job(job.id))
    assert (record.state, record.errors[-1].type) == ("failed", "UndecodableJob")
    assert other.status == "succeeded"


def test_options_that_this_version_does_not_know_are_passed_over(app: Worklist, run):
    job = app.task(nothing).job((), {})
    app.put([Job(job.id, job.task, job.args, overrides={"colour": "red", "retries": 2})])
    assert run(app, app.job(job.id)).state == "succeeded"


@pytest.mark.parametrize(("written", "hold"), [("finished", 0.0), ("ever", FOREVER), ("2m", 120.0), (5, 5.0)])
def test_how_long_a_key_is_held_can_be_said_in_words(app: Worklist, written, hold):
    assert job_of(app.task(key="k", hold=written)(nothing)).hold == hold


def test_a_key_is_fixed_or_made_of_the_arguments(app: Worklist):
    def send(to: str, body: str = "") -> None: ...

    fixed = app.task(name="fixed", key="one")(send)
    same = app.task(name="same", key=True)(send)
    made = app.task(name="made", key=lambda to, **_: to.lower())(send)
    assert fixed.job(("A", "x"), {}).key == "fixed:one"
    assert same.job(("A", "x"), {}).key == same.job((), {"body": "x", "to": "A"}).key
    assert same.job(("A", "x"), {}).key != same.job(("A", "y"), {}).key
    assert made.job(("A", "x"), {}).key == "made:a"
    assert made.job((), {"body": "x", "to": "A"}).key == "made:a"


def test_a_key_function_gets_every_argument_by_name(app: Worklist):
    def tag(kind: str = "plain", *parts: int, loud: bool = False, **more: str) -> None: ...

    task = app.task(key=lambda kind, parts, loud, **more: f"{kind} {parts} {loud} {more}")(tag)
    name = task.name
    assert task.job((), {}).key == f"{name}:plain [] False {{}}"
    assert task.job(("x", 1, 2), {"loud": True, "colour": "red"}).key == f"{name}:x [1, 2] True {{'colour': 'red'}}"


@pytest.mark.parametrize("key", [lambda who: who, lambda: "k", lambda to, body, more: to])
def test_a_key_function_that_does_not_fit_the_task_is_refused_at_once(app: Worklist, key):
    def send(to: str, body: str = "") -> None: ...

    with pytest.raises(ConfigError, match=r"key function.*lambda to, \*\*_"):
        app.task(key=key)(send)
    with pytest.raises(ConfigError, match=r"using\(\).*key function"):
        app.task(name="other")(send).using(key=key)


def test_a_key_that_is_no_text_is_refused(app: Worklist):
    task = app.task(key=lambda: 5)(nothing)  # type: ignore[arg-type, return-value]
    with pytest.raises(ArgumentError, match="key function returned 5"):
        task.enqueue()


def test_a_second_call_with_a_held_key_gets_the_first_ones_handle(app: Worklist):
    task = app.task(key="k")(nothing)
    assert task.enqueue() == task.enqueue()
    assert app.store.counts()["default"] == {"queued": 1}


def test_a_queue_that_nobody_declares_is_refused(app: Worklist):
    task = app.task(queue="mail")(nothing)
    with pytest.raises(ConfigError, match=r"no task declares the queue 'mial' \(did you mean 'mail'"):
        task.using(queue="mial")


def test_a_queue_can_be_declared_by_the_app():
    app = Worklist("memory://", queues=["slow"])
    assert app.task(nothing).using(queue="slow").job((), {}).queue == "slow"
    assert app.queues == ("default", "slow")


@pytest.mark.parametrize(
    ("lacking", "asked"), [("key", {"key": "k"}), ("priority", {"priority": 1}), ("expires", {"expires": 5})]
)
def test_what_the_broker_cannot_do_is_refused_when_the_task_is_declared(app, monkeypatch, lacking, asked):
    monkeypatch.setattr(type(app), "capabilities", Capabilities(**{lacking: False}))
    with pytest.raises(ConfigError, match=f"cannot do {lacking}"):
        app.task(**asked)(nothing)


def test_what_the_broker_cannot_do_is_refused_of_a_call(app: Worklist, monkeypatch):
    task = app.task(nothing)
    monkeypatch.setattr(Worklist, "capabilities", Capabilities(delay=False))
    with pytest.raises(ConfigError, match="cannot do delay"):
        task.using(delay=5)
    with pytest.raises(ConfigError, match="cannot do delay"):
        task.using(eta=1_900_000_000)


def test_arguments_beyond_the_limit_are_refused_with_both_sizes():
    app = Worklist("memory://", max_payload="1KB")

    @app.task
    def keep(text: str) -> None: ...

    keep.enqueue("x" * 1000)
    with pytest.raises(PayloadTooLarge, match=r"keep\(\).*1,209 bytes.*1,024"):
        keep.enqueue("x" * 1200)
    assert app.store.counts()["default"] == {"queued": 1}


def test_many_calls_give_their_handles_in_order(app: Worklist):
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    handles = add.enqueue_many([(1,), {"x": 2}, (3, 4), {"y": 5, "x": 6}])
    app.work(until_empty=True)
    assert [handle.result(timeout=0) for handle in handles] == [1, 2, 7, 11]
    assert add.enqueue_many([]) == []


def test_a_bad_call_among_many_is_named_by_its_index(app: Worklist):
    @app.task
    def add(x: int) -> None: ...

    with pytest.raises(ArgumentError, match=r"call 2: .*'x'"):
        add.enqueue_many([(1,), (2,), ("three",)])
    with pytest.raises(ArgumentError, match="call 1 of enqueue_many is int"):
        add.enqueue_many([(1,), 2])  # type: ignore[list-item]
    assert app.store.counts() == {}


def test_calls_of_a_generator_are_put_a_thousand_at_a_time(app: Worklist, monkeypatch):
    @app.task
    def add(x: int) -> None: ...

    sizes: list[int] = []
    put = app.store.put
    monkeypatch.setattr(app.store, "put", lambda jobs: sizes.append(len(jobs)) or put(jobs))
    assert len(add.enqueue_many((n,) for n in range(2500))) == 2500
    assert sizes == [1000, 1000, 500]


def test_a_lease_is_of_the_job_that_was_put(app: Worklist):
    task: Task[[], None] = app.task(nothing)
    handle = task.enqueue()
    (lease,) = app.store.lease("w", ["default"], 1, 30.0)
    assert isinstance(lease, Lease)
    assert lease.id == handle.id
