"""ProcessQueue: first in, first out, whatever is put, whoever takes it, and whoever is killed meanwhile."""

import contextlib
import multiprocessing
import os
import pickle
import queue as standard
import random
import select
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from worklist import ProcessQueue
from worklist.local import ring, shared
from worklist.local.processes import NotAllPut

from . import children

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
PATIENCE = 60
METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=["mutex", "file"])
def kernel_lock(request, monkeypatch):
    """Each kind of lock that a system may have."""
    if request.param == "file":
        monkeypatch.setattr(shared, "HAS_ROBUST_MUTEX", False)
    elif not shared.HAS_ROBUST_MUTEX:
        pytest.skip("this system has no robust mutexes")


@pytest.fixture
def queue(request):
    if "kernel_lock" in request.fixturenames:
        request.getfixturevalue("kernel_lock")
    queue = ProcessQueue()
    yield queue
    queue.close()


@pytest.fixture
def start():
    """Start child processes; whatever of them still runs is killed in the end."""
    started = []

    def start(target, *args, method="fork"):
        process = multiprocessing.get_context(method).Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join(PATIENCE)
        process.close()


# -- in one process ---------------------------------------------------------------------------------------------


VALUES = [
    0, -1, 2**80, 1.5, True, None, "", "é" * 1000, b"", b"\0" * 100_000, (1, [2, {"three": {4}}]), range(3), Path("x"),
    Counter("abc"), ValueError("no"), ...,
]  # fmt: skip


def same(left: object, right: object) -> bool:
    return type(left) is type(right) and (repr(left) == repr(right))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_any_picklable_value(queue, value):
    queue.put(value)
    queue.put_many([value, [value], value])
    assert same(queue.get(timeout=PATIENCE), value)
    assert all(map(same, queue.get_many(), [value, [value], value]))


def test_first_in_first_out_over_every_way_to_put_and_get(queue):
    random_source = random.Random(5)
    put = taken = 0
    for _ in range(3000):
        if random_source.random() < 0.5:
            count = random_source.choice([1, 1, 2, 50, 300])
            values = list(range(put, put + count))
            queue.put(put) if count == 1 else queue.put_many(values if count != 50 else [[n] for n in values])
            put += count
        elif put > taken:
            limit = random_source.choice([1, 1, 3, 100, 1000])
            got = [queue.get(timeout=0)] if limit == 1 else queue.get_many(limit, timeout=0)
            flat = [n[0] if isinstance(n, list) else n for n in got]
            assert flat == list(range(taken, taken + len(flat)))
            assert len(flat) == min(limit, put - taken)
            taken += len(flat)
        assert queue.qsize() == put - taken


