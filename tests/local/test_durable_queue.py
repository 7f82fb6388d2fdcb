"""DurableQueue: the verbs of a process queue between programs; nothing is lost with any of them."""

import multiprocessing
import os
import queue
import signal
import threading
import time

import pytest

from worklist import ArgumentError, ConfigError, DurableQueue

PATIENCE = 60.0
spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def make(url):
    made = []

    def make(*args, **options):
        made.append(DurableQueue(url, *args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_first_in_is_first_out(make):
    q = make()
    for item in ("a", 2, {"three": [3]}, None):
        q.put(item)
    assert [q.get() for _ in range(4)] == ["a", 2, {"three": [3]}, None]
    assert q.empty()


def test_items_outlive_the_object_that_put_them(make):
    first = make("mail")
    first.put_many(range(5))
    first.close()
    assert make("mail").get_many(3) == [0, 1, 2]
    assert make("mail").qsize() == 2


def test_names_keep_queues_apart(make):
    make("a").put(1)
    with pytest.raises(queue.Empty):
        make("b").get_nowait()


def test_a_full_queue_refuses_and_waits(make):
    q, other = make(maxsize=3), make(maxsize=3)
    q.put_many([1, 2, 3])
    assert q.full()
    assert other.full()
    with pytest.raises(queue.Full):
        other.put_nowait(4)
    with pytest.raises(queue.Full):
        other.put(4, timeout=0.01)
    waiting = threading.Thread(target=other.put, args=(4,), daemon=True)
    waiting.start()
    assert q.get() == 1
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert q.get_many(10) == [2, 3, 4]
    assert not q.full()


def test_a_put_of_many_says_how_many_had_a_place(make):
    q = make(maxsize=3)
    with pytest.raises(queue.Full) as full:
        q.put_many([1, 2, 3, 4, 5], block=False)
    assert full.value.args == (3,)
    assert q.get_many(10) == [1, 2, 3]


def test_an_empty_queue_refuses_and_waits(make):
    q, other = make(), make()
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.01)
    got = []
    waiting = threading.Thread(target=lambda: got.append(q.get()), daemon=True)
    waiting.start()
    other.put("late")
    waiting.join(PATIENCE)
    assert got == ["late"]


def test_an_item_is_back_in_its_place_where_its_use_fails(make):
    q = make(maxsize=2)
    q.put_many(["first", "second"])
    sizes = []

    def use_badly():
        with q.taking() as item:
            sizes.append((item, q.qsize()))
            raise OSError("no connection")

    with pytest.raises(OSError, match="no connection"):
        use_badly()
    assert sizes == [("first", 2)]
    with q.taking() as item:
        assert item == "first"
    assert q.qsize() == 1
    q.put_nowait("third")
    assert q.get_many() == ["second", "third"]


def test_the_bound_holds_between_many_putters(make, url):
    queues = [make(maxsize=5) for _ in range(4)]
    put = []

    def fill(q):
        for n in range(5):
            try:
                q.put_nowait(n)
            except queue.Full:
                continue
            put.append(n)

    threads = [threading.Thread(target=fill, args=(q,)) for q in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(put) == queues[0].qsize() == 5


def test_join_waits_until_everything_is_gone(make):
    q, other = make(), make()
    q.put("x")
    assert not q.join(timeout=0)
    with other.taking():
        assert not q.join(timeout=0)
    assert q.join(timeout=PATIENCE)


def echo(url: str, count: int) -> None:
    with DurableQueue(url, "in") as source, DurableQueue(url, "out") as sink:
        for _ in range(count):
            with source.taking() as item:
                sink.put(item * 2)


def test_items_go_from_program_to_program(make, url):
    source, sink = make("in"), make("out")
    child = spawn.Process(target=echo, args=(url, 50))
    child.start()
    source.put_many(range(50))
    got = [sink.get(timeout=PATIENCE) for _ in range(50)]
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert got == [2 * n for n in range(50)]


def hold(url: str, ready) -> None:
    q = DurableQueue(url, maxsize=1, lease=1.0)
    with q.taking():
        ready.set()
        threading.Event().wait()


def test_what_a_killed_program_had_taken_comes_back(make, url):
    q = make(maxsize=1, lease=1.0)
    q.put("precious")
    ready = spawn.Event()
    child = spawn.Process(target=hold, args=(url, ready))
    child.start()
    assert ready.wait(PATIENCE)
    with pytest.raises(queue.Full):
        q.put_nowait("another")
    os.kill(child.pid, signal.SIGKILL)
    child.join(PATIENCE)
    assert q.get(timeout=PATIENCE) == "precious"
    q.put_nowait("another")


def test_a_program_that_uses_an_item_for_longer_than_a_lease_keeps_it(make):
    q, other = make(lease=0.5), make(lease=0.5)
    q.put("long")
    begun = time.monotonic()
    with q.taking() as item:
        with pytest.raises(queue.Empty):
            other.get(timeout=1.5)
        assert time.monotonic() - begun > 1.0
    assert item == "long"
    assert q.qsize() == 0


def test_bad_input(make, url):
    with pytest.raises(ConfigError, match="maxsize is -1; expected a whole number, 0 for"):
        make(maxsize=-1)
    with pytest.raises(ConfigError, match="name of the queue is ''"):
        make("")
    q = make()
    with pytest.raises(ArgumentError, match="the item cannot be stored"):
        q.put(object())
    with pytest.raises(ValueError, match="timeout is -1"):
        q.get(timeout=-1)
    q.close()
    with pytest.raises(ValueError, match="is closed in this program"):
        q.put(1)
    with pytest.raises(ValueError, match="is closed in this program"):
        q.get()
