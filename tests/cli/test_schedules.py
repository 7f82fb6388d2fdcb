"""``worklist schedules`` and ``worklist beat``: what they show, what they change, and what they refuse."""

import signal

import pytest

from .conftest import Folder, eventually

APP = """
from worklist import Worklist

app = Worklist()

@app.every("0 2 * * *", tz="Asia/Shanghai", name="nightly", args=["sales"])
@app.task
def report(kind: str, rows: int = 10) -> str:
    return kind

@app.task(every="1s")
def tick() -> None: ...
"""


@pytest.fixture
def place(folder: Folder) -> Folder:
    folder.write("tasks.py", APP)
    folder.write("pyproject.toml", '[tool.worklist]\napp = "tasks:app"\n')
    assert folder.app.store.schedules() == []
    return folder


def test_the_list_shows_what_is_declared_before_any_beat_has_run(place: Folder) -> None:
    heading, nightly, tick = place.ok("schedules").splitlines()
    assert heading.split() == ["name", "task", "when", "zone", "next", "last"]
    assert nightly.split()[:8] == ["nightly", "tasks.report", "0", "2", "*", "*", "*", "Asia/Shanghai"]
    assert "02:00:00  (in " in nightly
    assert tick.split()[:4] == ["tasks.tick", "tasks.tick", "1s", "UTC"]


def test_the_next_fire_times(place: Folder) -> None:
    lines = place.ok("schedules", "--next", "3").splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["nightly"] * 3 + ["tasks.tick"] * 3
    assert all("02:00:00 CST" in line for line in lines[:3])


def test_json(place: Folder) -> None:
    nightly, _ = place.json("schedules", "--next", "2")
    assert nightly["arguments"] == {"kind": "sales"}
    assert (nightly["every"], nightly["tz"], nightly["declared"]) == ("0 2 * * *", "Asia/Shanghai", True)
    assert [at[10:] for at in nightly["next"]] == ["T02:00:00+08:00"] * 2
    assert nightly["last"] is None


def test_pause_and_resume(place: Folder) -> None:
    assert "nightly is paused" in place.ok("schedules", "pause", "nightly")
    assert "paused" in place.ok("schedules").splitlines()[1]
    assert place.json("schedules")[0]["next"] == []
    assert "nightly fires next at" in place.ok("schedules", "resume", "nightly")
    assert place.app.schedules["nightly"].paused is False


def test_add_and_delete(place: Folder) -> None:
    arguments = ("--every", "@hourly", "--args", '{"kind": "x", "rows": 3}', "--queue", "default", "--overlap")
    assert ":00:00 UTC" in place.ok("schedules", "add", "extra", "--task", "tasks.report", *arguments)
    added = place.app.schedules["extra"]
    assert (added.every, added.overlap, added.declared, added.missed) == ("@hourly", True, False, "once")
    assert place.tasks.report.signature.decode(added.job.args) == (("x", 3), {})
    assert place.ok("schedules", "delete", "extra") == "extra is deleted\n"
    assert "extra" not in place.app.schedules
    assert "brings it back at the next start" in place.ok("schedules", "delete", "nightly")


def test_put_puts_one_now(place: Folder) -> None:
    id = place.ok("schedules", "put", "nightly").strip()
    place.app.work(until_empty=True, beat=False)
    assert place.app.job(id).result(timeout=0) == "sales"


def test_without_the_app(place: Folder) -> None:
    place.ok("schedules", "pause", "nightly")
    (place.path / "pyproject.toml").unlink()
    assert "nightly" in place.ok("schedules", "--url", "sqlite:///worklist.db")
    place.ok("schedules", "resume", "nightly", "--url", "sqlite:///worklist.db")
    assert place.app.schedules["nightly"].paused is False


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("pause", "nihgtly"), 1, "there is no schedule 'nihgtly' (did you mean 'nightly'?)"),
        (("paus", "nightly"), 2, "no command 'paus'; did you mean 'pause'?"),
        (("--json", "pause", "nightly"), 2, "options stand behind the command"),
        (("add", "nightly", "--task", "tasks.tick", "--every", "1h"), 1, "there is a schedule 'nightly' already"),
        (("add", "x", "--task", "tasks.tik", "--every", "1h"), 1, "no task 'tasks.tik' (did you mean 'tasks.tick'?)"),
        (("add", "x", "--task", "tasks.tick", "--every", "61 * * * *"), 1, "'61' as its minute"),
        (("add", "x", "--task", "tasks.tick", "--every", "1h", "--args", "[1"), 2, "which is no JSON"),
        (("add", "x", "--task", "tasks.tick", "--every", "1h", "--args", "1"), 2, "expected a JSON array"),
        (("add", "x", "--task", "tasks.tick", "--every", "1h", "--args", "[1]"), 1, "tasks.tick()"),
        (
            ("add", "x", "--task", "tasks.tick", "--every", "1h", "--missed", "al"),
            1,
            "missed is 'al' (did you mean 'all'?)",
        ),
    ],
)
def test_what_is_refused(place: Folder, arguments: tuple[str, ...], code: int, words: str) -> None:
    assert words in place.error("schedules", *arguments, code=code)


def test_a_beat_alone_puts_what_is_due(place: Folder) -> None:
    beat = place.start("beat")
    eventually(lambda: place.app.inspector.counts().get("default"))
    beat.send_signal(signal.SIGTERM)
    assert beat.wait(timeout=60) == 0
    first, last = (line.split(maxsplit=2)[1:] for line in place.said().splitlines())
    assert first == ["beat", f"pid {beat.pid} puts 2 schedules of tasks:app on sqlite:///worklist.db"]
    assert last == ["ended", f"pid {beat.pid} puts no more"]


def test_a_worker_carries_a_beat_and_can_do_without(place: Folder) -> None:
    place.start("worker", "--no-beat", "--quiet")
    place.signed_in(1)
    assert place.app.store.schedules() == [], "a worker without a beat has stored what the code declares"
    place.start("worker", "--quiet")
    eventually(lambda: place.app.inspector.counts().get("default", {}).get("succeeded"))
    assert [schedule.name for schedule in place.app.store.schedules()] == ["nightly", "tasks.tick"]


def test_a_supervised_beat_ends_with_its_parent_and_says_why_it_cannot_start(place: Folder) -> None:
    place.write("broken.py", "1 / 0\n")
    assert place.start("beat", "broken:app", "--supervised").wait(timeout=60) == 78
    assert place.said().count("error: importing 'broken' raised ZeroDivisionError") == 1
    assert place.start("beat", "broken:app", "--supervised", "--hush").wait(timeout=60) == 78
    assert place.said().count("\n") == 1
    assert place.start("beat", "--quiet", "--supervised").wait(timeout=60) == 0, "its standard input was at its end"
