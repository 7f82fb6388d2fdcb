"""Apps in memory and on a file, and workers in threads of their own."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worklist import JobHandle, Worklist
from worklist.core import keeper
from worklist.core.job import JobRecord
from worklist.core.worker import Worker

PATIENCE = 60.0
"""Seconds after which something that should have happened counts as not having happened."""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "RESULTS", "KEEP_RESULTS", "LEASE", "REDELIVERIES", "MAX_PAYLOAD", "LOGS", "SECRET"):
        monkeypatch.delenv(f"WORKLIST_{name}", raising=False)


@pytest.fixture
def app() -> Iterator[Worklist]:
    app = Worklist("memory://")
    yield app
    app.close()


@pytest.fixture
def file_app(tmp_path: Path) -> Iterator[Worklist]:
    app = Worklist(f"sqlite:///{tmp_path}/jobs.db")
    yield app
    app.close()


@pytest.fixture
def busy_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have cancellations heard of at once."""
    monkeypatch.setattr(keeper, "KEEPER_SECONDS", 0.01)


@pytest.fixture
def run() -> Callable[..., JobRecord]:
    """Return a function that works an app off and returns what is known of one job."""

    def run(app: Worklist, job: JobHandle[Any], **options: Any) -> JobRecord:
        app.work(until_empty=True, **options)
        return known(job)

    return run


def known(job: JobHandle[Any]) -> JobRecord:
    record = job.record()
    assert record is not None, "the job is not known"
    return record


@contextlib.contextmanager
def serving(app: Worklist, **options: Any) -> Iterator[Worker]:
    """Run a worker in a thread of its own."""
    worker = app.make_worker(**options)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop(now=True)
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the worker did not stop"
