"""Signed jobs: what was altered, or put without the secret, is refused by the worker and kept."""

import sqlite3

import pytest

from worklist import Worklist
from worklist.core.codec import Codec
from worklist.core.errors import UndecodableJob
from worklist.core.job import Job, new_job_id

from .conftest import known


@pytest.fixture
def apps(tmp_path):
    """Return a maker of apps on one file, by their secret."""
    made = []

    def make(secret):
        app = Worklist(f"sqlite:///{tmp_path}/jobs.db", secret=secret)
        app.task(name="task")(lambda: "ran")
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def test_a_signed_job_runs_where_the_secret_is_known(apps):
    job = apps("s").tasks["task"].enqueue()
    worker = apps("s")
    worker.work(until_empty=True)
    assert worker.job(job.id).result(timeout=0) == "ran"


@pytest.mark.parametrize(
    ("putter", "worker", "complaint"),
    [
        (None, "s", "not signed with this app's secret"),
        ("other", "s", "not signed with this app's secret"),
        ("s", None, "it is signed: this app needs the secret"),
    ],
)
def test_a_job_of_another_secret_is_refused_and_kept(apps, putter, worker, complaint):
    job = apps(putter).tasks["task"].enqueue()
    body = known(job).body
    apps(worker).work(until_empty=True)
    record = known(job)
    assert (record.state, record.errors[0].type, record.body) == ("failed", "UndecodableJob", body)
    assert complaint in record.errors[0].message


def test_an_altered_job_is_refused_and_kept(apps, tmp_path):
    app = apps("s")
    bad, good = app.tasks["task"].enqueue_many([(), ()])
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        db.execute("UPDATE jobs SET body = CAST(body || x'00' AS BLOB) WHERE id = ?", (bad.id,))
    db.close()
    app.work(until_empty=True)
    assert (known(bad).state, good.status) == ("failed", "succeeded")
    assert "altered" in known(bad).errors[0].message


@pytest.mark.parametrize("place", [0, 1, 10, 33, 40, -1])
def test_no_bit_of_a_signed_job_can_be_changed(place):
    codec = Codec("s")
    body = bytearray(codec.encode(Job(new_job_id(), "task")))
    body[place] ^= 1
    with pytest.raises(UndecodableJob):
        codec.decode(bytes(body))


def test_a_signature_of_one_job_does_not_fit_another():
    codec = Codec("s")
    one, other = (codec.encode(Job(new_job_id(), "task")) for _ in range(2))
    with pytest.raises(UndecodableJob):
        codec.decode(one[:33] + other[33:])


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01" + b"x" * 32, b"\x93\x01\x02\x03", b"\xc1", b"x" * 100])
@pytest.mark.parametrize("secret", [None, "s"])
def test_any_bytes_are_a_job_or_refused_with_one_error(secret, body):
    with pytest.raises(UndecodableJob):
        Codec(secret).decode(body)


@pytest.mark.parametrize("secret", [None, "s", b"s"])
def test_a_job_survives_the_way_to_bytes_and_back(secret):
    job = Job(new_job_id(), "task", b"\x80", "q", -3, 1.5, 9.0, "k", float("inf"), True, 5.0, 2, 7.0, {"retries": 3})
    assert Codec(secret).decode(Codec(secret).encode(job)) == job
