"""Writing configurations for service managers: one template for each, and how each wants words quoted (pure).

It is told everything about the app and never imports it. In a template, ``$name`` stands for a value, and a line that
begins with ``?fact`` is there only where the fact holds.
"""

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from typing import NamedTuple

from ..core.errors import ConfigError

HAND_BACK = 10
"""Seconds on top of the grace time, for handing back what did not end."""
WORKING_DIRECTORY = "/app"
"""Where the code is in a container."""
VOLUME = "/data"
"""Where the file with the jobs is in a container."""
_CONDITION = re.compile(r"\?(\w+) (.*)")


class Deployment(NamedTuple):
    """What is to be run: `arguments` follow ``worklist up``; `environment` are settings that anybody may read."""

    name: str
    app: str
    arguments: Sequence[str]
    beat: bool
    grace: float
    python: str
    directory: str
    user: str
    image: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    """Settings to keep secret, each as it may be shown."""
    file: PurePosixPath | None
    """Where the jobs are in a file: its absolute path."""
    fixed: bool
    """Whether the code says where the jobs are, whatever the environment says."""

    @property
    def stop(self) -> int:
        """Seconds to wait for the end at a stop."""
        return int(self.grace) + HAND_BACK

    def command(self, python: str) -> list[str]:
        """Return the command that runs the tree."""
        return [python, "-m", "worklist", "up", self.app, *self.arguments]


def configuration(target: str, deployment: Deployment) -> str:
    """Return the configuration of a deployment for one of TARGETS.

    Raises ConfigError for a value that the target has no way to write down.
    """
    name, values = TARGETS[target]
    template = files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
    return _filled(template, _facts(deployment), {**_common(deployment), **values(deployment)})


def _filled(template: str, facts: set[str], values: Mapping[str, str]) -> str:
    lines = []
    for line in template.splitlines():
        condition = _CONDITION.fullmatch(line)
        if condition is not None and condition[1] not in facts:
            continue
        text = condition[2] if condition is not None else line
        filled = Template(text).substitute(values)
        if filled or not text:
            lines.append(filled)
    return "\n".join(lines) + "\n"


def _facts(deployment: Deployment) -> set[str]:
    holds = {
        "file": deployment.file is not None,
        "server": deployment.file is None,
        "fixed": deployment.fixed,
        "secret": bool(deployment.secrets),
        "environment": bool(deployment.environment or deployment.secrets),
    }
    return {fact for fact, true in holds.items() if true}


def _common(deployment: Deployment) -> dict[str, str]:
    grace = f"{deployment.grace:g} s"
    return {
        "name": deployment.name,
        "app": deployment.app,
        "what": "workers and a beat" if deployment.beat else "workers",
        "stop": str(deployment.stop),
        "stop_why": f"Running jobs have {grace} to end (--grace); {HAND_BACK} s more to hand back what did not.",
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "secrets": " and ".join(f"{name}={shown}" for name, shown in deployment.secrets.items()),
        "folder": str(deployment.file.parent) if deployment.file else "",
    }


# -- on this machine ----------------------------------------------------------------------------------------------


def _systemd(deployment: Deployment) -> dict[str, str]:
    if re.search(r"""["'\\]""", deployment.python):
        raise ConfigError(
            f"the path of {deployment.python} has a quote or a backslash, and systemd starts no such program; "
            "make the environment of the app in another folder"
        )
    variables = (f"{name}={value}" for name, value in deployment.environment.items())
    program, *arguments = map(_systemd_word, deployment.command(deployment.python))
    return {
        "user": deployment.user,
        "directory": deployment.directory.replace("%", "%%"),
        "folder": _systemd_word(str(deployment.file.parent)) if deployment.file else "",
        "command": " ".join([program, *(argument.replace("$", "$$") for argument in arguments)]),  # as it expands them
        "environment": "\n".join(f"Environment={_systemd_word(variable)}" for variable in variables),
    }


