"""Servers, databases and schemas that cannot be used, and tables of other versions: one sentence each, no password."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import Database, Server, postgres_schema, postgres_server, postgres_url  # noqa: F401
from worklist import Worklist
from worklist.brokers.postgres import schema
from worklist.core.errors import BrokerError, BrokerUnavailable, ConfigError, SchemaMismatch, WorklistError


def refused(url: str, kind: type[WorklistError] = BrokerError) -> str:
    """Use a URL that cannot be used; return what is said."""
    app = Worklist(url)
    with pytest.raises(kind) as told:
        app.store.now()
    app.close()
    text = str(told.value)
    assert "\n" not in text
    assert "sesame" not in text
    assert "open" not in text
    return text


def test_a_wrong_password(postgres_server: Server) -> None:  # noqa: F811
    url = f"postgresql://locked:open@127.0.0.1:{postgres_server.port}/test"
    assert "the password of the user locked is wrong or missing" in refused(url)
    assert "the password of the user locked is wrong or missing" in refused(url.replace(":open", ""))


def test_a_user_who_may_not_make_tables(postgres_server: Server) -> None:  # noqa: F811
    text = refused(f"postgresql://locked:sesame@127.0.0.1:{postgres_server.port}/test?schema=mine")
    assert "permission denied" in text
    assert "rights" in text


def test_a_schema_that_was_made_for_the_user(postgres_server: Server) -> None:  # noqa: F811
    with psycopg.connect(postgres_server.url_of(), autocommit=True) as admin:
        admin.execute("CREATE SCHEMA given AUTHORIZATION locked")
    app = Worklist(f"postgresql://locked:sesame@127.0.0.1:{postgres_server.port}/test?schema=given")
    assert app.store.counts() == {}
    app.close()


def test_no_such_database_or_user(postgres_server: Server) -> None:  # noqa: F811
    url = postgres_server.url_of("nowhere")
    assert "there is no database 'nowhere'" in refused(url)
    assert "there is no user nobody_here" in refused(url.replace("postgres@", "nobody_here@"))


@pytest.mark.parametrize(
    ("option", "kind", "complaint"),
    [
        ("sslmode=requird", ConfigError, 'invalid sslmode value: "requird"; check the options behind the ?'),
        ("sslmode=require", BrokerError, "does not encrypt connections; turn ssl on there, or leave out sslmode"),
    ],
)
def test_encryption_that_cannot_be(
    postgres_server: Server,  # noqa: F811
    option: str,
    kind: type[WorklistError],
    complaint: str,
) -> None:
    assert complaint in refused(f"{postgres_server.url_of()}?{option}", kind)


@pytest.mark.parametrize("columns", ["version text", "version integer, place text", "number integer"])
def test_a_table_of_ours_by_name_alone(postgres_schema: Database, columns: str) -> None:  # noqa: F811
    postgres_schema.execute(f"CREATE SCHEMA {postgres_schema.schema}")
    postgres_schema.execute(f"CREATE TABLE @.worklist_version ({columns})")
    assert "worklist_version" in refused(postgres_schema.url, SchemaMismatch)
    assert "another program's" in refused(postgres_schema.url, SchemaMismatch)


def test_nobody_is_there() -> None:
    text = refused("postgresql://locked:sesame@127.0.0.1:1/test", BrokerUnavailable)
    assert text.startswith("postgresql://127.0.0.1:1/test cannot be reached")


def test_tables_of_another_program(postgres_schema: Database) -> None:  # noqa: F811
    postgres_schema.execute(f"CREATE SCHEMA {postgres_schema.schema}")
    postgres_schema.execute("CREATE TABLE @.customers (id integer)")
    assert "holds tables of another program (customers for one)" in refused(postgres_schema.url, SchemaMismatch)


def test_tables_of_a_newer_worklist(postgres_schema: Database) -> None:  # noqa: F811
    Worklist(postgres_schema.url).store.now()
    postgres_schema.execute("UPDATE @.worklist_version SET version = 99")
    assert "made by a newer Worklist (version 99" in refused(postgres_schema.url, SchemaMismatch)


def test_a_server_that_is_too_old(postgres_schema: Database, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(schema, "NEEDED_SERVER", 990000)
    assert "and 99 or newer is needed; upgrade the server" in refused(postgres_schema.url)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql:jobs", "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("postgresql://h/d?schema=a-b", "expected up to 60 letters, digits and underscores"),
        ("postgresql://h/d?shema=a", "did you mean 'schema'"),
        ("postgresql://h/d?pgbouncer=yes", "expected auto"),
        ("postgresql://u:sesame@h:port/d", "expected HOST or HOST:PORT"),
        ("postgrsql://h/d", "did you mean 'postgresql'"),
    ],
)
def test_urls_that_mean_nothing(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        Worklist(url).store.now()
    assert complaint in str(told.value)
    assert "sesame" not in str(told.value)


def test_text_that_postgresql_cannot_store(postgres_schema: Database) -> None:  # noqa: F811
    app = Worklist(postgres_schema.url)
    task = app.task(_nothing)
    with pytest.raises(ConfigError, match="cannot store this text"):
        task.using(key="a\x00b").enqueue()
    app.close()


def _nothing() -> None:
    pass


def test_several_processes_open_a_new_place_at_once(postgres_schema: Database) -> None:  # noqa: F811
    script = "import sys; from worklist import Worklist; print(Worklist(sys.argv[1]).store.counts())"
    started = [
        subprocess.Popen([sys.executable, "-c", script, postgres_schema.url], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=60)[0] for process in started] == ["{}\n"] * 4


def test_migrate(postgres_schema: Database, tmp_path: Path) -> None:  # noqa: F811
    def migrate(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "worklist", "migrate", "--url", postgres_schema.url, *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ})
        return done.returncode, done.stdout

    newest = f"version {schema.SCHEMA_VERSION}"
    assert migrate("--check") == (1, f"{postgres_schema.url} has no tables, and {newest} is to come\n")
    assert migrate() == (0, f"{postgres_schema.url} had no tables, and has {newest} now\n")
    assert migrate("--check") == (0, f"{postgres_schema.url} is up to date: {newest}\n")
    assert migrate() == (0, f"{postgres_schema.url} is up to date: {newest}\n")


def test_a_child_after_a_fork_uses_connections_of_its_own(postgres_schema: Database) -> None:  # noqa: F811
    app = Worklist(postgres_schema.url)
    task = app.task(_nothing)
    task.enqueue()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            task.enqueue()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    task.enqueue()
    assert app.store.counts() == {"default": {"queued": 3}}
    app.close()
