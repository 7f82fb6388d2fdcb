"""The tables on PostgreSQL: their version, how they are made and brought up to date, and whose they are.

Each version is a file ``brokers/sql/postgres/schema_N.sql``. Of many processes that open a new place at once, one
makes the tables, and the others wait for it.
"""

import contextlib
import zlib
from typing import Any

import psycopg

from ...core.errors import BrokerError, ConfigError, SchemaMismatch
from .. import sql

SCHEMA_VERSION = 2
NEEDED_SERVER = 120000
"""PostgreSQL 12."""
_ONE_AT_A_TIME = 0x574B4C53
"""The number of the lock for this ("WKLS")."""


def quoted(name: str) -> str:
    """Return the name of a schema as it stands in statements. Raises ConfigError where it can be none."""
    if not name or not name.replace("_", "a").isalnum() or not name.isascii() or len(name) > 60:
        raise ConfigError(f"schema is {name!r}; expected up to 60 letters, digits and underscores")
    return f'"{name}"'


def version(connection: "psycopg.Connection[Any]", name: str, where: str) -> int:
    """Return the version of the tables, 0 where there are none; SchemaMismatch: they are somebody else's."""
    tables = [
        table for (table,) in connection.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = %s", (name,))
    ]
    if not tables:
        return 0
    if "worklist_version" not in tables:
        raise SchemaMismatch(
            f"{where}: the schema {name} holds tables of another program ({min(tables)} for one); "
            "choose another one with ?schema=NAME"
        )
    with contextlib.suppress(psycopg.errors.UndefinedColumn, TypeError, ValueError):
        (row,) = connection.execute(f"SELECT version, place FROM {quoted(name)}.worklist_version").fetchall()  # noqa: S608
        return int(row[0])
    raise SchemaMismatch(
        f"{where}: the table worklist_version of the schema {name} is another program's; choose another schema with "
        "?schema=NAME"
    )


def prepare(connection: "psycopg.Connection[Any]", name: str, where: str) -> None:
    """See that the tables are there and of this version. Raises SchemaMismatch where they are of a newer one."""
    if connection.info.server_version < NEEDED_SERVER:
        raise BrokerError(
            f"{where} is PostgreSQL {_shown(connection.info.server_version)}, and {_shown(NEEDED_SERVER)} or newer is "
            "needed; upgrade the server"
        )
    found = version(connection, name, where)
    if found < SCHEMA_VERSION:
        found = migrate(connection, name, where)[1]
    if found > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{where}: the schema {name} was made by a newer Worklist (version {found}, this one knows "
            f"{SCHEMA_VERSION}); upgrade Worklist here"
        )


def migrate(connection: "psycopg.Connection[Any]", name: str, where: str) -> tuple[int, int]:
    """Bring the tables up to date in one transaction; return the version that was found, and the one there is now."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
        found = version(connection, name, where)
        for step in range(found + 1, SCHEMA_VERSION + 1):
            if step == 1:
                if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchone() is None:
                    connection.execute(f"CREATE SCHEMA {quoted(name)}")
                connection.execute(
                    f"CREATE TABLE {quoted(name)}.worklist_version (version integer NOT NULL, "
                    "place text NOT NULL DEFAULT md5(random()::text || clock_timestamp()::text))"
                )
                connection.execute(f"INSERT INTO {quoted(name)}.worklist_version VALUES (0)")  # noqa: S608
            connection.execute(_script(step, name))
        if found < SCHEMA_VERSION:
            connection.execute(f"UPDATE {quoted(name)}.worklist_version SET version = {SCHEMA_VERSION}")  # noqa: S608
    return found, max(found, SCHEMA_VERSION)


def _script(step: int, name: str) -> str:
    """Return the statements of one step, with the names of this schema."""
    text = sql.read("postgres", f"schema_{step}.sql")
    signs_lock = zlib.crc32(name.encode()) - (1 << 31)
    return (
        text.replace("@.", f"{quoted(name)}.").replace("@channel", f"worklist_{name}").replace("@lock", str(signs_lock))
    )


def _shown(number: int) -> str:
    return f"{number // 10000}.{number % 10000}".removesuffix(".0")
