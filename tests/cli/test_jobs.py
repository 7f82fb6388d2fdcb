"""status, jobs, retry, cancel, purge, pause and resume, for people and for machines."""

import re
import time

import pytest

from worklist import JobHandle
from worklist.cli.render import ago, one_line, visible

from .conftest import Folder


@pytest.fixture
def worked(folder: Folder) -> Folder:
    """A folder where one job succeeded, one failed, one is queued and one is due in an hour."""
    folder.write("pyproject.toml", '[tool.worklist]\napp = "tasks:app"\n')
    folder.tasks.add.enqueue(1, b=2)
    folder.tasks.fail.enqueue("no such \x1b[31mplace\nsecond line")
    folder.app.work(until_empty=True)
    folder.tasks.add.enqueue(3)
    folder.tasks.add.using(delay=3600, priority=5, key="later", expires="2h").enqueue(4)
    return folder


def job(folder: Folder, state: str, task: str = "tasks.add") -> str:
    """Return the id of the oldest job in a state."""
    return str(folder.json("jobs", "--state", state, "--task", task)[-1]["id"])


def test_status(worked: Folder) -> None:
    worked.ok("pause", "spare")
    lines = worked.ok("status").splitlines()
    assert lines[0] == "sqlite:///worklist.db"
    rows = [re.split(r"  +", line) for line in lines[2:6]]
    assert rows[0] == ["queue", "queued", "running", "succeeded", "failed"]
    assert rows[1] == ["default", "2", "0", "1", "0"]
    assert rows[2] == ["mail", "0", "0", "0", "1"]
    assert rows[3] == ["spare (paused)", "0", "0", "0", "0"]
    assert lines[-1] == "no worker is running"
    assert not any(line != line.rstrip() for line in lines)


def test_status_json(worked: Folder) -> None:
    data = worked.json("status")
    assert data["url"] == "sqlite:///worklist.db"
    assert [queue["name"] for queue in data["queues"]] == ["default", "mail", "spare"]
    assert data["queues"][0]["jobs"] == {
        "queued": 2, "waiting": 0, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 0, "expired": 0
    }  # fmt: skip
    assert data["queues"][0]["paused"] is False
    assert data["workers"] == []


def test_looking_by_url_needs_no_app(worked: Folder) -> None:
    worked.write("pyproject.toml", "")
    (worked.path / "tasks.py").unlink()
    for options in ([], ["--url", "sqlite:///worklist.db"]):
        assert "default" in worked.ok("status", *options)
        assert len(worked.json("jobs", *options)) == 4


def test_jobs_as_a_table(worked: Folder) -> None:
    lines = worked.ok("jobs").splitlines()
    assert lines[0].split() == ["id", "task", "queue", "state", "attempt", "when", "note"]
    assert len(lines) == 5
    assert re.search(r"tasks\.add  +default  queued  +0  due in (1h00m|59m\d\ds)$", lines[1])
    assert re.search(
        r"tasks\.fail  mail  +failed  +1  (now|\d+ s ago)  +ValueError: no such \\x1b\[31mplace$", lines[3]
    )
    assert (
        len({line.index(word) for line, word in zip(lines[1:], ["queued", "queued", "failed", "succ"], strict=True)})
        == 1
    )


def test_jobs_filters(worked: Folder) -> None:
    assert len(worked.json("jobs", "--state", "queued")) == 2
    assert [found["task"] for found in worked.json("jobs", "--queue", "mail")] == ["tasks.fail"]
    assert len(worked.json("jobs", "--task", "tasks.add")) == 3
    assert len(worked.json("jobs", "--limit", "1")) == 1
    assert worked.json("jobs", "--state", "expired") == []
    result = worked.run("jobs", "--task", "tasks.ad")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no such jobs (did you mean 'tasks.add'?)\n"


def test_one_job_in_full(worked: Folder) -> None:
    shown = worked.ok("jobs", job(worked, "failed", "tasks.fail"))
    for part in (
        r"^state +failed$",
        r"^attempt +1$",
        r"^progress +1 of 3 on the way$",
        r"^finished +.* ago|now +\(\d{4}-\d\d-\d\d ",
        r"^text = 'no such \\x1b\[31mplace\\nsecond line'$",
        r"^attempt 1, .*: ValueError: no such \\x1b\[31mplace$",
        r"^Traceback \(most recent call last\):$",
        r"raise ValueError\(text\)$",
        r"^log\n\d{4}-\d\d-\d\dT[\d:.]+Z no \\x1b\[31mroute$",
    ):
        assert re.search(part, shown, re.MULTILINE), f"{part} is not in\n{shown}"
    assert "\x1b" not in shown
    assert "result\n3" in worked.ok("jobs", job(worked, "succeeded"))
    later = worked.json("jobs", "--state", "queued")[0]["id"]
    assert re.search(r"^priority +5\nkey +tasks.add:later$", worked.ok("jobs", later), re.MULTILINE)


def test_one_job_as_json(worked: Folder) -> None:
    failed = worked.json("jobs", job(worked, "failed", "tasks.fail"))
    assert failed["arguments"] == {"text": "no such \x1b[31mplace\nsecond line"}
    assert failed["progress"] == {"done": 1.0, "total": 3.0, "note": "on the way"}
    assert failed["errors"][0]["type"] == "ValueError"
    assert [line.split("Z ")[1] for line in failed["logs"]] == ["no \x1b[31mroute"]
    assert "raise ValueError(text)" in failed["errors"][0]["traceback"]
    assert time.time() - 600 < failed["finished"] < time.time() + 600
    assert worked.json("jobs", job(worked, "succeeded"))["result"] == 3


