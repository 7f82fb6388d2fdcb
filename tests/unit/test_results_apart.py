"""Results kept apart from the broker, and RabbitMQ's URLs: what is refused, and with what words."""

import socket
import sys
import threading
from typing import Any

import pytest
from pamqp import commands, frame

from tests.servers.mongodb import Mongod, locked_mongod  # noqa: F401 - a fixture
from tests.servers.ports import free_port
from worklist import ConfigError, Worklist, chain
from worklist.core.errors import BrokerError, BrokerUnavailable


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"url": "memory://", "results": "redis://h"}, "memory:// keeps results itself"),
        ({"url": "sqlite:///a.db", "results": "rpc"}, "results is 'rpc', but sqlite:// keeps results itself"),
        ({"url": "amqp://h", "results": "amqp://h"}, "there is no store of results for amqp://"),
        ({"url": "amqp://h", "results": "mongdb://h"}, r"did you mean 'mongodb'\?"),
        ({"url": "amqp://h", "results": "mongodb://"}, "expected mongodb://USER:PASSWORD@HOST:PORT/DATABASE"),
        ({"url": "amqp://h", "results": "falures"}, "did you mean 'failures'.*, or a place for results .*, or 'rpc'"),
        ({"url": "amqp://h", "results": "none", "keep": "failures"}, "results is 'none' and keep is 'failures'"),
        ({"url": "amqp://h", "keep": "everything"}, "keep is 'everything'"),
        ({"url": "mongodb://h"}, "there is no broker for mongodb://"),
        ({"url": "amqp://"}, "expected amqp://USER:PASSWORD@HOST:PORT/VHOST"),
        ({"url": "amqp:h"}, "expected amqp://USER:PASSWORD@HOST:PORT/VHOST"),
        ({"url": "amqp://me:geheim@/v"}, r"'amqp://me:\*\*\*@/v'; expected amqp://"),
        ({"url": "amqp://h?prefix=a:b"}, "without a colon"),
    ],
)
def test_what_means_nothing_is_refused_when_the_app_is_made(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as raised:
        Worklist(**settings)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("amqp://h?queue_type=quorun", "did you mean 'quorum'"),
        ("amqp://h?hearbeat=3", "no option 'hearbeat'"),
        ("amqp://h?cafile=a.pem", "cafile is for amqps://"),
        ("amqps://h?cafile=/nowhere.pem", "cafile is '/nowhere.pem', which cannot be read"),
        ("amqp://h:70000", "the port from 1 to 65535"),
    ],
)
def test_an_option_that_means_nothing_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Worklist(url).store  # noqa: B018 - it opens


def test_a_store_and_what_is_kept_in_it_are_named_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Worklist("amqp://h", results="redis://h", keep="failures")
    assert (app.place.results and app.place.results.scheme, app.task(print_it).options.results) == ("redis", "failures")
    assert Worklist("amqp://h", results="failures").place.results is None
    assert Worklist("amqp://h", keep="failures").task(print_it).options.results == "failures"
    monkeypatch.setenv("WORKLIST_RESULTS", "sqlite:///r.db")
    monkeypatch.setenv("WORKLIST_KEEP", "none")
    app = Worklist("amqp://h")
    assert (app.place.results and app.place.results.scheme, app.task(print_it).options.results) == ("sqlite", "none")


def print_it() -> None:
    """Be a task."""


@pytest.mark.parametrize(
    "options",
    [{"key": True}, {"lane": "l"}, {"rate": "1/s"}, {"concurrency": 1}, {"every": "1h"}],
    ids=lambda options: next(iter(options)),
)
def test_a_task_that_asks_for_what_rabbitmq_cannot_do_is_refused_when_it_is_declared(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="this broker cannot do .*use a"):
        Worklist("amqp://h").task(**options)(print_it)


