"""One process watches what a job in another one says of itself, while it runs."""

import asyncio

import pytest

from worklist import JobState, JobUpdate, Progress

from .conftest import Place, eventually

PATIENCE = 60.0


@pytest.mark.parametrize("task", ["stepwise", "stepwise_in_child"])
def test_progress_and_logs_are_seen_from_another_process_while_the_job_runs(place: Place, task: str) -> None:
    job = getattr(place.tasks, task).enqueue(3, str(place.folder))
    place.worker()
    seen: list[JobUpdate] = []
    for update in job.updates(timeout=PATIENCE):
        seen.append(update)
        if update.progress is not None and update.state is JobState.RUNNING:
            assert job.progress == update.progress, "the job cannot have gone on, since its file is not there"
            (place.folder / f"{update.progress.done:g}").touch()
    assert seen[-1].state is JobState.SUCCEEDED
    told = dict.fromkeys(update.progress for update in seen if update.progress)
    assert list(told) == [Progress(0, 3), Progress(1, 3), Progress(2, 3)]
    lines = [line for update in seen for line in update.lines]
    assert [line.split("Z ")[1] for line in lines] == [f"WARNING stepwise: step {n}" for n in range(3)]
    assert job.logs == tuple(lines)


def test_what_a_killed_worker_last_said_of_its_job_is_there(place: Place) -> None:
    job = place.tasks.stepwise.using(redeliveries=0).enqueue(1, str(place.folder))
    worker = place.worker(lease=1.0)
    eventually(lambda: job.logs)
    worker.kill()
    worker.wait()
    place.worker(lease=1.0)
    assert place.app.wait([job], PATIENCE, "failure").done == {job}
    assert (job.status, job.progress) == ("failed", Progress(0, 1))
    assert "WARNING stepwise: step 0" in job.logs[0]


def test_coroutines_watch_many_jobs_of_other_processes(place: Place) -> None:
    async def states(job) -> list[JobState]:  # type: ignore[no-untyped-def]
        return [update.state async for update in job.updates(timeout=PATIENCE)]

    async def main() -> list[list[JobState]]:
        jobs = [await place.tasks.anap.aenqueue(n, 0.05) for n in range(200)]
        watched = asyncio.gather(*map(states, jobs))
        completed = [job.result(timeout=0) async for job in place.app.as_completed(jobs, timeout=PATIENCE)]
        assert sorted(completed) == list(range(200))
        return list(await watched)

    place.worker()
    place.worker()
    for seen in asyncio.run(main()):
        assert seen[-1] is JobState.SUCCEEDED
        assert set(seen) <= {JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED}
