"""`worklist plan`: from figures, from a file of times, from an app's own records; and what it refuses."""

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from worklist.cli import plan_history
from worklist.cli.plan_command import read_rate
from worklist.core.errors import ConfigError
from worklist.core.job import JobRecord, JobState

from .conftest import Folder

ASKED = ("plan", "--arrivals", "20/s", "--service", "0.3s", "--workers", "8")


def test_figures_become_answers(folder: Folder) -> None:
    found = folder.json(*ASKED, "--wait", "2s", "--per-user", "2/h", "--backlog", "1000")
    assert found["capacity"] == pytest.approx(8 / 0.3)
    load = found["load"]
    assert (load["rate"], load["utilisation"]) == (pytest.approx(20), pytest.approx(0.75))
    erlang = 0.3565  # the chance to wait in an M/M/8 queue that is 75 % busy
    assert abs(load["delayed"][0] - erlang) <= 2 * load["delayed"][1]
    assert abs(load["wait"][0] - erlang / (8 / 0.3 - 20)) <= 2 * load["wait"][1]
    assert found["fewest_workers"] == 7
    most, error = found["most_arrivals"]
    assert abs(most - 25.25) <= 2 * error
    assert found["users"][0] == pytest.approx(most * 1800)
    assert found["drained_in"][0] == pytest.approx(1000 / (8 / 0.3 - 20))


def test_answers_are_a_table(folder: Folder) -> None:
    shown = folder.ok(*ASKED, "--wait", "2s", "--backlog", "1000", "--per-user", "2/h")
    for line in (
        "jobs come in    20/s, at random",
        "each takes      300 ms on average, exponential, cv 1",
        "capacity of 8 workers                    26.7/s",
        "workers needed for p95 wait within 2 s        7",
        "backlog of 1,000 gone in                  2m30s",
    ):
        assert line in shown
    assert "most arrivals for p95 wait within 2 s" in shown
    assert "users, at 2/h each" in shown


def test_the_number_of_workers_may_be_the_question(folder: Folder) -> None:
    shown = folder.ok("plan", "--arrivals", "20/s", "--service", "0.3s", "--wait", "100ms", "--percentile", "p99")
    assert "workers         11, the fewest for p99 wait within 100 ms" in shown


def test_without_arrivals_there_is_a_capacity(folder: Folder) -> None:
    found = folder.json("plan", "--service", "2m", "--workers", "3", "--wait", "1h")
    assert found["capacity"] == pytest.approx(3 / 120)
    assert found["load"] is None
    assert 0 < found["most_arrivals"][0] < 3 / 120


@pytest.mark.parametrize(("name", "more"), [("constant", ()), ("lognormal", ("--cv", "2"))])
def test_distributions(folder: Folder, name: str, more: tuple[str, ...]) -> None:
    found = folder.json(*ASKED, "--distribution", name, *more)
    assert found["service"] == {"kind": name, "mean": 0.3, "cv": 2.0 if more else 0.0}


def test_times_from_a_file(folder: Folder) -> None:
    folder.write("times.txt", "0.1\n\n500ms\n0.3\n")
    found = folder.json("plan", "--times", "times.txt", "--workers", "2", "--arrivals", "1/s")
    assert found["service"]["kind"] == "observed"
    assert found["service"]["mean"] == pytest.approx(0.3)