@pytest.mark.parametrize("results", ["mongodb://h/db", "rpc", "memory://"])
def test_a_place_for_results_that_is_no_broker_of_others_is_no_ledger(results: str) -> None:
    app = Worklist("amqp://h", results=results)
    with pytest.raises(
        ConfigError, match="'keyed': .* cannot do key, .*; use a SQL or Redis URL.* on RabbitMQ as results="
    ):
        app.task(name="keyed", key=True)(print_it)
    with pytest.raises(ConfigError, match="cannot do schedule, .*; use a SQL or Redis URL.* on RabbitMQ as results="):
        app.task(every="1h")(print_it)


@pytest.mark.parametrize("results", ["postgresql://h/db", "redis://h", "sqlite:///r.db"])
@pytest.mark.parametrize(
    "options",
    [{"key": True}, {"lane": "l"}, {"rate": "1/s"}, {"concurrency": 1}, {"every": "1h"}],
    ids=lambda options: next(iter(options)),
)
def test_with_a_ledger_such_tasks_are_declared(results: str, options: dict[str, Any]) -> None:
    app = Worklist("amqp://h", results=results)
    app.task(**options)(print_it)
    assert app.capabilities.transaction == results.startswith("postgresql")
    assert not app.capabilities.complete


def test_workflows_and_lists_are_refused() -> None:
    app = Worklist("amqp://127.0.0.1:1?timeout=1")
    task = app.task(print_it)
    with pytest.raises(ConfigError, match="part of a workflow or a group"):
        chain(task.si(), task.si()).enqueue()
    with pytest.raises(ConfigError, match="RabbitMQ cannot hold groups of jobs; use a"):
        app.group().__enter__()
    for call in (app.inspector.counts, app.inspector.workers, app.lanes):
        with pytest.raises(ConfigError, match="RabbitMQ cannot .*; use a"):
            call()


@pytest.mark.parametrize(
    ("url", "results", "package", "extra"),
    [("amqp://h", "rpc", "pamqp", "rabbitmq"), ("amqp://h", "mongodb://h", "pymongo", "mongodb")],
)
def test_a_missing_driver_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, results: str, package: str, extra: str
) -> None:
    for module in [*sys.modules]:
        if module.startswith(("worklist.brokers.rabbitmq.", "worklist.results.")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'needs the package {package}.*pip install "worklist\[{extra}\]"'):
        Worklist(url, results=results).store  # noqa: B018 - it opens


def test_a_server_that_is_too_old_says_which_is_needed() -> None:
    about = commands.Connection.Start(server_properties={"version": "3.8.14"}, mechanisms="PLAIN", locales="en_US")
    with socket.create_server(("127.0.0.1", 0)) as old:

        def greet() -> None:
            client, _ = old.accept()
            with client:
                client.sendall(frame.marshal(about, 0))
                client.recv(100)

        greeting = threading.Thread(target=greet)
        greeting.start()
        app = Worklist(f"amqp://127.0.0.1:{old.getsockname()[1]}")
        with pytest.raises(BrokerError, match=r"is version 3\.8\.14; 3\.10 or newer is needed"):
            app.task(print_it).enqueue()
        greeting.join()


def test_mongodb_says_in_one_sentence_what_is_wrong(locked_mongod: tuple[Mongod, str]) -> None:  # noqa: F811
    server, password = locked_mongod
    place = f"127.0.0.1:{server.port}/shop?authSource=admin"
    good = Worklist("amqp://h", results=f"mongodb://me:{password}@{place}").store
    assert good._results.load(["a"]) == [None]  # type: ignore[attr-defined]
    bad = Worklist("amqp://h", results=f"mongodb://me:geheim@{place}").store
    with pytest.raises(BrokerError, match=r"mongodb://me:\*\*\*@127.*refuses the login") as raised:
        bad._results.load(["a"])  # type: ignore[attr-defined]
    assert "geheim" not in str(raised.value)
    nobody = Worklist("amqp://h", results=f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200").store
    with pytest.raises(BrokerUnavailable, match="cannot be reached: .*refused"):
        nobody._results.load(["a"])  # type: ignore[attr-defined]
    for store in (good, bad, nobody):
        store.close()