@pytest.mark.parametrize("sizes", [(0, 200), (1000, 90_000), (0, 3_000_000)])
def test_the_memory_wraps_around_and_grows(queue, sizes):
    """The queue swells and shrinks by turns, so that the ring begins anew and grows in every state it can be in."""
    random_source = random.Random(sum(sizes))
    waiting: list[int] = []
    number = 0
    total = 0
    while total < 60_000_000 and number < 20_000:
        swell = (total // 5_000_000) % 2 == 0
        if random_source.random() < (0.7 if swell else 0.3):
            size = random_source.randint(*sizes)
            queue.put(number.to_bytes(4, "big") + bytes([number % 251]) * size)
            waiting.append(size)
            number += 1
            total += size + 16
        elif waiting:
            first = number - len(waiting)
            assert queue.get(timeout=0) == first.to_bytes(4, "big") + bytes([first % 251]) * waiting.pop(0)
    for place, size in enumerate(waiting):
        first = number - len(waiting) + place
        assert queue.get(timeout=0) == first.to_bytes(4, "big") + bytes([first % 251]) * size
    assert queue.empty()


def test_memory_is_used_again(queue):
    for _ in range(100):
        queue.put_many([b"x" * 1000] * 500)
        assert len(queue.get_many(500)) == 500
    assert os.fstat(queue._channel.fds[0]).st_size == ring.SMALLEST


def test_empty_full_and_size():
    queue = ProcessQueue(maxsize=2)
    assert (queue.empty(), queue.full(), queue.qsize()) == (True, False, 0)
    queue.put(1)
    assert (queue.empty(), queue.full(), queue.qsize()) == (False, False, 1)
    queue.put(2)
    assert (queue.empty(), queue.full(), queue.qsize()) == (False, True, 2)
    assert repr(queue) == "<ProcessQueue(maxsize=2), 2 values wait>"
    for put in (lambda: queue.put_nowait(3), lambda: queue.put(3, timeout=0.01), lambda: queue.put(3, False)):
        with pytest.raises(standard.Full, match="2 values wait"):
            put()
    assert queue.get_many() == [1, 2]
    for get in (queue.get_nowait, lambda: queue.get(timeout=0.01), lambda: queue.get_many(3, False)):
        with pytest.raises(standard.Empty):
            get()


def test_put_many_says_how_many_found_room():
    queue = ProcessQueue(maxsize=5)
    with pytest.raises(NotAllPut, match="5 of 8 values were put") as caught:
        queue.put_many(range(8), timeout=0.01)
    assert caught.value.count == pickle.loads(pickle.dumps(caught.value)).count == 5
    assert queue.get_many() == [0, 1, 2, 3, 4]


def test_waiting_costs_no_cpu_and_ends_when_it_should(queue):
    before = time.process_time()
    with pytest.raises(standard.Empty):
        queue.get(timeout=0.5)
    assert time.process_time() - before < 0.25


def test_what_cannot_be_pickled_is_refused_by_put(queue):
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        queue.put(lambda: None)
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        queue.put_many([1, lambda: None])
    assert queue.empty()


def test_what_cannot_be_unpickled_takes_nothing_with_it(queue):
    queue.put_many([[1], [2], children.Refuses(3), [4], children.Refuses(5), [6]])
    queue.put_many([7, 8])
    queue.put(children.Refuses(9))
    queue.put(10)
    assert queue.get_many() == [[1], [2]]
    assert queue.qsize() == 8
    for number, rest in ((3, [[4]]), (5, [[6], 7, 8]), (9, [10])):
        with pytest.raises(LookupError, match=f"no such thing: {number}"):
            queue.get_many()
        assert [queue.get(timeout=0) for _ in rest] == rest
    assert queue.empty()


def test_values_put_together_are_not_tied_together(queue):
    shared = [0]
    queue.put_many([shared, shared])
    first, second = queue.get_many()
    first.append(1)
    assert second == [0]


def test_after_close():
    queue = ProcessQueue()
    queue.close()
    queue.close()
    queue.join_thread()
    calls = [
        lambda: queue.put(1), lambda: queue.put_many([1]), queue.get, queue.get_many, queue.qsize, queue.task_done,
        queue.join, lambda: pickle.dumps(queue),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="this ProcessQueue is closed in this process"):
            call()
    assert "closed" in repr(queue)


def test_close_gives_the_descriptors_back():
    queue = ProcessQueue()
    queue.put(1)
    fds = list(queue._channel.fds)
    queue.close()
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ProcessQueue(-1), "maxsize=-1: give the number of values that may wait, or 0"),
        (lambda: ProcessQueue().get(timeout=-1), "timeout=-1: give the seconds to wait"),
        (lambda: ProcessQueue().get_many(0), "limit=0: get_many.. takes at least 1 value"),
        (lambda: ProcessQueue().task_done(), "only 0 values were taken and not done"),
        (lambda: ProcessQueue().task_done(0), r"task_done\(0\)"),
    ],
)
def test_what_makes_no_sense(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_threads_of_one_process(queue):
    taken: list[int] = []

    def take() -> None:
        while (value := queue.get(timeout=PATIENCE)) is not None:
            taken.append(value)

    takers = [threading.Thread(target=take) for _ in range(3)]
    putters = [
        threading.Thread(target=lambda first=first: [queue.put(first + n) for n in range(2000)])
        for first in range(0, 6000, 2000)
    ]
    for thread in (*takers, *putters):
        thread.start()
    for thread in putters:
        thread.join(PATIENCE)
    for _ in takers:
        queue.put(None)
    for thread in takers:
        thread.join(PATIENCE)
    assert sorted(taken) == list(range(6000))


def test_task_done_and_join(queue):
    queue.join(timeout=PATIENCE)
    queue.put_many(range(3))
    with pytest.raises(TimeoutError, match="unfinished values"):
        queue.join(timeout=0.01)
    queue.get_many(2)
    queue.task_done(2)
    joined = threading.Event()
    waiter = threading.Thread(target=lambda: (queue.join(), joined.set()))
    waiter.start()
    assert not joined.wait(0.05)
    queue.get()
    queue.task_done()
    assert joined.wait(PATIENCE)
    waiter.join()


# -- between processes ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kernel_lock")
@pytest.mark.parametrize("method", METHODS)
def test_children_are_given_it(queue, start, method):
    back = ProcessQueue(maxsize=10)
    child = start(children.echo, queue, back, method=method)
    values = [1, "two", b"3" * 5000, [4, {5: 6}]]
    queue.put_many([*values, None])
    assert [back.get(timeout=PATIENCE) for _ in values] == values
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert back.empty()


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_is_given_it_as_an_argument(queue, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        pool.apply(children.put_numbers, (queue, "a", 3))
    assert queue.get_many() == [("a", 0), ("a", 1), ("a", 2)]


@pytest.mark.usefixtures("kernel_lock")
def test_a_process_that_is_given_it_twice_has_it_once(queue):
    again = pickle.loads(pickle.dumps(queue))
    queue.put(1)
    again.put(2)
    assert [again.get(timeout=0), queue.get(timeout=0)] == [1, 2]
    assert again._channel is queue._channel
    assert again._maxsize == queue._maxsize


@pytest.mark.usefixtures("kernel_lock")
@pytest.mark.parametrize("putter", [children.put_numbers, children.put_batches])
def test_many_putters_and_many_takers(queue, start, putter):
    results = ProcessQueue()
    takers = [start(children.get_until_none, queue, results) for _ in range(3)]
    putters = [start(putter, queue, name, 2000) for name in "abc"]
    for process in putters:
        process.join(PATIENCE)
    queue.put_many([None] * 3)
    taken = [results.get(timeout=PATIENCE) for _ in takers]
    queue.join(timeout=PATIENCE)
    assert Counter(value for some in taken for value in some) == Counter(
        (name, n) for name in "abc" for n in range(2000)
    )
    for some in taken:  # what one taker took of one putter is in order
        for name in "abc":
            numbers = [number for who, number in some if who == name]
            assert numbers == sorted(numbers)


@pytest.mark.usefixtures("kernel_lock")
@pytest.mark.parametrize("putter", [children.put_numbers, children.put_batches])
@pytest.mark.parametrize("maxsize", [1, 3, 100])
def test_a_full_queue_makes_putters_wait(start, putter, maxsize):
    queue = ProcessQueue(maxsize)
    start(putter, queue, "a", 500)
    for number in range(500):
        assert queue.qsize() <= maxsize
        assert queue.get(timeout=PATIENCE) == ("a", number)


def test_without_waiting_between_processes(queue, start):
    small = ProcessQueue(maxsize=1)
    for verb, args, expected in (
        ("get_nowait", (), "Empty"), ("put_nowait", (1,), None), ("put_nowait", (2,), "Full"), ("get_nowait", (), 1),
    ):  # fmt: skip
        start(children.outcome, small, verb, queue, *args).join(PATIENCE)
        assert queue.get(timeout=PATIENCE) == expected


def test_a_value_is_there_when_its_putter_has_ended(queue, start):
    child = start(children.put_numbers, queue, "a", 1000)
    child.join(PATIENCE)
    assert queue.qsize() == 1000


@pytest.mark.usefixtures("kernel_lock")
def test_a_stopped_process_does_not_outlast_timeouts(queue, start):
    """A process that is stopped in the middle of a put may hold the lock: others time out, and go on when it does."""
    child = start(children.put_for_ever, queue, 1, 0)
    queue.get(timeout=PATIENCE)
    for _ in range(20):
        os.kill(child.pid, signal.SIGSTOP)
        before = time.monotonic()
        with contextlib.suppress(standard.Full):
            queue.put(("me", 0, b""), timeout=0.01)
        assert time.monotonic() - before < 10
        os.kill(child.pid, signal.SIGCONT)
        queue.get(timeout=PATIENCE)


# -- deaths -----------------------------------------------------------------------------------------------------

DEATHS = {
    "put": lambda queue: queue.put([1]),
    "put that grows": lambda queue: queue.put(b"x" * 2 * ring.SMALLEST),
    "put_many": lambda queue: queue.put_many([1, 2, 3]),
    "get": lambda queue: queue.get(timeout=0),
    "get of a part": lambda queue: queue.get_many(2, timeout=0),
    "get_many": lambda queue: queue.get_many(100, timeout=0),
    "get of nothing": lambda queue: [queue.get_many(100, timeout=0), queue.get(timeout=PATIENCE)],
    "task_done": lambda queue: [queue.get(), queue.task_done()],
}


@pytest.mark.usefixtures("kernel_lock")
@pytest.mark.parametrize("death", DEATHS)
def test_death_at_every_line(death):
    """A child dies at each line of a call in turn; it leaves the queue as before the call or as after it."""
    queue = ProcessQueue()
    call = DEATHS[death]
    line = 0
    while line < 400:
        queue.put("a")
        queue.put_many(["b", "c", "d"])
        queue.put("e")
        if death == "get of nothing" and line > 150:  # it sleeps from here on, so it never ends by itself
            break
        went_on = children.die_at_line(line, lambda: call(queue))
        queue.put("last", timeout=PATIENCE)
        left = []
        while not left or left[-1] != "last":
            left += queue.get_many(random.choice([1, 2, 100]), timeout=PATIENCE)
        assert left in _possible(death), (line, left)
        assert queue.empty()
        queue.task_done(queue._channel._words[ring.GOT] - queue._channel._words[ring.DONE])
        queue.join(timeout=PATIENCE)
        if not went_on:
            break
        line += 1
    assert line > 20, "the call has hardly any lines: the test tests nothing"


def _possible(death: str) -> list[list[object]]:
    before: list[object] = ["a", "b", "c", "d", "e", "last"]
    grown = b"x" * 2 * ring.SMALLEST
    after = {
        "put": [*before[:5], [1], "last"],
        "put that grows": [*before[:5], grown, "last"],
        "put_many": [*before[:5], 1, 2, 3, "last"],
        "get": before[1:],
        "get of a part": before[2:],
        "get_many": ["last"],
        "get of nothing": ["last"],
        "task_done": before[1:],
    }
    return [before, after[death]]


@pytest.mark.usefixtures("kernel_lock")
def test_death_of_a_sleeper_wakes_or_bothers_nobody(queue, start):
    for _ in range(10):
        sleepers = [start(children.get_for_ever, queue, os.devnull) for _ in range(2)]
        queue.put(1)
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.join(PATIENCE)
        while not queue.empty():
            queue.get(timeout=PATIENCE)
        queue.put("alive")
        assert queue.get(timeout=PATIENCE) == "alive"


@pytest.mark.usefixtures("kernel_lock")
@pytest.mark.parametrize("maxsize", [5, 2000], ids=["small", "grows"])
def test_putters_are_killed_at_random(start, maxsize):
    """Forty deaths in the middle of puts: what arrives is whole, in order, and the living are never held up."""
    queue = ProcessQueue(maxsize)
    random_source = random.Random(maxsize)
    living = {}
    expected: Counter[int] = Counter()
    for name in range(40):
        living[name] = start(children.put_for_ever, queue, name, 3000)
        while name not in expected:
            _take_some(queue, expected, 1)
        if len(living) == 3:
            _take_some(queue, expected, random_source.randrange(50, 400))
            victim = random_source.choice(sorted(living))
            process = living.pop(victim)
            process.kill()
            process.join(PATIENCE)
    for process in living.values():
        process.kill()
        process.join(PATIENCE)
    _take_some(queue, expected, queue.qsize())
    assert queue.empty()
    assert len(expected) == 40
    queue.put("alive", timeout=PATIENCE)
    assert queue.get(timeout=PATIENCE) == "alive"


def _take_some(queue: ProcessQueue, expected: Counter, count: int) -> None:
    for _ in range(count):
        name, number, padding = queue.get(timeout=PATIENCE)
        assert number == expected[name]
        assert padding == b"x" * (number % 3001)
        expected[name] += 1


@pytest.mark.usefixtures("kernel_lock")
@pytest.mark.parametrize("batches", [False, True])
def test_takers_are_killed_at_random(queue, start, tmp_path, batches):
    """Thirty deaths in the middle of gets: each costs at most the value that was in the victim's hands."""
    log = tmp_path / "taken"
    log.touch()
    living = [start(children.get_for_ever, queue, str(log)) for _ in range(2)]
    put = kills = 0
    while kills < 30:
        seen = log.stat().st_size
        if batches:
            queue.put_many(range(put, put + 200))
        else:
            for number in range(put, put + 200):
                queue.put(number)
        put += 200
        _until(lambda seen=seen: log.stat().st_size > seen + 100)
        victim = living.pop(0)
        victim.kill()
        victim.join(PATIENCE)
        kills += 1
        living.append(start(children.get_for_ever, queue, str(log)))
    _until(queue.empty)
    for process in living:
        process.kill()
        process.join(PATIENCE)
    taken = [int(line) for line in log.read_text().split()]
    assert len(taken) == len(set(taken)), "a value was taken twice"
    assert 0 <= put - len(taken) <= kills + len(living)


def _until(reached) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        select.select([], [], [], 0.001)


def test_a_killed_owner_leaves_the_queue_to_others(start):
    """The process that made the queue dies; two children go on with it. Nothing is left behind by any of them."""
    results = ProcessQueue()
    start(make_and_die, results).join(PATIENCE)
    assert results.get(timeout=PATIENCE) == list(range(100))


def make_and_die(results) -> None:
    queue = ProcessQueue()
    context = multiprocessing.get_context("fork")
    context.Process(target=pass_on, args=(queue, results)).start()
    queue.put_many([*range(100), None])
    os.kill(os.getpid(), signal.SIGKILL)


def pass_on(queue, results) -> None:
    taken = []
    while (value := queue.get(timeout=PATIENCE)) is not None:
        taken.append(value)
    results.put(taken)