def test_the_same_seed_gives_the_same_answers(folder: Folder) -> None:
    first, again, other = (folder.ok(*ASKED, "--jobs", "5000", "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_too_few_jobs_are_told(folder: Folder) -> None:
    assert "1,000 simulated jobs are few" in folder.ok(*ASKED, "--jobs", "1000")
    assert "simulated jobs are few" not in folder.ok(*ASKED)


# -- the plot -------------------------------------------------------------------------------------------------------


def test_the_plot_as_png_and_svg(folder: Folder) -> None:
    folder.ok(*ASKED, "--wait", "2s", "--plot", "wait.png", "--plot", "wait.svg")
    assert (folder.path / "wait.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(folder.path / "wait.svg").getroot().tag.endswith("svg")
    folder.ok(*ASKED, "--wait", "2s", "--plot", "again.svg")
    assert (folder.path / "again.svg").read_bytes() == (folder.path / "wait.svg").read_bytes()


def test_a_plot_without_arrivals_or_wait(folder: Folder) -> None:
    folder.ok("plan", "--service", "3ms", "--workers", "1", "--plot", "wait.svg")
    assert (folder.path / "wait.svg").exists()


def test_a_plot_that_cannot_be_written(folder: Folder) -> None:
    (folder.path / "taken.svg").mkdir()
    result = folder.run(*ASKED, "--plot", "taken.svg")
    assert result.exit_code == 1
    assert "taken.svg cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


# -- history --------------------------------------------------------------------------------------------------------


def test_an_apps_own_records(folder: Folder) -> None:
    for number in range(60):
        folder.tasks.add.enqueue(number)
    folder.app.work(until_empty=True)
    folder.tasks.add.using(delay="1h").enqueue(1)
    waiting = [folder.tasks.add.enqueue(number) for number in range(7)]
    assert len(waiting) == 7
    found = folder.json("plan", "--app", "tasks:app", "--workers", "100", "--wait", "1h")
    assert found["backlog"] == 7
    assert found["service"]["kind"] == "observed"
    assert found["arrivals"]["kind"] == "observed"
    records = [record for record in folder.app.load([job.id for job in waiting]) if record]
    assert found["arrivals"]["mean"] < records[-1].enqueued - records[0].enqueued + 60
    assert "60 finished jobs, 67 arrivals in" in folder.ok("plan", "--app", "tasks:app", "--workers", "100")


def record(number: int, state: JobState = JobState.SUCCEEDED, due: float | None = None) -> JobRecord:
    """One arrival every 2 s; it waits a second and takes half of one."""
    at = 1000.0 + 2 * number
    begun = state is not JobState.QUEUED
    return JobRecord(
        id=f"{state}{number}",
        task="t",
        queue="default",
        state=state,
        body=b"",
        enqueued=at,
        due=due,
        started=at + 1 if begun else None,
        finished=at + 1.5 if state.finished else None,
    )


class FakeInspector:
    """An inspector that holds just these records, the newest first."""

    def __init__(self, records: list[JobRecord]) -> None:
        self.records = sorted(records, key=lambda job: -job.enqueued)

    def find(self, wanted):  # type: ignore[no-untyped-def]
        return [job for job in self.records if job.state is wanted.state][: wanted.limit]

    def counts(self):  # type: ignore[no-untyped-def]
        return {"default": {JobState.QUEUED: sum(job.state is JobState.QUEUED for job in self.records)}}

    def workers(self) -> list[object]:
        return []


def history_of(records: list[JobRecord]) -> plan_history.History:
    return plan_history.read_history(type("App", (), {"inspector": FakeInspector(records)})(), None)


def test_history_is_read_as_it_was() -> None:
    states = dict.fromkeys((3, 50), JobState.FAILED) | {100: JobState.RUNNING, 101: JobState.QUEUED}
    later = record(7, JobState.QUEUED, due=time.time() + 1000)
    found = history_of([*(record(n, states.get(n, JobState.SUCCEEDED)) for n in range(102)), later])
    assert found.service == [0.5] * 100
    assert found.gaps == [2.0] * 101 + [0.0]
    assert found.backlog == 1
    assert found.span == 202


def test_arrivals_count_from_where_all_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_history, "MOST_RECORDS", 40)
    failed = [record(number, JobState.FAILED) for number in range(0, 100, 10)]
    done = [record(number) for number in range(100) if number % 10]
    found = history_of(done + failed)
    assert len(found.service) == 40 + 10
    assert found.gaps[:-1] == [2.0] * 43  # the 40 newest that succeeded, and the failed ones among them


def test_too_little_history(folder: Folder) -> None:
    folder.tasks.add.enqueue(1)
    folder.app.work(until_empty=True)
    line = folder.error("plan", "--app", "tasks:app")
    assert "there is not enough history here: 1 finished jobs are recorded and 30 are needed" in line
    assert "of queue 'mail': 0 finished" in folder.error("plan", "--app", "tasks:app", "--queue", "mail")
    assert "did you mean 'mail'?" in folder.error("plan", "--app", "tasks:app", "--queue", "mial")


# -- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["5", "6"])
def test_a_queue_that_never_empties(folder: Folder, workers: str) -> None:
    line = folder.error("plan", "--arrivals", "20/s", "--service", "0.3s", "--workers", workers, "--backlog", "5")
    assert "this queue never empties: 20 jobs a second of 0.3 s each keep 6 workers busy" in line
    assert "you need at least 7" in line


USAGE = [
    (["--service", "1s"], "how many workers are there? say --workers N; or --arrivals and --wait"),
    (["--workers", "3"], "how long does a job take? say --service 0.3s, --times FILE, or --app"),
    (["--arrivals", "-20/s"], "--arrivals is '-20/s'; expected a number above 0 and a unit of time, such as 20/s"),
    (["--arrivals", "0/s"], "--arrivals is '0/s'"),
    (["--arrivals", "20"], "--arrivals is '20'"),
    (["--arrivals", "20/fortnight"], "--arrivals is '20/fortnight'"),
    (["--service", "-1s"], "--service is '-1s'; expected a duration"),
    (["--service", "0"], "--service is '0'; expected more than 0 s"),
    (["--service", "soon"], "--service is 'soon'; expected a duration"),
    (["--wait", "-5"], "--wait is '-5'; it cannot be negative"),
    (["--service", "1s", "--distribution", "exponental"], "(did you mean 'exponential'?)"),
    (["--service", "1s", "--distribution", "xyz"], "expected one of exponential, constant, lognormal"),
    (["--service", "1s", "--distribution", "lognormal"], "--cv and --distribution lognormal go together"),
    (["--service", "1s", "--cv", "1"], "--cv and --distribution lognormal go together"),
    (["--distribution", "constant"], "say how long a job takes"),
    (["--percentile", "p100"], "--percentile is 'p100'; expected p50, p95"),
    (["--percentile", "most"], "--percentile is 'most'"),
    (["--times", "nowhere.txt"], "--times: nowhere.txt cannot be read: No such file"),
    (["--times", "."], "--times: . cannot be read: Is a directory"),
    (["--times", "binary"], "--times: binary cannot be read: it is not text"),
    (["--times", "empty"], "--times: empty holds no times; expected one a line"),
    (["--times", "wrong"], "wrong:2 is 'fast'; expected a duration"),
    (["--times", "right", "--service", "1s"], "it does not go with --service"),
    (["--plot", "wait.pdf"], "--plot is 'wait.pdf'; expected the name of a file that ends with .png or .svg"),
    (["--plot", "nowhere/wait.png"], "there is no folder nowhere"),
    (["--service", "1s", "--workers", "1", "--per-user", "1/h"], "--per-user needs --wait"),
    (["--workers", "0"], "--workers"),
    (["--jobs", "10"], "--jobs"),
    (["--app", "tasks:app", "--url", "sqlite:///x.db"], "--app and --url were both given"),
]


@pytest.mark.parametrize(("arguments", "what"), USAGE)
def test_what_is_not_understood(folder: Folder, arguments: list[str], what: str) -> None:
    (folder.path / "binary").write_bytes(b"\xff\xfe\x00")
    folder.write("empty", "\n")
    folder.write("wrong", "0.1\nfast\n")
    folder.write("right", "0.1\n")
    line = folder.error("plan", *arguments, code=2)
    assert what in line


def test_more_workers_than_a_queue_has(folder: Folder) -> None:
    line = folder.error("plan", "--arrivals", "1000000/s", "--service", "1h", "--wait", "1s")
    assert "expected 1 to 100,000" in line


@pytest.mark.parametrize(
    ("written", "meant"),
    [("20/s", 20), ("1,800/h", 0.5), ("90/min", 1.5), ("90 / m", 1.5), ("8.64e0/d", None), ("86400/day", 1)],
)
def test_rates(written: str, meant: float | None) -> None:
    if meant is None:
        with pytest.raises(ConfigError, match="expected a number above 0"):
            read_rate(written, "--arrivals")
    else:
        assert read_rate(written, "--arrivals") == pytest.approx(meant)


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from worklist.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("missing", "more"), [("numpy", []), ("matplotlib", ["--plot", "a.svg"])])
def test_without_the_extra(folder: Folder, missing: str, more: list[str]) -> None:
    """In a process of its own, since numpy cannot be unloaded."""
    code = WITHOUT.format(missing=missing)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)

    done = run(*ASKED, *more)
    assert done.returncode == 1
    assert done.stderr == (
        f'error: worklist plan needs {missing}, which is not installed; pip install "worklist[plan]" brings it\n'
    )
    assert run("--help").returncode == 0
    assert run("plan", "--help").returncode == 0


def test_json_is_plain_data(folder: Folder) -> None:
    found = json.loads(folder.ok(*ASKED, "--json"))
    assert set(found) >= {"arrivals", "service", "workers", "capacity", "load", "most_arrivals", "drained_in"}
    assert not list(Path(folder.path).glob("*.db"))
