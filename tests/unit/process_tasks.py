"""Tasks for child processes, which import this module afresh; see test_processes.py."""

import logging
import os
import sys
import time
from pathlib import Path

from worklist import Cancel, Retry, Snooze, Worklist, current_job

app = Worklist(os.environ.get("PROCESS_TASKS_URL", "memory://"))
PATIENCE = 60.0


@app.task(process=True)
def pid() -> int:
    return os.getpid()


@app.task(process=True, retries=1, backoff=[0])
def fail(message: str) -> None:
    raise ValueError(message)


@app.task(process=True, timeout=0.2)
def spin() -> None:
    while True:
        pass


@app.task(process=True)
def sleep_long(started: str) -> None:
    Path(started).touch()
    time.sleep(PATIENCE)  # in C, where no exception reaches it


@app.task(process=True)
def die() -> None:
    os._exit(7)


@app.task(process=True)
def leave() -> None:
    sys.exit(3)


@app.task(process=True)
def ask(what: str) -> str:
    job = current_job()
    job.progress(1, 2, "asked")
    if job.attempt == 1 and what == "retry":
        raise Retry(0)
    if what == "cancel":
        raise Cancel("no")
    if what == "snooze":
        raise Snooze(3600)
    return f"{job.id} {job.attempt}"


@app.task(process=True)
def report_and_wait(go_on: str) -> None:
    current_job().progress(1, 2, "half")
    end = time.monotonic() + PATIENCE
    while not Path(go_on).exists() and time.monotonic() < end:
        time.sleep(0.005)


@app.task(process=True)
def log_and_wait(go_on: str) -> None:
    job = current_job()
    logging.getLogger("tests.child").warning("from the child")
    job.log("first")
    job.progress(1)
    job.progress(2)  # at once after the first, and the last word for long
    job.log("second")
    end = time.monotonic() + PATIENCE
    while not Path(go_on).exists() and time.monotonic() < end:
        time.sleep(0.005)
    job.log("third")


@app.task(process=True)
def open_file() -> object:
    return object()


@app.task(process=True)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(process=True)
def spread(n: int) -> int:
    job = current_job()
    for _ in range(n):
        job.put(pid)
    if n:
        job.group.add(spread, n - 1)
    return n


@app.task
def number(n: int) -> int:
    return n


@app.middleware
def around(job):
    if job.task.endswith("pid"):
        os.environ["AROUND"] = "yes"
    yield
