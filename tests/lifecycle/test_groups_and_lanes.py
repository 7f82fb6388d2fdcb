"""Groups and lanes among several worker processes, some of which die at any moment."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worklist import chord
from worklist.core.job import JobState
from worklist.core.ports import Filter

from .conftest import Place, eventually

TASKS = """
CEILING, RATE, BURST = 5, 50.0, 5

def event(what, n):
    os.write(LOG, f"{time.time()} {os.getpid()} {what} {n}\\n".encode())

@app.task
def member(n: int) -> int:
    event("member", n)
    time.sleep(0.002)
    return n

@app.task
def gather(numbers: list[int]) -> list[int]:
    event("gather", len(numbers))
    return [len(numbers), sum(numbers)]

@app.task
def grow(n: int) -> int:
    for _ in range(2 if n else 0):
        current_job().group.add(grow, n - 1)
    event("grow", n)
    return 1

@app.task(concurrency=CEILING)
def careful(n: int) -> None:
    event("start", n)
    time.sleep(0.02)
    event("end", n)

@app.task(rate=RATE, burst=BURST)
def rated(n: int) -> None:
    event("start", n)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, monkeypatch, TASKS)
    yield place
    place.end()


@pytest.fixture
def log(place: Place) -> "Log":
    return Log(place.runs_file)


