"""Finding the app that a command is about: MODULE:APP, a URL, or what pyproject.toml says.

Whatever is wrong with an app's path is told exactly: which part, where, and the nearest name that exists.
"""

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import click

from ..app import Worklist
from ..core.errors import AppImportError, BrokerUnavailable, ConfigError, WorklistError, did_you_mean

EXPECTED = "expected MODULE:APP, such as tasks:app for the variable app in tasks.py"


def with_app(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --app and --url, and the app they name as its first argument."""

    @click.option("--app", "path", metavar="MODULE:APP", help="The app whose jobs these are.")
    @click.option("--url", metavar="URL", help="Where the jobs are, to look without the app.")
    @functools.wraps(command)
    def wrapped(path: str | None, url: str | None, **options: Any) -> Any:
        with opened(path, url) as app:
            return command(app, **options)

    return wrapped


@contextlib.contextmanager
def opened(path: str | None, url: str | None) -> Iterator[Worklist]:
    """Open the app that --app or --url names, else the configured one; refuse one without jobs to look at."""
    if path is not None and url is not None:
        raise click.UsageError("--app and --url were both given; expected one of them")
    path = path or (None if url is not None else configured_path())
    app = Worklist(url) if path is None else load_app(path)
    refuse_absent(app)
    with app:
        yield app


def refuse_absent(app: Worklist) -> None:
    """Raise WorklistError where there is nothing to look at; looking must not create it."""
    refuse_private(app)
    file = app.place.file
    if file is not None and not file.exists():
        raise WorklistError(
            f"there is no file {file} here, so no job was ever enqueued in it; "
            "name the app with --app or the place with --url"
        )


def refuse_private(app: Worklist) -> None:
    """Raise WorklistError where the jobs live in the memory of the process that puts them."""
    if not app.capabilities.durable:
        raise ConfigError(
            f"the jobs of {app.place.shown} live in the process that puts them, where no other can see them; "
            "use app.work() there, or a URL such as sqlite:///worklist.db"
        )


def refuse_unusable(app: Worklist) -> None:
    """Raise WorklistError where a worker or a beat cannot use the place of the jobs, and to try again will not help."""
    refuse_private(app)
    with contextlib.suppress(BrokerUnavailable):
        app.store.now()


def configured_path() -> str | None:
    """Return what the working directory's pyproject.toml names as the app, None where it names none."""
    file = Path("pyproject.toml")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("worklist", {})
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    for name in table:
        if name != "app":
            raise ConfigError(f"{file}: [tool.worklist] has no key {name!r}{did_you_mean(name, ['app'])}")
    path = table.get("app")
    if path is not None and not isinstance(path, str):
        raise ConfigError(f"{file}: app under [tool.worklist] is {path!r}; expected a text such as 'tasks:app'")
    return path


def load_app(path: str) -> Worklist:
    """Import the app that ``module:attribute`` names. Raises AppImportError that says which part is wrong."""
    module_name, colon, attribute = path.partition(":")
    if not module_name or (colon and not attribute) or "/" in path or os.sep in path:
        raise AppImportError(f"the app is {path!r}; {EXPECTED}")
    module = _import(module_name)
    if not colon:
        return _only_app(module)
    return _app_at(module, attribute)


def _import(name: str) -> ModuleType:
    if sys.path[:1] != [os.getcwd()]:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            _refuse_missing(name, error.name)
        raise AppImportError(_what_it_raised(name, error)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise AppImportError(_what_it_raised(name, error)) from error


def load_script(name: str, file: str) -> None:
    """Import a script by its path, under this name. Raises AppImportError that says what it raised."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise AppImportError(f"{file} cannot be imported; expected a Python file, such as tasks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise AppImportError(_what_it_raised(name, error)) from error


def _refuse_missing(name: str, missing: str) -> NoReturn:
    if name.endswith(".py"):
        raise AppImportError(
            f"{name!r} is the name of a file; {EXPECTED}; a spider is crawled, on any number of machines, "
            f"by worklist crawl {name} --url URL"
        )
    parent, _, _ = missing.rpartition(".")
    folder = Path(*parent.split(".")) if parent else Path()
    beside = [entry.stem for entry in folder.iterdir() if _is_module(entry)] if folder.is_dir() else []
    near = did_you_mean(missing, [f"{parent}.{stem}" if parent else stem for stem in beside])
    raise AppImportError(
        f"no module named {missing!r} in this folder ({os.getcwd()}) or among the installed packages{near}"
    )


def _is_module(entry: Path) -> bool:
    return entry.suffix == ".py" or (entry.is_dir() and entry.name.isidentifier())


def _what_it_raised(name: str, error: BaseException) -> str:
    """Return what the module's own code raised, with the line where it did."""
    if isinstance(error, SyntaxError):
        place, line = f"{error.filename}:{error.lineno}", error.text
        reason = f"{type(error).__name__}: {error.msg}"
    else:
        place, line = _last_own_line(error)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    shown = f": {line.strip()}" if line and line.strip() else ""
    return f"importing {name!r} raised {reason} ({_short(place)}{shown})"


def _last_own_line(error: BaseException) -> tuple[str, str | None]:
    """Return the innermost line of the traceback in this folder, else the innermost of all."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if _is_own(f.filename)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}", frame.line


def _is_own(filename: str) -> bool:
    return filename.startswith(os.getcwd() + os.sep) and "site-packages" not in filename


def _short(place: str) -> str:
    return place.removeprefix(os.getcwd() + os.sep)


def _app_at(module: ModuleType, attribute: str) -> Worklist:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, vars(module)) or _apps_in(module)
            raise AppImportError(f"{module.__name__} has no {attribute!r}{near}")
        found = getattr(found, part)
    if not isinstance(found, Worklist):
        raise AppImportError(
            f"{module.__name__}:{attribute} is a {type(found).__name__}; expected a Worklist{_apps_in(module)}"
        )
    return found


def _only_app(module: ModuleType) -> Worklist:
    names = _app_names(module)
    if len(names) != 1:
        raise AppImportError(f"the app is {module.__name__!r}; {EXPECTED}{_apps_in(module)}")
    return getattr(module, names[0])  # type: ignore[no-any-return]


def _app_names(module: ModuleType) -> list[str]:
    return sorted(name for name, value in vars(module).items() if isinstance(value, Worklist))


def _apps_in(module: ModuleType) -> str:
    names = _app_names(module)
    if not names:
        return "; the module holds no Worklist"
    return f"; the module holds {', '.join(f'{module.__name__}:{name}' for name in names)}"
