"""Statements in named SQL files. A name stands in a comment line ``-- name: settle_done`` above its statement."""

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load_statements(dialect: str, file: str) -> dict[str, str]:
    """Return the statements of ``brokers/sql/<dialect>/<file>`` by name, comments removed."""
    _, *parts = _NAME.split(read(dialect, file))
    return {name: _strip(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def read(dialect: str, file: str) -> str:
    """Return the text of one SQL file."""
    return (resources.files(__name__) / dialect / file).read_text(encoding="utf-8")


def _strip(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return " ".join(" ".join(lines).split()).rstrip(";")


def split(script: str) -> list[str]:
    """Return the statements of a script without triggers, one by one."""
    bare = "\n".join(line.split("--")[0] for line in script.splitlines())
    return [statement for part in bare.split(";") if (statement := part.strip())]
