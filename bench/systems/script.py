"""What the script of a system ends in: `main(ItsSystem)`.

It is called with a command and options and prints one line of JSON with plain figures.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

from bench.systems import commands, composition_commands, servers
from bench.systems.base import Options, System

Command = Callable[[System], dict[str, float]]
COMMANDS: dict[str, Command] = {**commands.COMMANDS, **composition_commands.COMMANDS}


def main(kind: type[System], own: dict[str, Command] | None = None) -> None:
    """Run one command for this system, of those for all or of its own ones, and print its figures."""
    known = COMMANDS | (own or {})
    command, options = _parse(known)
    with servers.place(options) as placed:
        placed.publish()
        system = kind(placed)
        try:
            print(json.dumps(known[command](system)))
        finally:
            system.close()


def _parse(known: Iterable[str]) -> tuple[str, Options]:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=known)
    for field in fields(Options):
        if field.name == "tuned":
            parser.add_argument("--as-installed", dest="tuned", action="store_false")
        elif field.name == "late":
            parser.add_argument("--late", action="store_true")
        elif field.name == "dir":
            parser.add_argument("--dir", type=Path)
        else:
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = vars(parser.parse_args())
    return arguments.pop("command"), Options(**arguments)
