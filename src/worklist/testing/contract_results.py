"""What every store of results promises, said in tests, for the jobs of a broker that keeps none itself.

::

    class TestMyResults(ResultsContract):
        def make_results(self, clock):
            return MyResults("...", clock=clock)
"""

from collections.abc import Iterator

import msgspec
import pytest

from ..core.job import JobRecord, JobState, Progress, new_job_id
from ..core.ports import ResultStore
from .contract_tools import DAY, Waiting, an_error
from .inline import FakeClock


def an_end(state: JobState = JobState.SUCCEEDED, **facts: object) -> JobRecord:
    """Return the record of a job that has ended in another broker."""
    record = JobRecord(
        id=new_job_id(),
        task="pack",
        queue="mail",
        state=state,
        body=b"",
        attempt=1,
        enqueued=1_700_000_000.0,
        started=1_700_000_001.0,
        finished=1_700_000_002.5,
    )
    return msgspec.structs.replace(record, **facts)


class ResultsContract:
    """The promises of a store of results, as tests; `make_results` is the subclass's."""

    def make_results(self, clock: FakeClock) -> ResultStore:
        """Return a new, empty store that tells the time by `clock`."""
        raise NotImplementedError("a subclass of ResultsContract says how its store is made")

    def make_another(self, store: ResultStore, clock: FakeClock) -> ResultStore:
        """Return a second object on the same store, as another process would open it; else the same one."""
        return store

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock of the store under test."""
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> Iterator[ResultStore]:
        """Give the store under test, closed afterwards."""
        store = self.make_results(clock)
        yield store
        store.close()

    def test_what_was_kept_is_there_for_everybody(self, store: ResultStore, clock: FakeClock) -> None:
        kept = an_end(result=b"\xa2ok")
        store.keep([kept], DAY)
        (found,) = self.make_another(store, clock).load([kept.id])
        assert found is not None
        assert (found.state, found.result, found.task, found.queue) == (JobState.SUCCEEDED, b"\xa2ok", "pack", "mail")
        assert (found.enqueued, found.started, found.finished) == (kept.enqueued, kept.started, kept.finished)
        assert (found.attempt, found.lost, found.errors) == (1, 0, ())

    def test_a_failure_is_kept_with_all_that_is_known_of_it(self, store: ResultStore) -> None:
        errors = (an_error(), an_error(2, "no such folder"))
        kept = an_end(
            JobState.FAILED,
            body=b"\x01body",
            attempt=3,
            lost=1,
            priority=4,
            errors=errors,
            progress=Progress(1, 3, "half"),
            logs=("a", "ü\n"),
        )
        store.keep([kept], DAY)
        (found,) = store.load([kept.id])
        assert found is not None
        assert (found.state, found.errors, found.body) == (JobState.FAILED, errors, b"\x01body")
        assert (found.attempt, found.lost, found.priority) == (3, 1, 4)
        assert (found.progress, found.logs) == (Progress(1, 3, "half"), ("a", "ü\n"))

    @pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED])
    def test_every_end_is_kept(self, store: ResultStore, state: JobState) -> None:
        kept = an_end(state)
        store.keep([kept], DAY)
        (found,) = store.load([kept.id])
        assert found is not None
        assert found.state is state

    def test_many_are_kept_and_loaded_at_once(self, store: ResultStore) -> None:
        kept = [an_end(result=bytes((n % 100,))) for n in range(2500)]
        store.keep(kept, DAY)
        found = store.load([it.id for it in kept])
        assert [it and it.result for it in found] == [it.result for it in kept]

    def test_what_was_never_kept_is_unknown(self, store: ResultStore) -> None:
        kept = an_end()
        store.keep([kept], DAY)
        before, found, after = store.load([new_job_id(), kept.id, "nobody"])
        assert found is not None
        assert (before, after) == (None, None)

    def test_nothing_is_kept_of_nothing(self, store: ResultStore) -> None:
        store.keep([], DAY)
        assert store.load([]) == []

    def test_a_record_that_is_kept_again_is_there_once(self, store: ResultStore) -> None:
        kept = an_end(result=b"\x01")
        store.keep([kept], DAY)
        store.keep([kept], DAY)
        (found,) = store.load([kept.id])
        assert found is not None
        assert found.result == b"\x01"

    def test_of_two_attempts_the_later_one_counts_whichever_comes_first(self, store: ResultStore) -> None:
        first, second = (an_end(JobState.FAILED, attempt=n, errors=(an_error(n),)) for n in (1, 2))
        second = msgspec.structs.replace(second, id=first.id)
        other = msgspec.structs.replace(second, id=new_job_id())
        store.keep([first], DAY)
        store.keep([second], DAY)
        store.keep([other], DAY)
        store.keep([msgspec.structs.replace(first, id=other.id), an_end()], DAY)
        assert [it and it.attempt for it in store.load([first.id, other.id])] == [2, 2]

    def test_the_first_record_of_a_success_counts(self, store: ResultStore) -> None:
        first = an_end(result=b"\x01")
        store.keep([first], DAY)
        store.keep([msgspec.structs.replace(first, attempt=2, result=b"\x02")], DAY)
        store.keep([msgspec.structs.replace(first, attempt=3, state=JobState.FAILED, result=None)], DAY)
        (found,) = store.load([first.id])
        assert found is not None
        assert (found.state, found.attempt, found.result) == (JobState.SUCCEEDED, 1, b"\x01")

    def test_a_record_is_forgotten_when_its_time_is_over(self, store: ResultStore, clock: FakeClock) -> None:
        short, long = an_end(), an_end()
        store.keep([short], 10.0)
        store.keep([long], 20.0)
        store.prune(100)
        assert all(store.load([short.id, long.id]))
        clock.advance(10.0)
        store.prune(100)
        gone, there = store.load([short.id, long.id])
        assert gone is None
        assert there is not None

    def test_a_record_that_was_kept_for_longer_anew_stays(self, store: ResultStore, clock: FakeClock) -> None:
        kept = an_end(JobState.FAILED)
        store.keep([kept], 10.0)
        clock.advance(5.0)
        store.keep([msgspec.structs.replace(kept, attempt=2, finished=1_700_000_007.0)], 10.0)
        clock.advance(5.0)
        store.prune(100)
        assert store.load([kept.id]) != [None]

    def test_who_waits_is_woken_by_a_result(self, store: ResultStore, clock: FakeClock) -> None:
        keeper = self.make_another(store, clock)
        kept = an_end()
        waiting = Waiting(lambda seconds: self._until_known(store, kept.id, seconds))
        keeper.keep([kept], DAY)
        assert waiting.ends()

    def _until_known(self, store: ResultStore, id: str, seconds: float) -> None:
        while store.load([id]) == [None]:
            store.wait_change(seconds)

    def test_wait_change_returns_when_its_time_is_over(self, store: ResultStore) -> None:
        store.wait_change(0.01)
        assert Waiting(lambda _: store.wait_change(0.01)).ends()
