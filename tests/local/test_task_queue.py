"""TaskQueue: every task runs, join is exact, and it is an executor like those of the standard library."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import pytest

from worklist import TaskQueue

PATIENCE = 30
SRC = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def queue():
    with TaskQueue() as queue:
        yield queue


def held(queue: TaskQueue) -> tuple[threading.Event, threading.Event]:
    """Occupy one thread; return the event that says it has begun, and the one that lets it go on."""
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(PATIENCE)

    queue.add_task(hold)
    assert begun.wait(PATIENCE)
    return begun, go


# -- tasks ------------------------------------------------------------------------------------------------------


def test_arguments_arrive(queue):
    seen = []
    queue.add_task(lambda *args, **kwargs: seen.append((args, kwargs)), 1, 2, function=3)
    queue.join()
    assert seen == [((1, 2), {"function": 3})]


def test_join_of_an_empty_queue_returns(queue):
    queue.join(timeout=PATIENCE)


def test_join_waits_for_every_task_of_every_thread(queue):
    done: list[int] = []

    def add_many(first: int) -> None:
        for number in range(first, first + 2000):
            queue.add_task(done.append, number)

    for round_number in range(1, 6):
        adders = [threading.Thread(target=add_many, args=(n * 2000,)) for n in range(4)]
        for adder in adders:
            adder.start()
        for adder in adders:
            adder.join()
        queue.join()
        assert len(done) == round_number * 8000
    assert sorted(done) == sorted(list(range(8000)) * 5)


def test_join_is_exact_for_single_tasks(queue):
    done: list[int] = []
    for number in range(3000):
        queue.add_task(done.append, number)
        queue.join()
        assert len(done) == number + 1


def test_join_waits_for_what_tasks_add(queue):
    done: list[int] = []

    def tree(depth: int) -> None:
        done.append(depth)
        for _ in range(2 if depth else 0):
            queue.add_task(tree, depth - 1)

    queue.add_task(tree, 9)
    queue.join()
    assert len(done) == 2**10 - 1


def test_a_with_block_waits_for_what_tasks_add():
    together = threading.Barrier(3)
    with TaskQueue(num_workers=3) as queue:
        _, go = held(queue)

        def parent() -> None:
            for _ in range(3):
                queue.add_task(together.wait, PATIENCE)  # needs three threads: closing must leave them all

        queue.add_task(go.wait, PATIENCE)
        queue.add_task(parent)
        threading.Timer(0.05, go.set).start()
    assert together.broken is False
    assert together.n_waiting == 0


def test_tasks_start_in_the_order_in_which_they_were_added():
    done: list[int] = []
    with TaskQueue(num_workers=1) as queue:
        for number in range(5000):
            queue.add_task(done.append, number)
    assert done == list(range(5000))


def test_threads_run_side_by_side():
    together = threading.Barrier(5)
    with TaskQueue(num_workers=5) as queue:
        for _ in range(5):
            queue.add_task(together.wait, PATIENCE)
    assert not together.broken


def test_a_slow_task_holds_nobody_up():
    done = threading.Event()
    with TaskQueue(num_workers=2) as queue:
        _, go = held(queue)
        for _ in range(1000):
            queue.add_task(int)
        queue.add_task(done.set)
        assert done.wait(PATIENCE)
        go.set()


def test_threads_start_when_they_are_needed(queue):
    before = threading.active_count()
    for _ in range(10):
        queue.add_task(int)
        queue.join()
    assert threading.active_count() - before <= 1


def test_a_finished_task_is_not_kept_alive(queue):
    class Thing:
        def task(self) -> None: ...

    gone = threading.Event()
    thing = Thing()
    import weakref

    weakref.finalize(thing, gone.set)
    queue.add_task(thing.task)
    del thing
    queue.join()
    gc.collect()
    assert gone.wait(PATIENCE)


# -- tasks that raise -------------------------------------------------------------------------------------------


def test_a_raising_task_is_logged_and_its_thread_lives(caplog):
    done: list[int] = []
    with caplog.at_level(logging.ERROR, "worklist"), TaskQueue(num_workers=1) as queue:
        queue.add_task(divmod, 1, 0)
        queue.add_task(sys.exit, 3)
        queue.add_task(done.append, 1)
    assert done == [1]
    assert [record.getMessage() for record in caplog.records] == [
        "a task of a TaskQueue raised: divmod",
        "a task of a TaskQueue raised: exit",
    ]
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_on_error_hears_of_it(caplog):
    heard = []
    with TaskQueue(on_error=lambda *told: heard.append(told)) as queue:
        queue.add_task(int, "x", base=10)
    ((error, function, args, kwargs),) = heard
    assert isinstance(error, ValueError)
    assert (function, args, kwargs) == (int, ("x",), {"base": 10})
    assert not caplog.records


def test_an_on_error_that_raises_is_logged(caplog):
    def broken(*_: object) -> None:
        raise LookupError

    done: list[int] = []
    with TaskQueue(num_workers=1, on_error=broken) as queue:
        queue.add_task(int, "x")
        queue.add_task(done.append, 1)
    assert done == [1]
    assert caplog.records[0].exc_info[0] is LookupError


# -- back-pressure ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("add", ["add_task", "submit"])
def test_a_full_queue_makes_its_callers_wait(add):
    done: list[int] = []
    with TaskQueue(num_workers=1, maxsize=2) as queue:
        _, go = held(queue)
        put = getattr(queue, add)
        added = threading.Semaphore(0)

        def add_four() -> None:
            for number in range(4):
                put(done.append, number)
                added.release()

        adder = threading.Thread(target=add_four)
        adder.start()
        assert added.acquire(timeout=PATIENCE)
        assert added.acquire(timeout=PATIENCE)
        assert not added.acquire(timeout=0.05)
        assert queue.qsize() == 2
        go.set()
        adder.join(PATIENCE)
        assert not adder.is_alive()
    assert done == [0, 1, 2, 3]


def test_many_callers_pass_a_small_queue():
    done: list[int] = []
    with TaskQueue(num_workers=3, maxsize=1) as queue:
        adders = [
            threading.Thread(target=lambda: [queue.add_task(done.append, n) for n in range(1000)]) for _ in range(4)
        ]
        for adder in adders:
            adder.start()
        for adder in adders:
            adder.join(PATIENCE)
        queue.join(PATIENCE)
    assert len(done) == 4000


def test_tasks_of_a_full_queue_may_add_tasks():
    done: list[int] = []
    with TaskQueue(num_workers=1, maxsize=1) as queue:
        queue.add_task(lambda: [queue.add_task(done.append, n) for n in range(10)])
        queue.join(PATIENCE)
    assert done == list(range(10))


def test_closing_wakes_who_waits_for_room():
    queue = TaskQueue(num_workers=1, maxsize=1)
    _, go = held(queue)
    queue.add_task(int)
    refused = threading.Event()
    waits = threading.Event()

    def add() -> None:
        waits.set()
        try:
            queue.add_task(int)
        except RuntimeError:
            refused.set()

    adder = threading.Thread(target=add)
    adder.start()
    waits.wait(PATIENCE)
    queue.shutdown(wait=False)
    assert refused.wait(PATIENCE)
    go.set()
    adder.join()
    queue.close()


# -- as an executor ---------------------------------------------------------------------------------------------


def test_submit_gives_results_and_errors(queue):
    assert queue.submit(divmod, 7, 3).result(PATIENCE) == (2, 1)
    assert isinstance(queue.submit(divmod, 7, 0).exception(PATIENCE), ZeroDivisionError)
    assert isinstance(queue, futures.Executor)


def test_map_keeps_order_and_raises(queue):
    assert list(queue.map(pow, range(100), [2] * 100)) == [n * n for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        list(queue.map(divmod, [1, 1], [1, 0]))


def test_map_and_result_time_out():
    with TaskQueue(num_workers=1) as queue:
        _, go = held(queue)
        try:
            with pytest.raises(futures.TimeoutError):
                list(queue.map(int, [1], timeout=0.01))
            with pytest.raises(futures.TimeoutError):
                queue.submit(int).result(timeout=0.01)
        finally:
            go.set()


def test_wait_and_as_completed(queue):
    some = [queue.submit(abs, -n) for n in range(20)]
    assert {future.result() for future in futures.as_completed(some, PATIENCE)} == set(range(20))
    assert not futures.wait(some, PATIENCE).not_done


def test_a_waiting_future_can_be_cancelled_and_a_running_one_cannot():
    with TaskQueue(num_workers=1) as queue:
        running_go = threading.Event()
        begun = threading.Event()
        running = queue.submit(lambda: (begun.set(), running_go.wait(PATIENCE)))
        assert begun.wait(PATIENCE)
        waiting = queue.submit(pytest.fail, "was cancelled")
        assert waiting.cancel()
        assert not running.cancel()
        running_go.set()
    assert waiting.cancelled()
    assert running.result()[1] is True


def test_after_shutdown_nothing_is_taken():
    queue = TaskQueue()
    queue.shutdown()
    queue.shutdown()
    queue.close()
    with pytest.raises(RuntimeError, match="this TaskQueue is closed"):
        queue.submit(int)
    with pytest.raises(RuntimeError, match="this TaskQueue is closed"):
        queue.add_task(int)
    queue.join(PATIENCE)


def test_shutdown_without_wait_lets_the_work_end():
    done = threading.Event()
    queue = TaskQueue(num_workers=1)
    _, go = held(queue)
    queue.add_task(done.set)
    queue.shutdown(wait=False)
    assert not done.is_set()
    go.set()
    assert done.wait(PATIENCE)
    queue.shutdown()
    assert not any(thread.is_alive() for thread in queue._pool.threads)


def test_shutdown_can_cancel(caplog):
    queue = TaskQueue(num_workers=1)
    _, go = held(queue)
    waiting = [queue.submit(pytest.fail, "was cancelled") for _ in range(3)]
    queue.add_task(pytest.fail, "was dropped")
    queue.shutdown(wait=False, cancel_futures=True)
    go.set()
    queue.shutdown()
    assert all(future.cancelled() for future in waiting)
    assert "1 tasks were not run" in caplog.text


def test_the_initializer_runs_once_in_each_thread():
    own = threading.local()
    calls = []

    def prepare(value: int) -> None:
        own.value = value
        calls.append(threading.current_thread().name)

    together = threading.Barrier(3)
    with TaskQueue(num_workers=3, thread_name_prefix="plot", initializer=prepare, initargs=(7,)) as queue:
        values = [queue.submit(lambda: (together.wait(PATIENCE), own.value)) for _ in range(3)]
        assert [value.result()[1] for value in values] == [7, 7, 7]
    assert sorted(calls) == ["plot_0", "plot_1", "plot_2"]


def test_an_initializer_that_raises_breaks_the_queue(caplog):
    heard = []
    ready = threading.Event()

    def prepare() -> None:
        ready.wait(PATIENCE)
        raise OSError("no display")

    with TaskQueue(num_workers=1, initializer=prepare, on_error=lambda *told: heard.append(told)) as queue:
        waiting = queue.submit(int)
        queue.add_task(float, "1")
        ready.set()
        assert isinstance(waiting.exception(PATIENCE), futures.BrokenExecutor)
        queue.join(PATIENCE)
        with pytest.raises(futures.BrokenExecutor, match="initializer"):
            queue.submit(int)
    assert heard[0][1:] == (float, ("1",), {})
    assert "no display" in caplog.text


def test_asyncio_takes_it(queue):
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(queue, pow, n, 2) for n in range(50)])

    assert asyncio.run(main()) == [n * n for n in range(50)]


# -- ends -------------------------------------------------------------------------------------------------------


def run_script(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_interpreter_waits_for_all_work(tmp_path):
    out = tmp_path / "done"
    run_script(f"""