def test_a_job_whose_bytes_mean_nothing(worked: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    id = job(worked, "succeeded")
    monkeypatch.setenv("WORKLIST_SECRET", "hush")
    url = ("--url", "sqlite:///worklist.db")
    assert "not signed with this app's secret" in worked.ok("jobs", id, *url)
    data = worked.json("jobs", id, *url)
    assert data["arguments"] is None
    assert "not signed" in data["undecodable"]


def test_an_unknown_job(worked: Folder) -> None:
    assert "job xyz is not known" in worked.error("jobs", "xyz")


def test_retry_by_id(worked: Folder) -> None:
    failed = job(worked, "failed", "tasks.fail")
    assert worked.ok("retry", failed) == "retried 1 job\n"
    assert worked.app.job(failed).status == "queued"
    result = worked.run("retry", failed, "xyz", job(worked, "succeeded"))
    assert result.exit_code == 1
    assert f"job {failed} is queued already" in result.stderr
    assert "job xyz is not known" in result.stderr


def test_retry_by_state(folder: Folder) -> None:
    handles = folder.tasks.fail.enqueue_many([(str(n),) for n in range(2300)])
    other = folder.tasks.fail_twice.enqueue()
    folder.app.work(until_empty=True)
    folder.app.work(until_empty=True)
    assert folder.json("retry", "--app", "tasks:app", "--state", "failed", "--task", "nobody")["retried"] == []
    retried = folder.json("retry", "--app", "tasks:app", "--state", "failed", "--queue", "mail")["retried"]
    assert retried == [handle.id for handle in handles]
    assert other.status == "failed"
    assert folder.ok("retry", "--app", "tasks:app", "--state", "failed") == "retried 1 job\n"


def test_retry_is_refused_where_the_key_has_gone_to_another(folder: Folder) -> None:
    keyed = folder.tasks.fail.using(key="k")
    first = keyed.enqueue("x")
    folder.app.work(until_empty=True)
    keyed.enqueue("x")
    result = folder.run("retry", "--app", "tasks:app", "--state", "failed")
    assert (result.exit_code, result.stdout) == (0, "retried 0 jobs\n")
    assert "1 could not be: their keys are held by other jobs" in result.stderr
    assert "another job holds" in folder.run("retry", "--app", "tasks:app", first.id).stderr


def test_cancel(worked: Folder) -> None:
    queued, done = job(worked, "queued"), job(worked, "succeeded")
    data = worked.run("cancel", queued, done, "xyz", queued, "--json")
    assert data.exit_code == 1
    assert f'"cancelled": [\n    "{queued}"\n  ]' in data.stdout
    assert "has ended already (succeeded)" in data.stdout
    assert worked.app.job(queued).status == "cancelled"


def test_purge(worked: Folder) -> None:
    command = ("purge", "--queue", "default", "--state", "succeeded")
    assert "There is nobody to ask; say --yes" in worked.error(*command, code=2)
    assert worked.ok(*command, "--yes") == "removed 1 job\n"
    assert worked.ok(*command, "--yes") == "removed 0 jobs\n"
    assert worked.json("purge", "--queue", "mail", "--state", "failed", "--yes") == {
        "queue": "mail", "state": "failed", "removed": 1
    }  # fmt: skip


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_purge_asks(worked: Folder, monkeypatch: pytest.MonkeyPatch, answer: str, left: int) -> None:
    monkeypatch.setattr("worklist.cli.job_commands._is_answered", lambda: True)
    result = worked.run("purge", "--queue", "mail", "--state", "failed", input=answer)
    assert "remove 1 job of mail that is failed?" in result.stderr
    assert result.exit_code == (130 if left else 0)
    assert len(worked.json("jobs", "--queue", "mail")) == left


def test_pause_and_resume(worked: Folder) -> None:
    assert worked.ok("pause", "default") == "default is paused; worklist resume default lets it go on\n"
    assert worked.json("status")["queues"][0]["paused"] is True
    handle: JobHandle[int] = worked.tasks.add.enqueue(1)
    worked.app.work(until_empty=True)
    assert handle.status == "queued"
    assert worked.ok("resume", "default") == "default is served again\n"
    worked.app.work(until_empty=True)
    assert handle.result(timeout=0) == 2


def test_help_names_every_command(folder: Folder) -> None:
    shown = folder.ok("--help")
    for command in ("worker", "status", "jobs", "retry", "cancel", "purge", "pause", "resume"):
        assert re.search(rf"^  {command} .*\.$", shown, re.MULTILINE), "its first sentence does not fit"
        assert "Usage: worklist " + command in folder.ok(command, "--help")
    assert folder.ok() == shown
    assert folder.ok("--version").startswith("worklist, version ")


def test_times_and_texts() -> None:
    assert [ago(1000 - back, 1000) for back in (0.2, 3.4, 42, 200, 7300, 864000)] == [
        "now", "3 s ago", "42 s ago", "3m20s ago", "2h01m ago", "10d ago"
    ]  # fmt: skip
    assert ago(1090, 1000) == "in 1m30s"
    assert ago(None) == ""
    assert visible("a\x00b\x9b\u202ec\td") == "a\\x00b\\x9b\\u202ec\td"
    assert one_line("first\nsecond") == "first"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"


def test_a_terminal_gets_colours_and_lines(worked: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    result = worked.run("status")
    assert "───" in result.stdout
    assert re.search(r"\x1b\[[\d;]*31m *1\x1b", result.stdout), "one failed job, in red"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in worked.run("status").stdout