class Log:
    """What the tasks have noted, one line for each event: a time, a process, what happened."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self) -> list[tuple[float, int, str, int]]:
        """Return the events in their order: when, in which process, what, of which job."""
        text = self._path.read_text() if self._path.exists() else ""
        lines = [it for it in map(str.split, text.splitlines()) if len(it) == 4]
        return sorted((float(at), int(pid), what, int(n)) for at, pid, what, n in lines)

    def count(self, what: str) -> int:
        return sum(it == what for _, _, it, _ in self.events())


def most_at_once(events: list[tuple[float, int, str, int]], deaths: dict[int, float]) -> int:
    """Return how many runs overlapped at most; those of a killed process ended, at the latest, when it was dead."""
    changes: list[tuple[float, int]] = []
    under_way: dict[tuple[int, int], float] = {}
    for at, pid, what, n in events:
        if what == "start":
            under_way[pid, n] = at
        elif what == "end" and (pid, n) in under_way:
            changes += [(under_way.pop((pid, n)), 1), (at, -1)]
    for (pid, _), at in under_way.items():
        changes += [(at, 1), (deaths[pid], -1)] if pid in deaths else [(at, 1)]
    most = running = 0
    for _, by in sorted(changes):
        running += by
        most = max(most, running)
    return most


class Killer:
    """Kills workers and starts others in their place; knows when each was dead."""

    def __init__(self, place: Place, workers: int, **options: object) -> None:
        self._place = place
        self._options = options
        self.deaths: dict[int, float] = {}
        self.workers = [place.worker(**options) for _ in range(workers)]  # type: ignore[arg-type]

    def at_work(self, log: Log) -> int | None:
        """Return which of the living workers has noted something last."""
        living = {worker.pid for worker in self.workers}
        return next((pid for _, pid, _, _ in reversed(log.events()) if pid in living), None)

    def kill_one(self, pid: int | None = None) -> None:
        """Kill a worker at random, or the one with this process id."""
        victim = next((it for it in self.workers if it.pid == pid), None) or random.choice(self.workers)
        self.workers.remove(victim)
        victim.kill()
        victim.wait()
        self.deaths[victim.pid] = time.time()
        self.workers.append(self._place.worker(**self._options))  # type: ignore[arg-type]


def goals(total: int, kills: int) -> Iterator[int]:
    """Return after how many runs to kill, at random but spread over the whole."""
    step = total // (kills + 1)
    return (step * n + random.randrange(step) for n in range(kills))


def test_a_chord_survives_the_death_of_its_workers(place: Place, log: Log) -> None:
    members = 3000
    tasks = place.tasks
    result = chord((tasks.member.s(n) for n in range(members)), tasks.gather.s()).enqueue()
    killer = Killer(place, 2, threads=4)
    for goal in goals(members, 5):
        eventually(lambda goal=goal: log.count("member") > goal)
        killer.kill_one()
    assert result.result(timeout=90) == [members, sum(range(members))]
    assert {n for _, _, what, n in log.events() if what == "member"} == set(range(members))
    assert_ran_once(place, log)


def test_a_group_that_grows_survives_the_death_of_its_workers(place: Place, log: Log) -> None:
    tasks = place.tasks
    result = chord([tasks.grow.s(10)], tasks.gather.s()).enqueue()
    jobs = 2**11 - 1
    killer = Killer(place, 2, threads=4)
    for goal in goals(jobs, 4):
        eventually(lambda goal=goal: log.count("grow") > goal)
        killer.kill_one()
    assert result.result(timeout=90)[0] == jobs  # no member was lost with its worker, and none was put twice
    assert_ran_once(place, log)


def assert_ran_once(place: Place, log: Log) -> None:
    """Check that there was one callback, and that it ran again only if its worker was killed."""
    (callback,) = place.app.inspector.find(Filter(task=place.tasks.gather.name))
    assert (callback.state, callback.attempt) == (JobState.SUCCEEDED, callback.lost + 1)
    assert 1 <= log.count("gather") <= callback.attempt


def test_a_ceiling_holds_over_processes_and_their_deaths(place: Place, log: Log) -> None:
    tasks = place.tasks
    jobs = 400
    tasks.careful.enqueue_many([(n,) for n in range(jobs)])
    killer = Killer(place, 3, threads=4, lease=3.0)  # so long that no busy machine makes one lapse that is alive
    for goal in goals(jobs, 3):
        eventually(lambda goal=goal: log.count("start") > goal)
        eventually(lambda: killer.at_work(log) is not None)
        killer.kill_one(killer.at_work(log))
    eventually(lambda: place.counts().get("succeeded", 0) == jobs)
    events = log.events()
    assert {n for _, _, what, n in events if what == "end"} == set(range(jobs))
    assert 2 <= most_at_once(events, killer.deaths) <= tasks.CEILING
    assert len({pid for _, pid, _, _ in events}) >= 4, "too few processes had a part in it"
    (lane,) = place.app.lanes()
    assert (lane.running, lane.queued) == (0, 0)


def test_a_rate_holds_over_processes(place: Place, log: Log) -> None:
    tasks = place.tasks
    rate, burst = tasks.RATE, tasks.BURST
    tasks.rated.enqueue_many([(n,) for n in range(2000)])
    for _ in range(4):
        place.worker(threads=2, lease=30.0)
    eventually(lambda: log.count("start") >= 4 * rate)
    ended = place.app.inspector.find(Filter(state=JobState.SUCCEEDED, limit=10_000))
    leases = sorted(it.started for it in ended if it.started is not None)
    assert len(leases) >= 3 * rate
    for first, begin in enumerate(leases):
        for last in range(first, len(leases)):
            assert last - first + 1 <= burst + (leases[last] - begin) * rate + 1e-3
    assert leases[-1] - leases[0] <= 10 * len(leases) / rate, "they ran far slower than they may"
    assert len({pid for _, pid, what, _ in log.events() if what == "start"}) >= 2


def test_a_paused_lane_stops_every_process(place: Place, log: Log) -> None:
    tasks = place.tasks
    tasks.careful.enqueue_many([(n,) for n in range(1000)])
    for _ in range(2):
        place.worker(threads=4)
    eventually(lambda: log.count("end") > 20)
    lane = place.app.lane(tasks.careful.name)
    lane.pause()
    eventually(lambda: lane.running == 0)
    begun = log.count("start")
    other = tasks.touch.enqueue(1)
    assert other.result(timeout=60) == 1
    assert log.count("start") == begun
    lane.resume()
    eventually(lambda: log.count("end") > begun + 20)
