"""Whatever is typed wrong is told in one line that names it and what was expected."""

import subprocess
import sys

import pytest

from .conftest import Folder

MODULE_ERRORS = [
    ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'", "broken.py:1"),
    ("x = 1\ny = nothing\n", "NameError: name 'nothing' is not defined", "broken.py:2: y = nothing"),
    ("def f(:\n", "SyntaxError: ", "broken.py:1"),
    ("raise SystemExit(3)\n", "SystemExit: 3", "broken.py:1"),
    ("import json\njson.loads('{')\n", "JSONDecodeError: ", "broken.py:2: json.loads('{')"),
    ("raise RuntimeError\n", "RuntimeError ", "broken.py:1"),
    ("from worklist import Worklist\nWorklist('sqlit:///x')\n", "did you mean 'sqlite'?", "broken.py:2"),
]


@pytest.mark.parametrize(("source", "what", "where"), MODULE_ERRORS)
def test_a_module_that_raises(folder: Folder, source: str, what: str, where: str) -> None:
    folder.write("broken.py", source)
    line = folder.error("worker", "broken:app")
    assert "importing 'broken' raised" in line
    assert what in line
    assert where in line
    assert str(folder.path) not in line


APP_PATHS = [
    ("task:app", "no module named 'task' in this folder", "did you mean 'tasks'?"),
    ("tasks:ap", "tasks has no 'ap'", "did you mean 'app'?"),
    ("tasks:xyzzy", "tasks has no 'xyzzy'", "the module holds tasks:app"),
    ("tasks:number", "tasks:number is a int", "expected a Worklist; the module holds tasks:app"),
    ("tasks:add", "tasks:add is a Task", "expected a Worklist"),
    ("tasks.py:app", "'tasks.py' is the name of a file", "tasks:app"),
    ("tasks:", "the app is 'tasks:'", "expected MODULE:APP"),
    (":app", "the app is ':app'", "expected MODULE:APP"),
    ("./tasks:app", "the app is './tasks:app'", "expected MODULE:APP"),
    ("package.missing:app", "no module named 'package.missing'", "did you mean 'package.missings'?"),
    ("empty", "the app is 'empty'", "the module holds no Worklist"),
]


@pytest.mark.parametrize(("path", "what", "hint"), APP_PATHS)
def test_an_app_that_cannot_be_found(folder: Folder, path: str, what: str, hint: str) -> None:
    (folder.path / "package").mkdir()
    folder.write("package/__init__.py", "")
    folder.write("package/missings.py", "")
    folder.write("empty.py", "")
    line = folder.error("worker", path)
    assert what in line
    assert hint in line


USAGE = [
    (["stats"], "no command 'stats'; did you mean 'status'?"),
    (["xyzzy"], "no command 'xyzzy'; known are beat, cancel, check, crawl, export, fetch, jobs"),
    (["jobs", "--stat", "failed"], "--state"),
    (["worker"], "no app was named; expected MODULE:APP"),
    (["worker", "tasks:app", "--app", "other:app"], "two apps were named"),
    (["worker", "tasks:app", "--threads", "0"], "--threads"),
    (["worker", "tasks:app", "--processes", "none"], "--processes"),
    (["worker", "tasks:app", "--grace", "soon"], "--grace is 'soon'; expected a duration"),
    (["worker", "tasks:app", "--max-memory", "lots"], "--max-memory is 'lots'; expected bytes"),
    (["worker", "tasks:app", "--queues", "a,,b"], "--queues is 'a,,b'; expected names"),
    (["jobs", "--app", "tasks:app", "--url", "sqlite:///x.db"], "--app and --url were both given"),
    (["jobs", "--state", "faild"], "--state is 'faild' (did you mean 'failed'?)"),
    (["jobs", "--limit", "0"], "--limit"),
    (["retry"], "name the jobs, or say --state"),
    (["retry", "x", "--state", "failed"], "name the jobs, or say --state"),
    (["retry", "x", "--task", "tasks.add"], "do not go with IDs"),
    (["retry", "--state", "running"], "expected one of cancelled, expired, failed, succeeded"),
    (["cancel"], "ID"),
    (["purge", "--queue", "default"], "--state"),
    (["purge", "--queue", "default", "--state", "running"], "--state is 'running'"),
    (["pause"], "QUEUE"),
]


@pytest.mark.parametrize(("arguments", "what"), USAGE)
def test_what_is_not_understood(folder: Folder, arguments: list[str], what: str) -> None:
    folder.app.inspector.pause("default", False)
    line = folder.error(*arguments, code=2)
    assert what in line
    assert "--help" in line


@pytest.mark.parametrize("command", [["status"], ["jobs"], ["jobs", "x"], ["retry", "x"], ["cancel", "x"]])
def test_looking_creates_no_file(folder: Folder, command: list[str]) -> None:
    assert "there is no file worklist.db" in folder.error(*command)
    assert "there is no file other.db" in folder.error(*command, "--url", "sqlite:///other.db")
    assert "there is no file worklist.db" in folder.error(*command, "--app", "tasks:app")
    assert not list(folder.path.glob("*.db*"))


def test_places_that_are_none(folder: Folder) -> None:
    folder.write("notes.db", "these are not the jobs you are looking for" * 100)
    assert "notes.db is damaged or no SQLite database" in folder.error("status", "--url", "sqlite:///notes.db")
    assert "did you mean 'sqlite'" in folder.error("status", "--url", "sqlit:///x.db")
    assert "live in the process that puts them" in folder.error("status", "--url", "memory://")
    folder.write("inmemory.py", "from worklist import Worklist\napp = Worklist('memory://')\n")
    assert "live in the process that puts them" in folder.error("worker", "inmemory:app")
    assert "sqlite:///FILE (three slashes)" in folder.error("status", "--url", "sqlite://x.db")


def test_a_worker_of_unknown_queues_or_no_tasks(folder: Folder) -> None:
    assert "did you mean 'mail'?" in folder.error("worker", "tasks:app", "--queues", "mial")
    folder.write("bare.py", "from worklist import Worklist\napp = Worklist()\n")
    assert "this app has no tasks" in folder.error("worker", "bare:app")


def test_unknown_queues(folder: Folder) -> None:
    folder.tasks.add.enqueue(1)
    for command in (["pause"], ["resume"], ["jobs", "--queue"], ["purge", "--state=failed", "--yes", "--queue"]):
        line = folder.error(*command[:1], "--app", "tasks:app", *command[1:], "mial")
        assert "no queue 'mial' (did you mean 'mail'?)" in line


PYPROJECTS = [
    ("[tool.worklist]\nap = 'tasks:app'\n", "has no key 'ap' (did you mean 'app'?)"),
    ("[tool.worklist]\napp = 5\n", "app under [tool.worklist] is 5; expected a text"),
    ("[tool.worklist\n", "pyproject.toml cannot be read"),
]


@pytest.mark.parametrize(("text", "what"), PYPROJECTS)
def test_a_pyproject_that_means_nothing(folder: Folder, text: str, what: str) -> None:
    folder.write("pyproject.toml", text)
    assert what in folder.error("status")


def test_a_bug_shows_its_place_and_no_traceback(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.tasks.add.enqueue(1)
    monkeypatch.setattr(type(folder.app.store), "counts", lambda _: {}["nothing"])
    line = folder.error("status", "--app", "tasks:app")
    assert "KeyError" in line
    assert "test_bad_input.py:" in line
    monkeypatch.setenv("WORKLIST_DEBUG", "1")
    assert isinstance(folder.run("status", "--app", "tasks:app").exception, KeyError)


def test_the_program_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "worklist", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("worklist, version ")
