"""Connections to Redis that are held: no command ever hears the answer of another one."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from worklist.brokers.redis.connections import Connections

from ..servers.redis import needs_redis, shared

pytestmark = needs_redis


@pytest.fixture
def connections() -> Iterator[Connections]:
    client = redis.Redis(port=shared().port, socket_timeout=1.0)
    connections = Connections(client)
    yield connections
    connections.close()
    client.close()


def test_one_connection_serves_one_command_after_another(connections: Connections) -> None:
    assert len({connections.ask("CLIENT", "ID") for _ in range(5)}) == 1


def test_threads_have_as_many_as_ask_at_once(connections: Connections) -> None:
    meet = threading.Barrier(4)
    found: list[Any] = []

    def ask() -> None:
        meet.wait(10)
        connections.ask("BLPOP", "nothing-there", "0.2")
        found.append(connections.ask("CLIENT", "ID"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4
    ids = set(found)
    assert {connections.ask("CLIENT", "ID") for _ in range(5)} <= ids, "they are used again"


def test_a_refusal_is_an_answer(connections: Connections) -> None:
    before = connections.ask("CLIENT", "ID")
    with pytest.raises(redis.ResponseError):
        connections.ask("NO-SUCH-COMMAND")
    assert connections.ask("CLIENT", "ID") == before


def test_a_connection_whose_answer_did_not_come_in_time_is_dropped(connections: Connections) -> None:
    before = connections.ask("CLIENT", "ID")
    with pytest.raises(redis.TimeoutError):
        connections.ask("BLPOP", "nothing-there", "1.2")
    assert connections.ask("ECHO", "mine") == b"mine"
    assert connections.ask("CLIENT", "ID") != before


class Interruption(BaseException):
    """What a signal handler raises."""


def test_a_connection_is_dropped_where_the_wait_for_its_answer_is_interrupted(connections: Connections) -> None:
    def interrupt(*_: object) -> None:
        raise Interruption

    before = connections.ask("CLIENT", "ID")
    with at_a_signal(interrupt), pytest.raises(Interruption):
        connections.ask("BLPOP", "nothing-there", "0.8")
    assert connections.ask("ECHO", "mine") == b"mine"
    assert connections.ask("CLIENT", "ID") != before


def test_a_signal_handler_may_ask_while_the_same_thread_waits_for_an_answer(connections: Connections) -> None:
    heard: list[Any] = []
    with at_a_signal(lambda *_: heard.append(connections.ask("ECHO", "the handler's"))):
        assert connections.ask("BLPOP", "nothing-there", "0.5") is None
    assert heard == [b"the handler's"]


@contextlib.contextmanager
def at_a_signal(handler: Callable[..., Any]) -> Iterator[None]:
    """Call `handler` in a moment, in the midst of what this thread does."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_connection_that_the_server_closed_is_made_anew(connections: Connections) -> None:
    before = connections.ask("CLIENT", "ID")
    admin = shared().client
    admin.client_kill_filter(_id=before)
    admin.close()
    with pytest.raises(redis.ConnectionError):
        connections.ask("PING")
    assert connections.ask("CLIENT", "ID") != before


def test_where_one_connection_is_broken_the_others_are_not_tried(connections: Connections) -> None:
    with at_a_signal(lambda *_: connections.ask("PING")):
        connections.ask("BLPOP", "nothing-there", "0.5")  # now there are two
    admin = shared().client
    for it in admin.client_list():
        if it["addr"] != admin.client_info()["addr"]:
            admin.client_kill_filter(_id=it["id"])
    admin.close()
    with pytest.raises(redis.ConnectionError):
        connections.ask("PING")
    assert connections.ask("PING") == b"PONG"


def test_a_connection_to_who_is_the_master_no_more_is_not_used_again(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = connections.ask("CLIENT", "ID")
    monkeypatch.setattr(connections._pool, "owns_connection", lambda connection: False)
    assert connections.ask("CLIENT", "ID") != before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forks_child_has_connections_of_its_own(connections: Connections) -> None:
    before = connections.ask("CLIENT", "ID")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(connections.ask("CLIENT", "ID")).encode())
            connections.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    of_the_child = os.read(read, 100)
    os.close(read)
    os.close(write)
    assert of_the_child.isdigit()
    assert int(of_the_child) != before
    assert connections.ask("CLIENT", "ID") == before, "the parent's goes on"


def test_what_is_in_use_when_all_are_closed_still_brings_its_answer(connections: Connections) -> None:
    answers: list[Any] = []
    waits = threading.Thread(target=lambda: answers.append(connections.ask("BLPOP", "in-use", "0.9")))
    client = shared().client
    waits.start()
    end = time.monotonic() + 10
    while not any(it["cmd"] == "blpop" for it in client.client_list()) and time.monotonic() < end:
        time.sleep(0.001)
    connections.close()
    client.lpush("in-use", "told")
    waits.join(10)
    client.close()
    assert answers == [[b"in-use", b"told"]]
