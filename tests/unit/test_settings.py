"""URLs, settings and environment variables: what is refused, and with what words."""

import importlib
import re
from pathlib import Path

import pytest

import worklist
from worklist import ConfigError, Worklist
from worklist.adapters import without_password
from worklist.brokers.memory import MemoryBroker
from worklist.brokers.sqlite import SqliteBroker
from worklist.settings import SETTINGS


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "expected something like"),
        ("worklist.db", "expected something like"),
        (5, "expected something like"),
        ("sqllite:///a.db", "did you mean 'sqlite'"),
        ("mysql://a", "known are amqp://, .*memory://, .*redis://.*, sqlite://"),
        ("sqlite://a.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:a.db", "expected sqlite:///FILE"),
        ("sqlite:/a.db", "expected sqlite:///FILE"),
        ("sqlite:///a#b.db", "written %23"),
    ],
)
def test_a_url_that_means_nothing_is_refused_when_the_app_is_made(url, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Worklist(url)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite:///{0}/a.db?durabilty=full", r"no option 'durabilty' \(did you mean 'durability'"),
        ("sqlite:///{0}/a.db?durability=ful", "durability is 'ful'.*did you mean 'full'"),
        ("sqlite:///{0}/a.db?patience=soon", "patience is 'soon'"),
        ("memory://?durability=full", "no option 'durability'; it takes none"),
    ],
)
def test_an_option_of_a_url_that_means_nothing_is_refused(tmp_path, url, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Worklist(url.format(tmp_path)).store  # noqa: B018 - it opens
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:geheim@host:5432/db?x=1", "postgresql://me:***@host:5432/db?x=1"),
        ("redis://:geh@eim@host", "redis://:***@host"),
        ("postgresql://db/shop?user=shop&password=pw&x=1", "postgresql://db/shop?user=shop&password=***&x=1"),
        ("sqlite:///a.db?durability=full", "sqlite:///a.db?durability=full"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


def test_a_url_says_where_the_file_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    for url, file in [
        ("sqlite:///jobs.db", "jobs.db"),
        (f"sqlite:////{tmp_path}/other.db", "other.db"),
        ("sqlite:///a%20b/jobs.db?durability=full&patience=2m", "a b/jobs.db"),
        ("SQLite:///a%20b/%23%3F.db", "a b/#?.db"),
    ]:
        with Worklist(url) as app:
            assert isinstance(app.store, SqliteBroker)
            assert (tmp_path / file).is_file()


def test_nothing_is_opened_before_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = Worklist()

    @app.task
    def task() -> None: ...

    assert list(tmp_path.iterdir()) == []
    task.enqueue()
    assert Path("worklist.db").is_file()
    app.close()


def test_the_environment_sets_what_the_program_does_not(monkeypatch):
    for name, value in {
        "URL": "memory://",
        "RESULTS": "failures",
        "KEEP_RESULTS": "1h",
        "LEASE": "5s",
        "REDELIVERIES": "7",
        "MAX_PAYLOAD": "2KB",
        "SECRET": "shh",
    }.items():
        monkeypatch.setenv(f"WORKLIST_{name}", value)
    app = Worklist()
    task = app.task(test_nothing_is_opened_before_it_is_needed)
    assert isinstance(app.store, MemoryBroker)
    assert (task.options.results, task.options.keep_results, task.options.redeliveries) == ("failures", 3600, 7)
    assert (app.lease, app.max_payload) == (5, 2048)
    assert app._codec._secret == b"shh"
    mine = Worklist(lease=9, results="none", redeliveries=0)
    assert (mine.lease, mine._defaults.results, mine._defaults.redeliveries) == (9, "none", 0)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_variable_that_means_nothing_is_refused_by_its_name(monkeypatch, setting):
    monkeypatch.setenv(setting.variable, "" if setting.name == "secret" else "-nonsense-")
    with pytest.raises(ConfigError, match=re.escape(f"${setting.variable}")):
        Worklist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("results", "some"),
        ("keep_results", -1),
        ("lease", 0.1),
        ("lease", "2d"),
        ("lease", float("inf")),
        ("redeliveries", -1),
        ("max_payload", 0),
        ("max_payload", "a lot"),
        ("secret", ""),
        ("secret", 5),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_its_name(name, value):
    with pytest.raises(ConfigError, match=name):
        Worklist("memory://", **{name: value})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"concurrency": -1}, "concurrency is -1"),
        ({"children": 0}, "children is 0"),
        ({"queues": ["defualt"]}, "did you mean 'default'"),
        ({"grace": "soon"}, "grace is 'soon'"),
        ({"max_memory": "much"}, "max_memory is 'much'"),
    ],
)
def test_a_worker_option_that_means_nothing_is_refused(app: Worklist, options, complaint):
    app.task(test_nothing_is_opened_before_it_is_needed)
    with pytest.raises(ConfigError, match=complaint):
        app.work(until_empty=True, **options)


def test_an_app_without_tasks_has_no_worker(app: Worklist):
    with pytest.raises(ConfigError, match="no tasks"):
        app.work(until_empty=True)


def test_every_public_name_is_there():
    assert worklist.__all__ == sorted(worklist.__all__)
    for name in worklist.__all__:
        assert getattr(worklist, name)


def test_every_error_has_a_message_of_its_own():
    errors = importlib.import_module("worklist.core.errors")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 20
    for kind in kinds:
        assert str(kind()) == str(kind.__doc__).splitlines()[0] or str(kind())
        assert str(kind("said so")) == "said so"
        assert issubclass(kind, worklist.WorklistError)


def test_an_app_is_closed_and_used_again(tmp_path):
    app = Worklist(f"sqlite:///{tmp_path}/jobs.db")

    @app.task
    def double(x: int) -> int:
        return 2 * x

    with app:
        first = double.enqueue(1)
    with app:
        app.work(until_empty=True)
        assert first.result(timeout=0) == 2
        assert double.enqueue(3).status == "queued"


def test_how_an_app_shows_itself_tells_no_secret():
    assert repr(Worklist("memory://", secret="hunter2")) == "<Worklist on memory with 0 tasks>"
