"""Whatever a user can set, call, catch or see is in the documentation, with its true default."""

import inspect
import re

import msgspec
import pytest

import worklist
from worklist import WorkerProcess, settings
from worklist.adapters import ADAPTERS, BrokerUrl, ResultsUrl
from worklist.app import Worklist
from worklist.core import errors, events, ports
from worklist.core.job import MOVES, JobState
from worklist.core.task import CallSettings, TaskOptions, TaskSettings
from worklist.schedules import Schedules, ScheduleSettings

from .pages import DOCS, ROOT, anchors, bare, documents, links, name_of, reference, rows, text_of

SHOWN = {
    "backoff": '"exponential"',
    "retry_on": "Exception",
    "keep_results": '"7d"',
    "hold": '"finished"',
}
"""Defaults as the documentation writes them, where they differ from what the code holds."""
SHOWN_OF_A_MAPPING = ("values", "declare", "declared")
"""What every mapping has, and what `app.every` is for."""


def _default(name: str) -> str:
    value = TaskOptions.__struct_fields__.index(name)
    default = TaskOptions.__struct_defaults__[value]
    return SHOWN.get(name) or ("none" if default in (None, ()) else _shown(default))


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


# -- settings and options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
def test_settings(setting):
    default = "none" if setting.default is None else _shown(setting.default)
    row = f"| `{setting.name}` | `{setting.variable}` | `{default}` | {setting.help} |"
    assert row in reference("settings.md").splitlines(), f"docs/reference/settings.md needs the row\n{row}"


def test_variables():
    variable = re.compile(r"\bWORKLIST_[A-Z_]+\b")
    settable = {setting.variable for setting in settings.SETTINGS}
    read = {name for path in (ROOT / "src").rglob("*.py") for name in variable.findall(text_of(path))} - {"WORKLIST_"}
    named = {name for path in documents() for name in variable.findall(text_of(path))}
    assert settable | read <= named
    assert named <= settable | read, "these variables do nothing"


def _section(text: str, title: str) -> str:
    _, _, rest = text.partition(f"\n## {title}\n")
    return rest.split("\n## ")[0]


def _check_options(section: str, options: list[str]) -> None:
    documented = {bare(row[0]): row for row in rows(section)[1:]}
    assert set(documented) == set(options)


def test_task_options():
    section = _section(reference("tasks.md"), "Options of a task")
    names = [*TaskSettings.__annotations__, "name", "every"]
    _check_options(section, names)
    for name in TaskSettings.__annotations__:
        (row,) = rows(section, name)
        assert bare(row[2]) == _default(name), f"the default of {name} is {_default(name)}"


def test_call_options():
    section = _section(reference("tasks.md"), "Options of a call")
    _check_options(section, list(CallSettings.__annotations__))


def test_schedule_options():
    section = _section(reference("tasks.md"), "Options of a schedule")
    _check_options(section, [*ScheduleSettings.__annotations__, "every", "name"])
    for member in (name for name in vars(Schedules) if not name.startswith("_")):
        assert f"schedules.{member}" in text_of(DOCS / "reference" / "tasks.md") or member in SHOWN_OF_A_MAPPING


def test_worker_options():
    section = _section(reference("tasks.md"), "Options of a worker")
    parameters = {p.name: p for p in inspect.signature(Worklist.work).parameters.values() if p.name != "self"}
    _check_options(section, list(parameters))
    for name, parameter in parameters.items():
        (row,) = rows(section, name)
        default = "none" if parameter.default in (None, ()) else str(parameter.default)
        assert bare(row[1]) == default, f"the default of {name} is {default}"


def test_options_of_a_worker_in_a_process_of_its_own():
    section = _section(reference("tasks.md"), "A worker in a process of its own")
    work = inspect.signature(Worklist.work).parameters
    for parameter in inspect.signature(Worklist.start_worker).parameters.values():
        assert parameter.name == "self" or f"`{parameter.name}`" in section
        if parameter.name in work:
            assert parameter.default == work[parameter.name].default, "the reference says that they are the same"
    for member in (name for name in vars(WorkerProcess) if not name.startswith("_")):
        assert f"`{member}" in section


def test_url_schemes_and_options():
    text = reference("settings.md")
    for scheme in ADAPTERS:
        assert f"`{scheme}://" in text
    known = {name for adapter in ADAPTERS.values() for name in adapter.options}
    _check_options(_section(text, "Options in the URL"), sorted(known))


# -- what a job can become ------------------------------------------------------------------------------------


def test_states_and_moves():
    text = reference("states.md")
    table = {bare(row[0]): {move.strip() for move in bare(row[2]).split(",")} - {"none"} for row in rows(text)[1:]}
    assert table == {str(state): set(map(str, moves)) for state, moves in MOVES.items()}
    drawn = set(re.findall(r"^\s*(\w+) --> (\w+)", text, re.MULTILINE))
    assert drawn == {(str(state), str(move)) for state, moves in MOVES.items() for move in moves}
    assert set(table) == {str(state) for state in JobState}


ERRORS = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, errors.WorklistError)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_errors(error):
    found = rows(reference("errors.md"), error.__name__)
    assert found, f"docs/reference/errors.md does not list {error.__name__}"
    parents = {base.__name__ for base in error.__bases__}
    assert set(bare(found[0][1]).split(", ")) == parents
    assert found[0][0].endswith(" *") == (error.__name__ in worklist.__all__)