import threading, time
from worklist import TaskQueue
queue = TaskQueue(num_workers=2)
def write(n):
    time.sleep(0.001)
    with open({str(out)!r}, "a") as file:
        file.write(f"{{n}}\\n")
    if n < 100:
        queue.add_task(write, n + 1000)
for n in range(200):
    queue.add_task(write, n)
""")
    assert sorted(map(int, out.read_text().split())) == sorted([*range(200), *range(1000, 1100)])


def test_the_interpreter_ends_when_an_idle_queue_was_left_open():
    assert run_script("from worklist import TaskQueue; q = TaskQueue(); q.add_task(print, 'ran'); q.join()") == "ran\n"


def test_at_the_end_other_threads_are_refused():
    assert "interpreter is exiting" in run_script("""
import threading
from worklist import TaskQueue
queue = TaskQueue()
queue.add_task(int)
def late():
    threading.main_thread().join()
    while True:
        try:
            queue.add_task(int)
        except RuntimeError as error:
            print(error)
            break
threading.Thread(target=late).start()
""")


def test_a_dropped_queue_does_its_work_and_leaves_no_threads():
    done = threading.Event()
    queue = TaskQueue(num_workers=2)
    _, go = held(queue)
    queue.add_task(done.set)
    threads = tuple(queue._pool.threads)
    del queue
    gc.collect()
    go.set()
    assert done.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_join_of_the_own_queue_is_refused(queue):
    error = queue.submit(queue.join).exception(PATIENCE)
    assert isinstance(error, RuntimeError)
    assert "wait for itself" in str(error)


def test_join_times_out(queue):
    _, go = held(queue)
    with pytest.raises(TimeoutError, match="still has work"):
        queue.join(timeout=0.01)
    go.set()
    queue.join(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told():
    assert "made before the fork" in run_script("""
import os, warnings
from worklist import TaskQueue
warnings.simplefilter("ignore")  # of threads and forks
queue = TaskQueue(num_workers=1)
queue.add_task(int)
queue.join()
pid = os.fork()
if pid == 0:
    try:
        queue.add_task(int)
    except RuntimeError as error:
        print(error, flush=True)
    queue.close()
    queue.join()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
queue.submit(int).result()
""")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_workers": 0}, "num_workers=0: a TaskQueue needs at least 1 thread"),
        ({"num_workers": -3}, "num_workers=-3"),
        ({"maxsize": -1}, "maxsize=-1: give the number of tasks that may wait, or 0"),
    ],
)
def test_numbers_that_make_no_sense(options, said):
    with pytest.raises(ValueError, match=said):
        TaskQueue(**options)


def test_hooks_that_are_no_functions():
    with pytest.raises(TypeError, match="on_error has to be a function, not 'log'"):
        TaskQueue(on_error="log")


def test_it_says_what_waits():
    with TaskQueue(num_workers=1) as queue:
        _, go = held(queue)
        queue.add_task(int)
        assert (queue.qsize(), repr(queue)) == (1, "<TaskQueue of 1 threads, 1 tasks wait>")
        go.set()