def _systemd_word(word: str) -> str:
    """Return a word as systemd reads it: per cent signs doubled, in quotes where something is special."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w@%+=:,./?&-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _supervisor(deployment: Deployment) -> dict[str, str]:
    variables = (_supervisor_variable(name, value) for name, value in deployment.environment.items())
    environment = ",".join(variables)
    return {
        "user": deployment.user,
        "directory": _supervisor_value(deployment.directory),
        "command": _supervisor_value(shlex.join(deployment.command(deployment.python))),
        "environment": f"environment={environment}" if environment else "",
    }


def _supervisor_variable(name: str, value: str) -> str:
    if '"' in value or "'" in value:
        raise ConfigError(f"{name} is {value!r}; a variable in supervisor's configuration cannot hold quotes")
    return f'{name}="{_supervisor_value(value)}"'


def _supervisor_value(value: str) -> str:
    """Return a value as supervisor reads it. Raises ConfigError where it would take a part for a comment."""
    if re.search(r"\s[#;]", value):
        raise ConfigError(f"{value!r} has a blank before a # or a ;, where supervisor would begin a comment")
    return value.replace("%", "%%")


# -- in containers ------------------------------------------------------------------------------------------------


def _moved(deployment: Deployment) -> Deployment:
    """Return the deployment with its file on a volume of its own."""
    if deployment.file is None:
        return deployment
    if not deployment.fixed:
        url = deployment.environment["WORKLIST_URL"]
        options = "?" + url.partition("?")[2] if "?" in url else ""
        moved = {"WORKLIST_URL": f"sqlite:///{VOLUME}/{deployment.file.name}{options}"}
        return deployment._replace(
            file=PurePosixPath(VOLUME, deployment.file.name), environment={**deployment.environment, **moved}
        )
    if not deployment.file.is_relative_to(deployment.directory):
        return deployment
    below = deployment.file.relative_to(deployment.directory)
    if len(below.parts) == 1:
        raise ConfigError(
            f"the code of {deployment.app} has its jobs in {below} beside itself, which a container loses; leave the "
            f"URL out of the code, for WORKLIST_URL to say it, or name a file in a folder of its own, such as "
            f"sqlite:///{VOLUME}/{below}"
        )
    return deployment._replace(file=PurePosixPath(WORKING_DIRECTORY, below))


def _compose(deployment: Deployment) -> dict[str, str]:
    moved = _moved(deployment)
    lines = [f"      {name}: {_compose_word(value)}" for name, value in moved.environment.items()]
    lines += [f'      {name}: "${{{name}:?is not set; write it in .env}}"' for name in moved.secrets]
    health = ["CMD", "python", "-m", "worklist", "status", "--app", moved.app]
    return {
        "image": _quoted(moved.image),
        "command": f"[{', '.join(map(_compose_word, moved.command('python')))}]",
        "health": f"[{', '.join(map(_compose_word, health))}]",
        "environment": "\n".join(lines),
        "folder": _compose_word(str(moved.file.parent)) if moved.file else "",
    }


def _compose_word(word: str) -> str:
    return _quoted(word.replace("$", "$$"))


def _kubernetes(deployment: Deployment) -> dict[str, str]:
    moved = _moved(deployment)
    lines = [f"            - {{name: {name}, value: {_kubernetes_word(v)}}}" for name, v in moved.environment.items()]
    lines += [
        f"            - {{name: {name}, valueFrom: {{secretKeyRef: {{name: {moved.name}, key: {name}}}}}}}"
        for name in moved.secrets
    ]
    return {
        "image": _quoted(moved.image),
        "command": f"[{', '.join(map(_kubernetes_word, moved.command('python')))}]",
        "environment": "\n".join(lines),
        "secrets": " ".join(f"--from-literal={name}='{shown}'" for name, shown in moved.secrets.items()),
        "folder": _quoted(str(moved.file.parent)) if moved.file else "",
    }


def _kubernetes_word(word: str) -> str:
    return _quoted(word.replace("$(", "$$("))


def _quoted(text: str) -> str:
    """Return a text as YAML has it in double quotes, which is as JSON has it."""
    return json.dumps(text, ensure_ascii=False)


class _Target(NamedTuple):
    template: str
    values: Callable[[Deployment], dict[str, str]]


TARGETS = {
    "systemd": _Target("systemd.service", _systemd),
    "supervisor": _Target("supervisor.conf", _supervisor),
    "compose": _Target("compose.yaml", _compose),
    "kubernetes": _Target("kubernetes.yaml", _kubernetes),
}