EVENTS = [
    kind
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if kind.__module__ == events.__name__ and kind not in (events.EventBus, events.JobEvent)
]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_events(kind):
    (row,) = rows(text_of(DOCS / "how-to" / "middleware-and-events.md"), kind.__name__)
    own = set(kind.__struct_fields__) - set(events.JobEvent.__struct_fields__)
    assert own <= set(re.findall(r"`(\w+)`", row[2])), f"its fields are {sorted(own)}"


# -- the contract of a broker -----------------------------------------------------------------------------------


def test_the_port_is_described():
    text = reference("brokers.md")
    for port in (ports.Broker, ports.ResultStore, ports.Inspector, ports.Schedules):
        for verb in (name for name in vars(port) if not name.startswith("_")):
            assert f"`{verb}" in text, f"docs/reference/brokers.md does not describe {verb}"


def test_capabilities_table():
    """The table is what the adapters say, cell by cell; of schemes that open the same one, the first stands for all."""
    first = {}
    for scheme, adapter in ADAPTERS.items():
        first.setdefault(adapter, scheme)
    documented = {bare(row[0]): [bare(cell) for cell in row[1:-1]] for row in rows(reference("brokers.md"))}
    columns = documented["capability"]
    of_column = {f"{scheme}://": adapter.capabilities for adapter, scheme in first.items()}
    for store in ("sqlite", "postgresql", "redis"):
        place = BrokerUrl("amqp://h")
        place.keep_results_in(ResultsUrl(f"{store}:///1"))
        told = of_column.setdefault("amqp:// + ledger", place.capabilities)
        assert msgspec.structs.replace(place.capabilities, transaction=False) == told
    assert sorted(columns) == sorted(of_column)
    for field in ports.Capabilities.__struct_fields__:
        told = ["yes" if getattr(of_column[column], field) else "no" for column in columns]
        assert documented[field] == told, f"| `{field}` | {' | '.join(told)} | ..."


# -- the command line -------------------------------------------------------------------------------------------


def test_commands_and_their_options():
    main = pytest.importorskip("worklist.cli", reason="this checkout has no command line yet").main
    text = reference("cli.md")
    sections = {bare(title): body for title, body in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", text, re.MULTILINE)}
    documented = {title.removeprefix("worklist ") for title in sections if title.startswith("worklist ")}
    commands = dict(_commands(main))
    assert documented == set(commands)
    for name, command in commands.items():
        body = sections[f"worklist {name}"]
        shown = {name for parameter in command.params for name in _shown_names(parameter)}
        assert {name for name in shown if f"`{name}" not in body} == set(), f"worklist {name}: not documented"
        assert set(re.findall(r"`(--[\w-]+)", body)) <= shown, f"worklist {name}: no such options"


def _commands(group, prefix=""):
    """Yield every command with its name, those of groups too."""
    for name, command in group.commands.items():
        yield prefix + name, command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")


def _shown_names(parameter):
    """Return the names by which the help shows a parameter, none for a hidden one."""
    if getattr(parameter, "hidden", False):
        return []
    if parameter.param_type_name == "option":
        return [*parameter.opts, *parameter.secondary_opts]
    return [(parameter.metavar or parameter.name.upper()).strip("[].").split("]")[0]]


# -- the pages themselves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_links_lead_somewhere(path):
    for target in links(text_of(path)):
        place, _, anchor = target.partition("#")
        there = (path.parent / place).resolve() if place else path
        assert there.exists(), f"{name_of(path)} links to {target}"
        if anchor:
            assert anchor in anchors(text_of(there)), f"{name_of(path)} links to {target}"


def test_every_page_can_be_reached():
    seen = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page.suffix == ".md" and page not in seen and page.is_file():
            seen.add(page)
            todo += [(page.parent / target.partition("#")[0]).resolve() for target in links(text_of(page))]
    assert {name_of(page) for page in documents()} - {name_of(page) for page in seen} == set()


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_nothing_of_this_machine(path):
    text = text_of(path)
    assert not re.search(r"/(home|Users|root|tmp)/\w", text)
    written = re.sub(r"<!-- bench:(\w+):start -->.*?<!-- bench:\1:end -->", "", text, flags=re.DOTALL)
    assert all(len(line) <= 120 or line.startswith("|") or "](" in line for line in written.splitlines())


# -- the code's own words ---------------------------------------------------------------------------------------


def test_package_map():
    described = set(re.findall(r"^    (\w+)/? {2,}\S", worklist.__doc__, re.MULTILINE))
    package = ROOT / "src" / "worklist"
    there = {path.stem for path in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
    assert described == there - {"__init__", "__main__"}


@pytest.mark.parametrize("name", worklist.__all__)
def test_public_names_have_docstrings(name):
    thing = getattr(worklist, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing) and thing.__module__.startswith("worklist."):
        public = [
            v for n, v in vars(thing).items() if not n.startswith("_") and (callable(v) or isinstance(v, property))
        ]
        for member in public:
            assert inspect.getdoc(member), f"{name}.{member}"


@pytest.mark.parametrize("name", worklist.__all__)
def test_public_names_are_documented(name):
    assert any(re.search(rf"\b{name}\b", text_of(path)) for path in documents())
