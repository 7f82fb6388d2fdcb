"""The command ``worklist export``: a ready configuration for a service manager, for the app as it is configured."""

import contextlib
import getpass
import os
import re
import sys
from pathlib import PurePosixPath
from typing import Any

import click
from click.core import ParameterSource

from ..app import Worklist
from ..core.errors import ConfigError
from ..core.units import seconds
from ..settings import SETTINGS
from .deployment import TARGETS, Deployment, configuration
from .load import load_app, refuse_private
from .up_command import tree_options
from .worker_command import as_arguments, chosen_path

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


@click.command()
@click.argument("target", type=click.Choice(list(TARGETS)), metavar="TARGET")
@tree_options
@click.option("--name", help="What the service is called.  [default: the module's name]")
@click.option("--image", help="compose, kubernetes: the image with the code.  [default: NAME:latest]")
def export(
    target: str,
    path: str | None,
    app_path: str | None,
    name: str | None,
    image: str | None,
    **options: Any,
) -> None:
    """Print a configuration that keeps `worklist up` running.

    TARGET is systemd, supervisor, compose or kubernetes. The options of `worklist up` go into its command.
    """
    path = chosen_path(path, app_path)
    app = load_app(path)
    refuse_private(app)
    for queue in options["queues"]:
        app.check_queue(queue)
    name = _checked_name(name or _name_of(path))
    given = {key: value for key, value in options.items() if _is_given(key)}
    plain, secret = _variables(app)
    deployment = Deployment(
        name=name,
        app=path,
        arguments=as_arguments(given),
        beat=not options["no_beat"],
        grace=seconds(options["grace"], "--grace"),
        python=sys.executable,
        directory=os.getcwd(),
        user=_user(),
        image=image or f"{name}:latest",
        environment=plain,
        secrets=secret,
        file=_file_of(app),
        fixed=app.url_is_fixed,
    )
    _refuse_line_ends(deployment)
    click.echo(configuration(target, deployment), nl=False)


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _name_of(path: str) -> str:
    """Return a name that every service manager takes, made of the module's: ``shop.tasks:app`` is ``shop-tasks``."""
    return re.sub(r"[^a-z0-9]+", "-", path.partition(":")[0].lower()).strip("-")[:40].strip("-")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name is {name!r}; expected up to 40 of a-z, 0-9 and -, a letter first; choose one with --name"
        )
    return name


def _variables(app: Worklist) -> tuple[dict[str, str], dict[str, str]]:
    """Return the app's settings that the environment decides: those that anybody may read, and the secret ones."""
    names = [row.variable for row in SETTINGS if row.variable in os.environ and row.name != "url"]
    secret = {name: "***" for name in names if name == "WORKLIST_SECRET"}
    plain = {name: os.environ[name] for name in names if name not in secret}
    if not app.url_is_fixed:
        shown = app.place.shown
        (plain if shown == app.url else secret)["WORKLIST_URL"] = shown
    return plain, secret


def _file_of(app: Worklist) -> PurePosixPath | None:
    file = app.place.file
    return None if file is None else PurePosixPath(file.absolute().as_posix())


def _user() -> str:
    with contextlib.suppress(OSError, KeyError):  # a container may run as a user who has no name
        return getpass.getuser()
    return str(os.getuid())


def _refuse_line_ends(deployment: Deployment) -> None:
    texts = (*deployment.command(deployment.python), deployment.directory, deployment.image, str(deployment.file))
    for text in (*texts, *deployment.environment.values()):
        if not text.isprintable():
            raise ConfigError(f"{text!r} has a character that a configuration cannot hold; expected printable text")
