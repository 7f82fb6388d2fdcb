"""Connections of the caller's own, in whose transactions jobs are put: psycopg's, SQLAlchemy's and Django's.

They are known by what they have, so that none of these has to be installed.
"""

from typing import Any

import psycopg

from ...core.errors import ConfigError


def unwrap(given: Any) -> "psycopg.Connection[Any]":
    """Return the connection of psycopg inside of what somebody calls a connection. Raises ConfigError."""
    found = given
    for _ in range(6):
        if isinstance(found, psycopg.Connection):
            return found
        inner = _inside(found)
        if inner is None or inner is found:
            break
        found = inner
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    raise ConfigError(
        f"using(connection=...) got {kind}; expected a connection of psycopg 3 that is not asynchronous, or a "
        "connection or session of SQLAlchemy or Django that uses psycopg 3"
    )


def _inside(outer: Any) -> Any:
    if hasattr(outer, "ensure_connection"):  # Django's
        outer.ensure_connection()
        return outer.connection
    if hasattr(outer, "driver_connection"):  # the pool's of SQLAlchemy
        return outer.driver_connection
    inner = getattr(outer, "connection", None)
    return inner() if callable(inner) else inner  # a session of SQLAlchemy, or its connection


def check_place(connection: "psycopg.Connection[Any]", schema: str, place: str, where: str) -> None:
    """Raise ConfigError where a connection leads to another place than that of the jobs."""
    table = f'"{schema}".worklist_version'
    cursor = psycopg.Cursor(connection, row_factory=psycopg.rows.tuple_row)
    there = cursor.execute("SELECT to_regclass(%s)::text", (table,)).fetchone()
    if there is not None and there[0] is not None:
        found = cursor.execute(f"SELECT place FROM {table}").fetchone()  # noqa: S608
        if found is not None and found[0] == place:
            return
    raise ConfigError(
        f"using(connection=...) got a connection to the database {connection.info.dbname!r} on "
        f"{connection.info.host or 'this machine'}, and the jobs are in {where}, schema {schema}; both have to be one"
    )
